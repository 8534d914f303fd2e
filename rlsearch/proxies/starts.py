"""What a seed decides, the same for every trainer: initial weights and the order of the examples."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.layers import PopulationNetwork
from rlsearch.proxies.settings import ProxySettings, TrainingSettings

_ORDER_STREAM = 0x5EED
"""Makes of a seed that of the order of the examples."""


def initial_networks(
    settings: ProxySettings, seeds: Sequence[int], activation: Callable[[Tensor], Tensor]
) -> PopulationNetwork:
    """One network per seed, as a population on the CPU; equal seeds get equal weights."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return NETWORKS[settings.network].build(settings, generators, activation)


def batches(settings: TrainingSettings, seed: int, examples: int) -> Tensor:
    """The rows of every batch, shape ``[steps, batch]``; examples that do not fill a batch are left out."""
    batch = settings.batch_size
    # A stream of its own, whatever the network drew.
    generator = torch.Generator().manual_seed(seed ^ _ORDER_STREAM)
    epochs = [torch.randperm(examples, generator=generator) for _ in range(settings.epochs)]
    return torch.cat([epoch[: examples - examples % batch].reshape(-1, batch) for epoch in epochs])
