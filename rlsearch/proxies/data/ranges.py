"""The range of inputs, and inputs from outside of it."""

import math

import numpy as np
from numpy.typing import NDArray

TO_VARIANCE_1 = math.sqrt(3)
"""Times what is uniform on [-1, 1], or a number of a random unit vector in space.

Networks are made for inputs of variance 1. With smaller ones an activation is used around 0 alone, where its curvature
is all that counts.
"""


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
