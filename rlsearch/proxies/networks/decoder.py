"""Transformer decoders with a leading population axis: K networks whose members share nothing.

Values have the shape ``[K, batch * length, width]``, so that a layer is one batched product.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from rlsearch.proxies.networks.attention import PopulationAttention
from rlsearch.proxies.networks.layers import HEAD_MULTIPLE, Population, PopulationEmbedding
from rlsearch.proxies.networks.matrix import PopulationMatrix
from rlsearch.proxies.networks.norms import PopulationLayerNorm, PopulationRMSNormInPasses
from rlsearch.proxies.networks.transformer import hidden_width
from rlsearch.proxies.settings import ProxySettings

INITIAL_SD = 0.02
"""Of the embedding's weights and of learned positions: GPT-2's."""


_NORMS: dict[str, type[nn.Module]] = {"rms": PopulationRMSNormInPasses, "layer": PopulationLayerNorm}


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
        norm = _NORMS[settings.normalisation]
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
        # A slice of all would cost a copy in the backward pass.
        if logits.shape[-1] > self._n_outputs:
            logits = logits[..., : self._n_outputs]
        return logits.reshape(members, batch, length, -1)
