"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from rlsearch.kernels.base import BatchActivation
from rlsearch.proxies.data.base import N_CLASSES
from rlsearch.proxies.networks.layers import PADDED_CLASSES, PopulationLinear, norms
from rlsearch.proxies.settings import ProxySettings


class PopulationMLP(nn.Module):
    """Linear, normalisation, activation; once per width; then a linear layer to the classes."""

    def __init__(
        self,
        settings: ProxySettings,
        n_features: int,
        generators: Sequence[torch.Generator],
        activation: BatchActivation,
    ) -> None:
        super().__init__()
        self.activation = activation
        widths = (n_features, *settings.widths)
        self.layers = nn.ModuleList(PopulationLinear(generators, a, b) for a, b in pairwise(widths))
        self.norms = norms(settings, len(generators))
        self.head = PopulationLinear(generators, widths[-1], PADDED_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, batch, n_features]`` to logits ``[K, batch, N_CLASSES]``."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        logits: Tensor = self.head(x)
        return logits[..., :N_CLASSES]
