"""Networks with a leading population axis: K networks of one shape, each with its own weights and activation.

Activations have the shape ``[K, batch, width]`` (``[K, batch, length, channels]`` in the convolutional net) and
weights ``[K, in, out]``, so one batched product serves all members and none of them sees another. ``K = 1`` is the
ordinary network.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.proxies.settings import ProxySettings

PADDED_CLASSES = 16  # keeps every member's slice on a 16-byte boundary; products are half as fast again as with 12


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


def norms(settings: ProxySettings, members: int) -> nn.ModuleList:
    """Returns what normalises after each layer: nothing, or layer normalisation."""
    if settings.normalisation == "none":
        return nn.ModuleList(nn.Identity() for _ in settings.widths)
    return nn.ModuleList(PopulationLayerNorm(members, width) for width in settings.widths)
