"""What a network says of itself. Nothing here needs torch before a network is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlsearch.common.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from rlsearch.proxies.networks.layers import Population, PopulationNetwork
    from rlsearch.proxies.settings import ProxySettings


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer. At each of its positions the same matrix ``[taps * channels, outputs]`` is used.

    Attributes:
        channels: Numbers at a position of its input.
        outputs: Numbers at a position of its output.
        positions_in: Positions of its input. A layer of one position and one tap is given their mean.
        positions: Positions of its output.
        taps: Positions of the input that a position of the output sees: 1, or those of a convolution of stride 2 with
            one position of zeros on both sides. Those of an image are 9; how they lie is its network's own affair.
    """

    channels: int
    outputs: int
    positions_in: int = 1
    positions: int = 1
    taps: int = 1

    @property
    def inputs(self) -> int:
        """Numbers that a position of the output sees: the rows of the matrix."""
        return self.taps * self.channels


class Network(ABC):
    """A network that a proxy names: a subclass, added to :data:`NETWORKS`.

    Attributes:
        name: In a config.
        native: Whether the network is a plain chain: one layer after the other, each a product, a normalisation where
            the settings want one, and the activation; then the head. Such a network is wholly told by its
            :meth:`layers`, and the native trainer trains it from them. Any other is trained by the population trainer.
        normalisations: Those of :attr:`ProxySettings.normalisation` that it can have; the first is taken unless the
            settings say another.
        gated: Whether it has gated units for a formula of ``x`` and ``g``. Others train formulas of ``x`` alone.
        by_position: Whether it puts out numbers at every position of an example, and not once for all of it.
        own_settings: Settings of a proxy that only networks which name them here have.
        cpu_members: Members of a population on a CPU. More of them leave the processor's cache.
    """

    name: ClassVar[str]
    native: ClassVar[bool] = False
    normalisations: ClassVar[tuple[str, ...]] = ("none", "layer", "rms")
    gated: ClassVar[bool] = False
    by_position: ClassVar[bool] = False
    own_settings: ClassVar[tuple[str, ...]] = ()
    cpu_members: ClassVar[int] = 16

    def __init_subclass__(cls) -> None:
        """A subclass that changes a plain chain is none, unless it says so itself."""
        super().__init_subclass__()
        cls.native = cls.__dict__.get("native", False)

    @abstractmethod
    def layers(self, settings: ProxySettings) -> tuple[Layer, ...]:
        """The linear layers in order, the last of them the head, which puts out ``settings.n_outputs`` numbers.

        Weights, the native trainer's plan, a GPU's memory and the limits of speed are counted from them.
        """

    def forward(self, network: PopulationNetwork, inputs: Tensor) -> Tensor:
        """What the head puts out for inputs ``[K, batch, features]``, shape ``[K, batch, outputs]``.

        A network that builds modules of its own does not need it.

        Args:
            network: Has the layers with their weights; see
                :meth:`~rlsearch.proxies.networks.layers.PopulationNetwork.hidden` and ``network.head``, and for a
                network that does other things between its layers ``network.layers`` and ``network.norms``.
            inputs: Examples of each member.
        """
        raise NotImplementedError(f"the {self.name} network does not say how its layers are computed")

    def check(self, settings: ProxySettings) -> None:  # noqa: B027 (most networks demand nothing)
        """Looks whether the network can be built from these settings.

        Raises:
            ValueError: If it cannot.
        """

    def make_layer(self, layer: Layer, settings: ProxySettings, generators: Sequence[torch.Generator]) -> nn.Module:
        """Makes one hidden layer of K networks; here a product of rows ``[K, rows, inputs]`` and a matrix.

        Args:
            layer: One of :meth:`layers`.
            settings: The proxy.
            generators: One per member, from which its initial weights are drawn.
        """
        from rlsearch.proxies.networks.layers import PopulationLinear

        return PopulationLinear(generators, layer.inputs, layer.outputs)

    def build(
        self,
        settings: ProxySettings,
        generators: Sequence[torch.Generator],
        activation: Callable[..., Tensor],
        inputs: Sequence[str] = ("x",),
    ) -> Population:
        """Makes K networks on the CPU.

        Args:
            settings: The proxy.
            generators: One per member, from which its initial weights are drawn.
            activation: Of all members.
            inputs: What it is a function of: ``x``, and the gate ``g`` if the units are gated.
        """
        from rlsearch.proxies.networks.layers import PopulationNetwork

        return PopulationNetwork(self, settings, generators, activation)


NETWORKS: Registry[Network] = Registry("network")
