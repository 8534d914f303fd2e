"""A single transformer as one would write it by hand: torch's own layers, normalisations and attention."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.formula import Formula
from rlsearch.proxies.networks.attention import rotations
from rlsearch.proxies.networks.decoder import INITIAL_SD
from rlsearch.proxies.networks.norms import NORM_EPSILON
from rlsearch.proxies.networks.transformer import hidden_width
from rlsearch.proxies.settings import ProxySettings


class PlainTransformer(nn.Module):
    """The network of a proxy with a formula of ``x``, or of ``x`` and ``g`` in gated units.

    Args:
        settings: The proxy.
        formula: The activation.
    """

    def __init__(self, settings: ProxySettings, formula: Formula) -> None:
        super().__init__()
        length, width = settings.data.n_features, settings.widths[0]
        self.embedding = nn.Embedding(settings.n_outputs, width)
        nn.init.normal_(self.embedding.weight, std=INITIAL_SD)
        is_learned = settings.positions == "learned"
        self.positions = nn.Parameter(INITIAL_SD * torch.randn(length, width)) if is_learned else None
        self.blocks = nn.Sequential(*(_Block(settings, formula) for _ in settings.widths))
        self.norm = _norm(settings)
        self.head = nn.Linear(width, settings.n_outputs, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens ``[batch, length]`` to logits ``[batch, length, tokens]``."""
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


class _Block(nn.Module):
    """Attention and a feed-forward part, each added to its input."""

    turns: Tensor | None

    def __init__(self, settings: ProxySettings, formula: Formula) -> None:
        super().__init__()
        width = settings.widths[0]
        hidden = hidden_width(width, gated="g" in formula.inputs)
        self.heads = settings.heads
        self.norms = nn.ModuleList(_norm(settings) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.ups = nn.ModuleList(nn.Linear(width, hidden, bias=False) for _ in formula.inputs)
        self.activation = formula.to_module()
        self.down = nn.Linear(hidden, width, bias=False)
        is_rotary = settings.positions == "rotary"
        turns = rotations(settings.data.n_features, width // self.heads) if is_rotary else None
        self.register_buffer("turns", turns)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x))
        seen = self.norms[1](x)
        fed: Tensor = self.down(self.activation(*[up(seen) for up in self.ups]))
        return x + fed

    def attention(self, x: Tensor) -> Tensor:
        query, key, value = self.query_key_value(x).reshape(*x.shape[:-1], 3, self.heads, -1).unbind(dim=2)
        if self.turns is not None:
            query, key = _turned(query, self.turns), _turned(key, self.turns)
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
        )
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Rotary positions of ``[batch, length, heads, width]``."""
    points = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(points * turns.unsqueeze(1)).flatten(-2)


def _norm(settings: ProxySettings) -> nn.Module:
    kind = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}[settings.normalisation]
    return cast(Callable[..., nn.Module], kind)(settings.widths[0], eps=NORM_EPSILON)
