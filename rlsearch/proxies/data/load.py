"""The data set of a proxy, cut into its parts."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from rlsearch.errors import ConfigError
from rlsearch.proxies.data.base import DATASETS, Dataset
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.settings import ProxySettings


def load_dataset(settings: ProxySettings) -> Parts:
    """The data of a proxy on the CPU; generated once per machine, and once per process read.

    Raises:
        ConfigError: If the data set does not make what it says.
    """
    return _load(DATASETS[settings.dataset], settings.data_seed, settings.sizes)


@lru_cache(maxsize=8)
def _load(dataset: Dataset, seed: int, sizes: tuple[int, int, int]) -> Parts:
    count = sum(sizes)
    inputs, labels = dataset.examples(seed, count)
    if inputs.shape != (count, dataset.n_features) or labels.shape != (count,):
        raise ConfigError(
            f"{dataset.name} made inputs {list(inputs.shape)} and labels {list(labels.shape)}; expected "
            f"{[count, dataset.n_features]} and {[count]}"
        )
    labels = dataset.task.checked_labels(dataset, labels)
    parts = []
    for start, end in pairwise(np.cumsum((0, *sizes))):
        of_part = torch.from_numpy(inputs[start:end].astype(np.float32))
        parts.append(Part(of_part, torch.from_numpy(labels[start:end])))
    return Parts(*parts)
