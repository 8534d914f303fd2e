"""The one-dimensional convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlsearch.proxies.data.base import DATASETS
from rlsearch.proxies.networks.base import NETWORKS, Layer, Network

if TYPE_CHECKING:
    from torch import Tensor

    from rlsearch.proxies.networks.layers import PopulationNetwork
    from rlsearch.proxies.settings import ProxySettings

_TAPS = 4  # with stride 2 and one position of zeros on both sides, each layer halves the length


@NETWORKS.add
class Conv1d(Network):
    """Convolutions of stride 2 over a sequence with ``widths`` channels, mean over positions, a linear layer.

    A convolution is written as windows times a matrix, so that the population is one batched product; grouped
    convolutions are slower on a CPU.
    """

    name = "conv1d"
    native = True

    def layers(self, settings: ProxySettings) -> tuple[Layer, ...]:
        """One per width, each of half as many positions as the one before, and the head on their mean."""
        layers = []
        channels, positions = 1, settings.n_features
        for width in settings.widths:
            layers.append(Layer(channels, width, positions, positions // 2, _TAPS))
            channels, positions = width, positions // 2
        return (*layers, Layer(channels, settings.n_outputs, positions))

    def check(self, settings: ProxySettings) -> None:
        """Refuses what is no sequence, and more layers than a sequence can be halved."""
        if not settings.data.is_sequence:
            sequences = ", ".join(name for name in DATASETS if DATASETS[name].is_sequence)
            raise ValueError(f"the conv1d network is for sequences ({sequences}), not for {settings.dataset}")
        length, halvings = settings.n_features, settings.n_features.bit_length() - 1
        if len(settings.widths) > halvings:
            raise ValueError(
                f"conv1d halves the sequence of {length} in every layer; expected at most {halvings} widths, "
                f"got {len(settings.widths)}"
            )

    def forward(self, network: PopulationNetwork, inputs: Tensor) -> Tensor:
        """The chain of all layers; each is given its windows as the rows of one matrix."""
        from torch.nn import functional

        members, batch, _ = inputs.shape
        x = inputs.unsqueeze(-1)  # [K, batch, positions, channels]
        for i in range(network.depth):
            windows = functional.pad(x, (0, 0, 1, 1)).unfold(2, _TAPS, 2)  # [K, batch, positions, channels, taps]
            positions = windows.shape[2]
            rows = windows.reshape(members, batch * positions, -1)
            x = network.hidden(i, rows).reshape(members, batch, positions, -1)
        outputs: Tensor = network.head(x.mean(dim=2))
        return outputs
