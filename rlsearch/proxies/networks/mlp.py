"""The multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rlsearch.proxies.networks.base import NETWORKS, Layer, Network

if TYPE_CHECKING:
    from torch import Tensor

    from rlsearch.proxies.networks.layers import PopulationNetwork
    from rlsearch.proxies.settings import ProxySettings


@NETWORKS.add
class Mlp(Network):
    """Linear, normalisation, activation; once per width; then a linear layer to the outputs."""

    name = "mlp"
    native = True

    def layers(self, settings: ProxySettings) -> tuple[Layer, ...]:
        """One per width, and the head."""
        sizes = (settings.n_features, *settings.widths, settings.n_outputs)
        return tuple(Layer(a, b) for a, b in pairwise(sizes))

    def forward(self, network: PopulationNetwork, inputs: Tensor) -> Tensor:
        """The chain of all layers."""
        x = inputs
        for i in range(network.depth):
            x = network.hidden(i, x)
        outputs: Tensor = network.head(x)
        return outputs
