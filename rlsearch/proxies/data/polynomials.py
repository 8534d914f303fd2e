"""Random polynomials."""

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.data.ranges import TO_VARIANCE_1, shell
from rlsearch.proxies.tasks import REGRESSION

_DEGREE = 4
"""Of the polynomials: the largest sum of exponents in a term."""

_REACH = 1.5
"""Inputs outside the range of training reach so far."""


@DATASETS.add
class Polynomials(Dataset):
    """Polynomials of four variables and of degree 4, which the seed draws.

    Each is a sum of all products of Legendre polynomials up to that degree, with independent normal coefficients. The
    products have mean 0 and variance 1 over the range of training and do not correlate, and the squares of a target's
    coefficients sum to 1: so it has mean 0 and variance 1 by its construction.

    The variables are uniform on [-1, 1], and outside on [-1.5, 1.5], at least one of them not in [-1, 1]. Inputs are
    the variables times the root of 3, which gives them variance 1.

    Another seed has other polynomials, and not only other examples of the same: what holds on the seeds of ``confirm``
    holds for polynomials of this kind, beyond those that a search saw.
    """

    name = "polynomials"
    sizes = (4000, 4000, 10_000)
    n_features = 4
    n_targets = 6
    task = REGRESSION
    has_outside = True

    def examples(self, seed: int, count: int) -> Examples:
        """Inputs of the cube."""
        coefficients, inside, _ = np.random.default_rng(seed).spawn(3)
        numbers = inside.uniform(-1, 1, (count, self.n_features))
        return TO_VARIANCE_1 * numbers, self._targets(coefficients, numbers)

    def outside(self, seed: int, count: int) -> Examples:
        """Inputs of the shell around it."""
        coefficients, _, outside = np.random.default_rng(seed).spawn(3)
        numbers = shell(outside, count, self.n_features, _REACH)
        return TO_VARIANCE_1 * numbers, self._targets(coefficients, numbers)

    def _targets(self, rng: np.random.Generator, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        # [examples, variables, degrees]: of variance 1 by the factor.
        powers = legendre.legvander(numbers, _DEGREE) * np.sqrt(2 * np.arange(_DEGREE + 1) + 1)
        degrees = [d for d in np.ndindex((_DEGREE + 1,) * self.n_features) if 1 <= sum(d) <= _DEGREE]
        terms = [np.prod([powers[:, i, degree] for i, degree in enumerate(d)], axis=0) for d in degrees]
        coefficients = rng.normal(size=(len(terms), self.n_targets))
        coefficients /= np.linalg.norm(coefficients, axis=0)
        return np.stack(terms, axis=1) @ coefficients
