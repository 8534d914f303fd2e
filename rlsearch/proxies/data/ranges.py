"""Inputs from outside the range of training."""

import numpy as np
from numpy.typing import NDArray


def shell(rng: np.random.Generator, count: int, n_features: int, reach: float) -> NDArray[np.float64]:
    """Points that are uniform on a cube, less the cube [-1, 1] in its middle.

    Args:
        rng: Draws them.
        count: How many.
        n_features: Numbers of a point.
        reach: The larger cube is [-reach, reach].

    Returns:
        Shape ``[count, n_features]``; every point has at least one number outside [-1, 1].
    """
    points = rng.uniform(-reach, reach, (count, n_features))
    # Those of the inner cube are drawn again until none is left.
    while (inner := np.abs(points).max(axis=1) <= 1).any():
        points[inner] = rng.uniform(-reach, reach, (np.count_nonzero(inner), n_features))
    return points
