"""The data set of a proxy, cut into its parts."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from rlsearch.proxies.data.base import Dataset, Part
from rlsearch.proxies.data.digits import digits
from rlsearch.proxies.data.mnist1d import mnist1d
from rlsearch.proxies.settings import ProxySettings


def load_dataset(settings: ProxySettings) -> Dataset:
    """Returns the dataset of a proxy on the CPU; generated once per machine, and once per process read."""
    return _load(settings.dataset, settings.data_seed, settings.sizes)


@lru_cache(maxsize=8)
def _load(name: str, seed: int, sizes: tuple[int, int, int]) -> Dataset:
    inputs, labels = {"mnist1d": mnist1d, "digits": digits}[name](seed, sum(sizes))
    bounds = np.cumsum((0, *sizes))
    parts = [
        Part(torch.from_numpy(inputs[a:b].astype(np.float32)), torch.from_numpy(labels[a:b].astype(np.int64)))
        for a, b in pairwise(bounds)
    ]
    return Dataset(*parts)
