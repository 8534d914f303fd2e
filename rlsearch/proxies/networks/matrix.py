"""Products without a bias, one per member of a population."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlsearch.proxies.networks.layers import uniform


class PopulationMatrix(nn.Module):
    """K products without a bias, initialised as the weights of torch's ``nn.Linear`` from one generator per member.

    Attributes:
        weight: ``[K, inputs, outputs]``.
    """

    def __init__(self, generators: Sequence[torch.Generator], n_in: int, n_out: int) -> None:
        super().__init__()
        drawn = [uniform(generator, n_in * n_out, 1 / math.sqrt(n_in)) for generator in generators]
        self.weight = nn.Parameter(torch.stack(drawn).reshape(-1, n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, rows, n_in]`` to ``[K, rows, n_out]``."""
        return torch.bmm(x, self.weight)
