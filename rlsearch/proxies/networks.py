"""Networks with a leading population axis: K networks of one shape, each with its own weights and activation.

Activations have the shape ``[K, batch, width]`` (``[K, batch, length, channels]`` in the convolutional net) and
weights ``[K, in, out]``, so one batched product serves all members and none of them sees another. ``K = 1`` is the
ordinary network.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.kernels.base import Activation
from rlsearch.proxies.data import N_CLASSES
from rlsearch.proxies.settings import ProxySettings

_PADDED_CLASSES = 16  # keeps every member's slice on a 16-byte boundary; products are half as fast again as with 12


class PopulationLinear(nn.Module):
    """K linear layers, initialised as torch's ``nn.Linear`` from one generator per member.

    Args:
        generators: One per member; members with equal states get equal weights.
        n_in: Input features.
        n_out: Output features.
    """

    def __init__(self, generators: Sequence[torch.Generator], n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        draws = [_uniform(generator, n_in * n_out + n_out, bound) for generator in generators]
        stacked = torch.stack(draws)
        self.weight = nn.Parameter(stacked[:, : n_in * n_out].reshape(-1, n_in, n_out).contiguous())
        self.bias = nn.Parameter(stacked[:, None, n_in * n_out :].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, rows, n_in]`` to ``[K, rows, n_out]``."""
        return torch.baddbmm(self.bias, x, self.weight)


def _uniform(generator: torch.Generator, count: int, bound: float) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * bound


class PopulationLayerNorm(nn.Module):
    """K layer normalisations over the last axis, each with its own scale and shift."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.shift = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, rows, width]``."""
        return torch.addcmul(self.shift, functional.layer_norm(x, x.shape[-1:]), self.scale)


class PopulationMLP(nn.Module):
    """Linear, normalisation, activation; once per width; then a linear layer to the classes."""

    def __init__(
        self, settings: ProxySettings, n_features: int, generators: Sequence[torch.Generator], activation: Activation
    ) -> None:
        super().__init__()
        self.activation = activation
        widths = (n_features, *settings.widths)
        self.layers = nn.ModuleList(PopulationLinear(generators, a, b) for a, b in pairwise(widths))
        self.norms = _norms(settings, len(generators))
        self.head = PopulationLinear(generators, widths[-1], _PADDED_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, batch, n_features]`` to logits ``[K, batch, N_CLASSES]``."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        logits: Tensor = self.head(x)
        return logits[..., :N_CLASSES]


class PopulationConv1d(nn.Module):
    """Convolutions of stride 2 over a sequence with ``widths`` channels, mean over positions, a linear layer.

    A convolution is written as windows times a matrix, so that the population is one batched product; grouped
    convolutions are slower on a CPU.
    """

    kernel_size = 4  # with stride 2 and one step of padding on both sides, each layer halves the length

    def __init__(
        self, settings: ProxySettings, n_features: int, generators: Sequence[torch.Generator], activation: Activation
    ) -> None:
        super().__init__()
        self.activation = activation
        channels = (1, *settings.widths)
        self.layers = nn.ModuleList(
            PopulationLinear(generators, a * self.kernel_size, b) for a, b in pairwise(channels)
        )
        self.norms = _norms(settings, len(generators))
        self.head = PopulationLinear(generators, channels[-1], _PADDED_CLASSES)

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


def _norms(settings: ProxySettings, members: int) -> nn.ModuleList:
    if settings.normalisation == "none":
        return nn.ModuleList(nn.Identity() for _ in settings.widths)
    return nn.ModuleList(PopulationLayerNorm(members, width) for width in settings.widths)


NETWORKS: dict[str, type[PopulationMLP] | type[PopulationConv1d]] = {"mlp": PopulationMLP, "conv1d": PopulationConv1d}
