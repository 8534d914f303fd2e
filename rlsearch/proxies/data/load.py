"""The data set of a proxy, cut into its parts."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsearch.errors import ConfigError
from rlsearch.proxies.data.base import Dataset
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.tasks import Task


def load_dataset(settings: ProxySettings) -> Parts:
    """The data of a proxy on the CPU; generated once per machine, and once per process read.

    Raises:
        ConfigError: If the data set does not make what it says, or its files have changed since the run began.
    """
    settings.completed()
    scores_outside = settings.outside_weight > 0
    return _load(settings.data, settings.task, settings.data_seed, settings.sizes, scores_outside)


@lru_cache(maxsize=16)
def _load(dataset: Dataset, task: Task, seed: int, sizes: tuple[int, int, int], scores_outside: bool) -> Parts:
    made = dataset.parts(seed, sizes)
    train, validation, test = (_part(dataset, task, *m, size) for m, size in zip(made, sizes, strict=True))
    if not scores_outside:
        return Parts(train, validation, test)
    _, for_validation, for_test = sizes
    inputs, labels = dataset.outside(seed, for_validation + for_test)
    seen = _part(dataset, task, inputs[:for_validation], labels[:for_validation], for_validation)
    unseen = _part(dataset, task, inputs[for_validation:], labels[for_validation:], for_test)
    return Parts(
        train,
        Part(validation.inputs, validation.labels, seen),
        Part(test.inputs, test.labels, unseen),
    )


def _part(dataset: Dataset, task: Task, inputs: NDArray[Any], labels: NDArray[Any], size: int) -> Part:
    if inputs.shape != (size, dataset.n_features) or len(labels) != size:
        raise ConfigError(
            f"{dataset.name} made inputs {list(inputs.shape)} and labels {list(labels.shape)}; expected "
            f"{[size, dataset.n_features]} and as many labels"
        )
    checked = torch.from_numpy(np.ascontiguousarray(task.checked_labels(dataset, labels)))
    if dataset.n_tokens is None:
        return Part(torch.from_numpy(np.ascontiguousarray(inputs, np.float32)), checked)
    if inputs.min() < 0 or inputs.max() >= dataset.n_tokens:
        raise ConfigError(
            f"tokens of {dataset.name} reach from {inputs.min()} to {inputs.max()}; expected 0 to "
            f"{dataset.n_tokens - 1}"
        )
    return Part(torch.from_numpy(np.ascontiguousarray(inputs, np.int64)), checked)
