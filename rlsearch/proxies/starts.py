"""What a seed decides, the same for every trainer: initial weights and the order of the examples."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rlsearch.kernels.base import BatchActivation
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks.choice import NETWORKS
from rlsearch.proxies.networks.conv1d import PopulationConv1d
from rlsearch.proxies.networks.mlp import PopulationMLP
from rlsearch.proxies.settings import ProxySettings, TrainingSettings


def initial_networks(
    settings: ProxySettings, seeds: Sequence[int], activation: BatchActivation
) -> PopulationMLP | PopulationConv1d:
    """Returns one network per seed, as a population on the CPU; equal seeds get equal weights."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    n_features = load_dataset(settings).train.inputs.shape[1]
    return NETWORKS[settings.network](settings, n_features, generators, activation)


def batches(settings: TrainingSettings, seed: int, examples: int) -> Tensor:
    """Returns the rows of every batch, shape ``[steps, batch]``; examples that do not fill a batch are left out."""
    batch = settings.batch_size
    generator = torch.Generator().manual_seed(seed ^ 0x5EED)  # a stream of its own, whatever the network drew
    epochs = [torch.randperm(examples, generator=generator) for _ in range(settings.epochs)]
    return torch.cat([epoch[: examples - examples % batch].reshape(-1, batch) for epoch in epochs])
