"""Formulas of physics."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.data.ranges import TO_VARIANCE_1, shell
from rlsearch.proxies.tasks import REGRESSION

_REACH = 1.5
"""Inputs outside the range of training reach so far; the formulas are finite up to it."""

_CALIBRATION = 2**18
"""Inputs that tell the formulas' means and deviations, to about 0.003 deviations."""


@DATASETS.add
class Physics(Dataset):
    """Eight formulas of physics at once, as functions of five variables.

    They are equations of the Feynman Symbolic Regression Database (Udrescu and Tegmark 2020, arXiv 1905.11481, which
    numbers them by the chapters of the Feynman Lectures on Physics), with natural constants set to 1. The variables
    ``a``, ``b`` and ``c`` stand for masses, lengths, times and so on, ``angle`` for angles and ``u`` for speeds and
    fields:

    - I.6.2, normal distribution: ``exp(-(angle / a)**2 / 2) / (a sqrt(2 pi))``
    - I.12.11, force on a charge: ``a (b + c u sin(angle))``
    - I.15.3x, Lorentz transformation: ``(a - u b) / sqrt(1 - u**2)``
    - I.29.16, distance by the law of cosines: ``sqrt(a**2 + b**2 - 2 a b cos(angle))``
    - I.37.4, interference of two waves: ``b + c + 2 sqrt(b c) cos(angle)``
    - I.50.26, oscillator that is not harmonic: ``a (cos(angle) + u cos(angle)**2)``
    - II.35.21, magnetisation: ``a b tanh(b u / c)``
    - III.9.52, transition in a field of frequency ``b`` near ``c``: ``a (sin(d) / d)**2`` with ``d = (b - c) a / 2``

    They follow from five numbers that are uniform on [-1, 1]: ``a``, ``b`` and ``c`` are 2 plus one, ``angle`` is pi
    times and ``u`` 0.6 times one. Inputs are these numbers times the root of 3, which gives them variance 1. Outside
    are inputs of numbers that are uniform on [-1.5, 1.5], at least one of them not in [-1, 1]. Targets have mean 0 and
    variance 1 over the range of training, to a hundredth; the same numbers shift and scale those of every seed, and
    those outside.
    """

    name = "physics"
    sizes = (4000, 4000, 10_000)
    n_features = 5
    n_targets = 8
    task = REGRESSION
    has_outside = True

    def examples(self, seed: int, count: int) -> Examples:
        """Inputs of the cube."""
        inside, _ = np.random.default_rng(seed).spawn(2)
        numbers = inside.uniform(-1, 1, (count, self.n_features))
        return TO_VARIANCE_1 * numbers, _targets(numbers)

    def outside(self, seed: int, count: int) -> Examples:
        """Inputs of the shell around it."""
        _, outside = np.random.default_rng(seed).spawn(2)
        numbers = shell(outside, count, self.n_features, _REACH)
        return TO_VARIANCE_1 * numbers, _targets(numbers)


def _targets(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    mean, deviation = _moments()
    return (_formulas(numbers) - mean) / deviation


@lru_cache(maxsize=1)
def _moments() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every formula over the cube."""
    values = _formulas(np.random.default_rng(0).uniform(-1, 1, (_CALIBRATION, Physics.n_features)))
    return values.mean(axis=0), values.std(axis=0)


def _formulas(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 2 + numbers[:, :3].T
    angle, u = np.pi * numbers[:, 3], 0.6 * numbers[:, 4]
    values = [
        np.exp(-((angle / a) ** 2) / 2) / (a * np.sqrt(2 * np.pi)),
        a * (b + c * u * np.sin(angle)),
        (a - u * b) / np.sqrt(1 - u**2),
        np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(angle)),
        b + c + 2 * np.sqrt(b * c) * np.cos(angle),
        a * (np.cos(angle) + u * np.cos(angle) ** 2),
        a * b * np.tanh(b * u / c),
        # numpy's sinc(x) is sin(pi x) / (pi x), and 1 at 0.
        a * np.sinc((b - c) * a / (2 * np.pi)) ** 2,
    ]
    return np.stack(values, axis=1)
