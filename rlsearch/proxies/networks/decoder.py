"""Transformer decoders with a leading population axis: K networks whose members share nothing.

Values have the shape ``[K, batch * length, width]``, so that a layer is one batched product.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.proxies.networks.layers import HEAD_MULTIPLE, Population, PopulationEmbedding, uniform
from rlsearch.proxies.networks.norms import NORMS
from rlsearch.proxies.networks.transformer import hidden_width
from rlsearch.proxies.settings import ProxySettings

INITIAL_SD = 0.02
"""Of the embedding's weights and of learned positions: GPT-2's."""

ROTARY_BASE = 10_000.0
"""The slowest pair of numbers turns by 1 in about so many positions (arXiv 2104.09864, section 3.2.2)."""


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


class PopulationAttention(nn.Module):
    """K causal attentions of several heads.

    Args:
        generators: One per member.
        width: Of the input and of the output.
        heads: Each of them sees its own share of the width.
        length: Positions of an example.
        rotary: Whether queries and keys are turned by their position (arXiv 2104.09864).
    """

    turns: Tensor | None

    def __init__(
        self, generators: Sequence[torch.Generator], width: int, heads: int, length: int, *, rotary: bool
    ) -> None:
        super().__init__()
        self.query_key_value = PopulationMatrix(generators, width, 3 * width)
        self.out = PopulationMatrix(generators, width, width)
        self.heads = heads
        self._shape = (length, 3, heads, width // heads)
        # With the population's axis, as every buffer of a network has it.
        turns = rotations(length, width // heads).expand(len(generators), -1, -1, -1) if rotary else None
        self.register_buffer("turns", turns)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, batch * length, width]``."""
        members, rows, width = x.shape
        # [K * batch, length, heads, width of a head] each.
        query, key, value = self.query_key_value(x).reshape(-1, *self._shape).unbind(dim=2)
        if self.turns is not None:
            query, key = turned(query, self.turns[0]), turned(key, self.turns[0])
        # Each head of each example of each member is alone there.
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
        )
        rows_again: Tensor = self.out(mixed.transpose(1, 2).reshape(members, rows, width))
        return rows_again


def rotations(length: int, width: int) -> Tensor:
    """By which the pairs of numbers of a head are turned at each position: complex, ``[length, 1, width / 2]``."""
    speeds = ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), speeds).unsqueeze(1)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Turns neighbouring numbers of ``[..., length, heads, width]`` as points of a plane."""
    points = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(points * turns).flatten(-2)


class PopulationFeedForward(nn.Module):
    """K feed-forward parts: a layer up, or two for gated units, the activation, and a layer down."""

    def __init__(self, generators: Sequence[torch.Generator], width: int, *, gated: bool) -> None:
        super().__init__()
        hidden = hidden_width(width, gated=gated)
        self.ups = nn.ModuleList(PopulationMatrix(generators, width, hidden) for _ in range(1 + gated))
        self.down = PopulationMatrix(generators, hidden, width)

    def forward(self, x: Tensor, activation: Callable[..., Tensor]) -> Tensor:
        """Keeps the shape ``[K, rows, width]``."""
        result: Tensor = self.down(activation(*[up(x) for up in self.ups]))
        return result


class PopulationDecoder(Population):
    """K decoders.

    Args:
        settings: The proxy.
        generators: One per member, from which its initial weights are drawn.
        activation: Of all members, of one input or, if the units are gated, of two.
        gated: Whether they are.

    Attributes:
        embedding: The table of tokens ``[K, tokens, width]``, which is the head's matrix too. Its rows behind the
            tokens are filling: they keep every member's slice on a 16-byte boundary, and learn nothing.
        positions: What is added at each position, ``[K, length, width]``, if positions are learned.
        norms: Of each block that of attention and that of the feed-forward part, and the last one.
    """

    def __init__(
        self,
        settings: ProxySettings,
        generators: Sequence[torch.Generator],
        activation: Callable[..., Tensor],
        *,
        gated: bool,
    ) -> None:
        super().__init__()
        self.activation = activation
        self._n_outputs = settings.n_outputs
        length, width, blocks = settings.data.n_features, settings.widths[0], len(settings.widths)
        self._channels = (hidden_width(width, gated=gated),) * blocks
        rotary = settings.positions == "rotary"
        norm = NORMS[settings.normalisation]
        assert norm is not None, "the network says which normalisations it can have"
        self.embedding = PopulationEmbedding(generators, -(-self._n_outputs // HEAD_MULTIPLE) * HEAD_MULTIPLE, width)
        self.embedding.weight.data *= INITIAL_SD
        self.positions: nn.Parameter | None = None
        if not rotary:
            drawn = [torch.randn(length, width, generator=generator) for generator in generators]
            self.positions = nn.Parameter(INITIAL_SD * torch.stack(drawn))
        self.attentions = nn.ModuleList(
            PopulationAttention(generators, width, settings.heads, length, rotary=rotary) for _ in range(blocks)
        )
        self.feed_forwards = nn.ModuleList(PopulationFeedForward(generators, width, gated=gated) for _ in range(blocks))
        self.norms = nn.ModuleList(norm(len(generators), width) for _ in range(2 * blocks + 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """The hidden width of every feed-forward part."""
        return self._channels

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps whole numbers ``[K, batch, length]`` to logits ``[K, batch, length, outputs]``."""
        members, batch, length = tokens.shape
        x = self.embedding(tokens).reshape(members, batch, length, -1)
        if self.positions is not None:
            x = x + self.positions.unsqueeze(1)
        x = x.flatten(1, 2)
        before_attention, before_feed_forward = self.norms[:-1:2], self.norms[1::2]
        parts = zip(self.attentions, self.feed_forwards, before_attention, before_feed_forward, strict=True)
        for block, (attention, feed_forward, first, second) in enumerate(parts):
            x = x + attention(first(x))
            x = x + feed_forward(second(x), partial(self.activate, block))
        logits = torch.bmm(self.norms[-1](x), self.embedding.weight.mT)
        return logits[..., : self._n_outputs].reshape(members, batch, length, -1)
