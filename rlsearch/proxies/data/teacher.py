"""Classes of a random network of sines and steps."""

import numpy as np
from numpy.typing import NDArray

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples

_UNITS = 64
"""Half of them sines, half steps."""

_FREQUENCY = 0.3
"""Standard deviation of a unit's weights: what it is given has one of 1.34, from 20 inputs."""

_CALIBRATION = 4096
"""Inputs that make a teacher's classes about equally frequent."""


@DATASETS.add
class Teacher(Dataset):
    """Gaussian inputs, classified by a random network that the seed draws: the teacher.

    Its hidden layer has units ``sin(w x + b)`` and ``sign(w x + b)``; a class is the largest of linear combinations of
    them, each of mean 0 and variance 1. So some borders between classes are smooth and some are straight cuts.

    Another seed is another teacher, and not only other examples of the same: what holds on the seeds of ``confirm``
    holds for teachers of this kind, beyond those that a search saw.
    """

    name = "teacher"
    sizes = (4000, 4000, 10_000)
    n_features = 20
    n_classes = 8

    def examples(self, seed: int, count: int) -> Examples:
        """Inputs of independent normal numbers, and the teacher's classes."""
        of_teacher, of_inputs = np.random.default_rng(seed).spawn(2)
        inputs = of_inputs.normal(size=(count, self.n_features))
        return inputs, self._classes(of_teacher, inputs)

    def _classes(self, rng: np.random.Generator, inputs: NDArray[np.float64]) -> NDArray[np.int64]:
        weights = rng.normal(0, _FREQUENCY, (self.n_features, _UNITS))
        shifts = rng.uniform(-np.pi, np.pi, _UNITS)
        mixture = rng.normal(size=(_UNITS, self.n_classes))

        def logits(x: NDArray[np.float64]) -> NDArray[np.float64]:
            sines, steps = np.split(x @ weights + shifts, 2, axis=1)
            return np.concatenate([np.sin(sines), np.sign(steps)], axis=1) @ mixture

        # Without it, a class with a larger mean than the others would take most inputs.
        known = logits(rng.normal(size=(_CALIBRATION, self.n_features)))
        classes: NDArray[np.int64] = ((logits(inputs) - known.mean(axis=0)) / known.std(axis=0)).argmax(axis=1)
        return classes
