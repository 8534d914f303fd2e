"""MNIST-1D, generated."""

import random
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from rlsearch.proxies.data.base import DATASETS, Dataset
from rlsearch.proxies.data.kept import cached


@DATASETS.add
class Mnist1d(Dataset):
    """MNIST-1D (Greydanus 2020, arXiv 2011.14439) by its own generator."""

    name = "mnist1d"
    sizes = (4000, 10_000, 10_000)  # many validation points cut the score's noise
    n_features = 40
    n_classes = 10
    is_sequence = True

    def examples(self, seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Generated once per machine, and then read from its cache."""
        key = {"set": self.name, "seed": seed, "count": count}
        return cached(key, lambda: self._generate(seed, count))

    def _generate(self, seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        from mnist1d.data import get_dataset_args, make_dataset

        # The generator makes as many of each class.
        whole = -(-count // self.n_classes) * self.n_classes
        arguments = get_dataset_args(as_dict=True) | {"num_samples": whole, "train_split": 1.0, "seed": seed}
        # It reseeds the global random numbers, which belong to the caller.
        states = random.getstate(), np.random.get_state()
        try:
            made = make_dataset(SimpleNamespace(**arguments))
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
        return made["x"][:count], made["y"][:count]
