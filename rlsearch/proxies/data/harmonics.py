"""Spherical harmonics."""

import numpy as np
from numpy.typing import NDArray

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.data.ranges import TO_VARIANCE_1
from rlsearch.proxies.tasks import REGRESSION

_HARMONICS = ((2, 1), (3, -2), (3, 3), (4, 0), (4, -3), (5, 2), (5, -4), (6, 1))
"""Degree and order of each target."""

_CAP = np.sqrt(3) / 2
"""Cosine of the angle around (1, 1, 1) that training does not cover: 30 degrees, a fifteenth of the sphere."""


@DATASETS.add
class Harmonics(Dataset):
    """Eight real spherical harmonics of degrees 2 to 6, as functions of a direction.

    A direction is uniform on the sphere without a cap: those that are 30 degrees or less from (1, 1, 1), a fifteenth of
    all, are outside. The input is its unit vector times the root of 3, which gives it variance 1. The harmonics are
    scaled to a mean square of 1 over the whole sphere (``4 pi`` normalisation) and have the Condon-Shortley sign; those
    of negative order have the sine of the longitude, the others its cosine.
    """

    name = "harmonics"
    sizes = (4000, 4000, 10_000)
    n_features = 3
    n_targets = len(_HARMONICS)
    task = REGRESSION
    has_outside = True

    def examples(self, seed: int, count: int) -> Examples:
        """Directions that are not in the cap."""
        inside, _ = np.random.default_rng(seed).spawn(2)
        return _of(_directions(inside, count, in_cap=False))

    def outside(self, seed: int, count: int) -> Examples:
        """Directions in the cap."""
        _, outside = np.random.default_rng(seed).spawn(2)
        return _of(_directions(outside, count, in_cap=True))


def _directions(rng: np.random.Generator, count: int, *, in_cap: bool) -> NDArray[np.float64]:
    found = np.empty((0, 3))
    while len(found) < count:
        vectors = rng.normal(size=(count, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        near = vectors.sum(axis=1) / np.sqrt(3) >= _CAP
        found = np.concatenate([found, vectors[near == in_cap]])
    return found[:count]


def _of(directions: NDArray[np.float64]) -> Examples:
    from scipy.special import sph_harm_y

    x, y, z = directions.T
    polar, longitude = np.arccos(np.clip(z, -1, 1)), np.arctan2(y, x)
    targets = []
    for degree, order in _HARMONICS:
        values = np.sqrt(4 * np.pi) * sph_harm_y(degree, abs(order), polar, longitude)
        # The real and the imaginary part share the square; without a longitude there is only one of them.
        part = values.imag if order < 0 else values.real
        targets.append(part * (np.sqrt(2) if order else 1))
    return TO_VARIANCE_1 * directions, np.stack(targets, axis=1)
