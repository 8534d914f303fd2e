"""Networks with a leading population axis: K networks of one shape, each with its own weights and activation.

Values have the shape ``[K, batch, width]`` (``[K, batch, length, channels]`` in the convolutional net, and images
``[K, batch, height, width, channels]`` in the residual one) and weights ``[K, in, out]``, so one batched product serves
all members and none of them sees another. ``K = 1`` is the ordinary network.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.proxies.networks.base import Network
from rlsearch.proxies.networks.norms import NORMS
from rlsearch.proxies.networks.trained import TrainedParameters
from rlsearch.proxies.settings import ProxySettings

HEAD_MULTIPLE = 16
"""The head's outputs are filled up to a multiple of this, which keeps every member's slice on a 16-byte boundary.

Of ten classes products are half as fast again with 16 columns as with 12.
"""


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
        draws = [uniform(generator, n_in * n_out + n_out, bound) for generator in generators]
        stacked = torch.stack(draws)
        self.weight = nn.Parameter(stacked[:, : n_in * n_out].reshape(-1, n_in, n_out).contiguous())
        self.bias = nn.Parameter(stacked[:, None, n_in * n_out :].contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, rows, n_in]`` to ``[K, rows, n_out]``."""
        return torch.baddbmm(self.bias, x, self.weight)


def uniform(generator: torch.Generator, count: int, bound: float) -> Tensor:
    """So many numbers, evenly from ``-bound`` to ``bound``."""
    return (torch.rand(count, generator=generator) * 2 - 1) * bound


class PopulationEmbedding(nn.Module):
    """K tables of tokens, initialised as torch's ``nn.Embedding`` from one generator per member.

    Args:
        generators: One per member; members with equal states get equal weights.
        n_tokens: Different tokens.
        width: Numbers that stand for one.
    """

    def __init__(self, generators: Sequence[torch.Generator], n_tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([torch.randn(n_tokens, width, generator=g) for g in generators]))

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps whole numbers ``[K, batch, length]`` to ``[K, batch, length * width]``."""
        members, n_tokens, width = self.weight.shape
        first_rows = torch.arange(members, device=tokens.device).reshape(-1, 1, 1) * n_tokens
        # One table for all: a gradient per member would be a table of its own for each.
        found = functional.embedding(tokens + first_rows, self.weight.reshape(-1, width))
        return found.flatten(2)


class Population(nn.Module):
    """K networks as one module, which maps inputs ``[K, batch, ...]`` to outputs ``[K, batch, ..., outputs]``.

    Attributes:
        activation: Of all members; another may be put in its place.
        trained: The parameters of their formulas; None where they have none.
    """

    activation: Callable[..., Tensor]
    trained: TrainedParameters | None = None

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the activation's input, at every place of the network where there is one."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its activations are")

    def activate(self, place: int, *inputs: Tensor) -> Tensor:
        """The activation at a place, with the parameters that it has there."""
        if self.trained is None:
            return self.activation(*inputs)
        return self.activation(*inputs, *self.trained.at(place, inputs[0]))


class PopulationNetwork(Population):
    """K networks of one kind, whose weights are those of its declared layers.

    Args:
        kind: Says which layers there are, and what is computed with them.
        settings: The proxy.
        generators: One per member, from which its initial weights are drawn.
        activation: Of all members.

    Attributes:
        layers: One per hidden layer.
        embedding: What tokens are turned into numbers by; it does nothing to numbers.
        norms: What normalises after each layer: nothing, or one of :mod:`~rlsearch.proxies.networks.norms`.
        image: Channels, height and width of an example, if it is an image.
        head: The last layer. Its columns behind the outputs are filling: they are cut off, and learn nothing.
    """

    def __init__(
        self,
        kind: Network,
        settings: ProxySettings,
        generators: Sequence[torch.Generator],
        activation: Callable[..., Tensor],
    ) -> None:
        super().__init__()
        self.activation = activation
        self._kind = kind
        data = settings.data
        n_tokens = data.n_tokens
        self.image = data.image
        self.embedding: nn.Module = nn.Identity()
        if n_tokens is not None:
            self.embedding = PopulationEmbedding(generators, n_tokens, settings.embedding)
        *hidden, head = kind.layers(settings)
        self._channels = tuple(layer.outputs for layer in hidden)
        self.layers = nn.ModuleList(kind.make_layer(layer, settings, generators) for layer in hidden)
        norm = NORMS[settings.normalisation]
        if norm is None:
            self.norms = nn.ModuleList(nn.Identity() for _ in hidden)
        else:
            self.norms = nn.ModuleList(norm(len(generators), layer.outputs) for layer in hidden)
        self._n_outputs = head.outputs
        columns = -(-head.outputs // HEAD_MULTIPLE) * HEAD_MULTIPLE
        self.head = PopulationLinear(generators, head.inputs, columns)

    @property
    def channels(self) -> tuple[int, ...]:
        """Those of every hidden layer: behind each there is an activation."""
        return self._channels

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return len(self.layers)

    def hidden(self, i: int, x: Tensor) -> Tensor:
        """Hidden layer ``i`` with its normalisation and the activation: ``[K, rows, inputs]`` to ``outputs``."""
        return self.activate(i, self.norms[i](self.layers[i](x)))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[K, batch, features]``, or as many tokens, to ``[K, batch, outputs]``."""
        return self._kind.forward(self, self.embedding(x))[..., : self._n_outputs]
