"""MNIST-1D, generated."""

import random
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from rlsearch.proxies.data.base import N_CLASSES
from rlsearch.proxies.data.kept import cached


def mnist1d(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """MNIST-1D (Greydanus 2020, arXiv 2011.14439) by its own generator, as many examples as wanted."""

    def generate() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        from mnist1d.data import get_dataset_args, make_dataset

        arguments = get_dataset_args(as_dict=True)
        arguments |= {"num_samples": -(-count // N_CLASSES) * N_CLASSES, "train_split": 1.0, "seed": seed}
        # The generator reseeds the global random numbers, which belong to the caller.
        states = random.getstate(), np.random.get_state()
        try:
            made = make_dataset(SimpleNamespace(**arguments))
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
        return made["x"][:count], made["y"][:count]

    return cached({"set": "mnist1d", "seed": seed, "count": count}, generate)
