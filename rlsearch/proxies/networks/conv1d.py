"""The one-dimensional convolutional network."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.kernels.base import BatchActivation
from rlsearch.proxies.data.base import N_CLASSES
from rlsearch.proxies.networks.layers import PADDED_CLASSES, PopulationLinear, norms
from rlsearch.proxies.settings import ProxySettings


class PopulationConv1d(nn.Module):
    """Convolutions of stride 2 over a sequence with ``widths`` channels, mean over positions, a linear layer.

    A convolution is written as windows times a matrix, so that the population is one batched product; grouped
    convolutions are slower on a CPU.
    """

    kernel_size = 4  # with stride 2 and one step of padding on both sides, each layer halves the length

    def __init__(
        self,
        settings: ProxySettings,
        n_features: int,
        generators: Sequence[torch.Generator],
        activation: BatchActivation,
    ) -> None:
        super().__init__()
        self.activation = activation
        channels = (1, *settings.widths)
        self.layers = nn.ModuleList(
            PopulationLinear(generators, a * self.kernel_size, b) for a, b in pairwise(channels)
        )
        self.norms = norms(settings, len(generators))
        self.head = PopulationLinear(generators, channels[-1], PADDED_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Maps sequences ``[K, batch, n_features]`` to logits ``[K, batch, N_CLASSES]``."""
        members, batch, _ = x.shape
        x = x.unsqueeze(-1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            windows = functional.pad(x, (0, 0, 1, 1)).unfold(
                2, self.kernel_size, 2
            )  # [K, batch, out, channels, kernel]
            length = windows.shape[2]
            rows = windows.reshape(members, batch * length, -1)
            x = self.activation(norm(layer(rows))).reshape(members, batch, length, -1)
        logits: Tensor = self.head(x.mean(dim=2))
        return logits[..., :N_CLASSES]
