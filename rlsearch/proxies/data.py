"""Datasets without a download: generated or bundled, cut into three disjoint parts, cached."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlsearch.cache import cache_folder
from rlsearch.proxies.settings import ProxySettings

N_CLASSES = 10  # of every set here


@dataclass(frozen=True, slots=True)
class Part:
    """Inputs, float32 of shape ``[examples, features]``, and labels, int64 of shape ``[examples]``."""

    inputs: Tensor
    labels: Tensor

    def to(self, device: str) -> "Part":
        """Returns the part on ``device``."""
        return Part(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three disjoint parts. A search sees training and validation; the test part is for judging its result."""

    train: Part
    validation: Part
    test: Part

    def to(self, device: str) -> "Dataset":
        """Returns the dataset on ``device``."""
        return Dataset(self.train.to(device), self.validation.to(device), self.test.to(device))


def load_dataset(settings: ProxySettings) -> Dataset:
    """Returns the dataset of a proxy on the CPU; generated once per machine, and once per process read."""
    return _load(settings.dataset, settings.data_seed, settings.sizes)


@lru_cache(maxsize=8)
def _load(name: str, seed: int, sizes: tuple[int, int, int]) -> Dataset:
    inputs, labels = {"mnist1d": _mnist1d, "digits": _digits}[name](seed, sum(sizes))
    bounds = np.cumsum((0, *sizes))
    parts = [
        Part(torch.from_numpy(inputs[a:b].astype(np.float32)), torch.from_numpy(labels[a:b].astype(np.int64)))
        for a, b in pairwise(bounds)
    ]
    return Dataset(*parts)


def _mnist1d(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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

    return _cached({"set": "mnist1d", "seed": seed, "count": count}, generate)


def _digits(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's bundled 8x8 digits, scaled to [0, 1] and shuffled by ``seed``."""
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))[:count]
    return inputs[order] / 16, labels[order]


def _cached(
    key: dict[str, object], generate: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns what ``generate`` makes, from the cache folder if it is there; a cache that fails is ignored."""
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    path = cache_folder() / f"{key['set']}-{digest}.npz"
    try:
        with path.open("rb") as cached, np.load(cached, allow_pickle=False) as stored:
            return stored["inputs"], stored["labels"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        inputs, labels = generate()
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, inputs=inputs, labels=labels)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
    return inputs, labels
