"""Causal attention of K networks, written out: autograd of the same lines keeps and moves twice as many numbers."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlsearch.kernels.base import first_derivative
from rlsearch.proxies.networks.matrix import PopulationMatrix

ROTARY_BASE = 10_000.0
"""The slowest pair of numbers turns by 1 in about so many positions (arXiv 2104.09864, section 3.2.2)."""


class PopulationAttention(nn.Module):
    """K causal attentions of several heads.

    Args:
        generators: One per member.
        width: Of the input and of the output.
        heads: Each of them sees its own share of the width.
        length: Positions of an example.
        rotary: Whether queries and keys are turned by their position (arXiv 2104.09864).

    Attributes:
        mask: What is added to the weight that position i gives position j: 0, or minus infinity for a later one;
            ``[K, length, length]``, as every buffer of a network has the population's axis.
        turns: By which queries and keys are turned, ``[K, length, width of a head / 2]``, if they are.
    """

    mask: Tensor
    turns: Tensor | None

    def __init__(
        self, generators: Sequence[torch.Generator], width: int, heads: int, length: int, *, rotary: bool
    ) -> None:
        super().__init__()
        members = len(generators)
        self.heads = heads
        self.query_key_value = PopulationMatrix(generators, width, 3 * width)
        self.out = PopulationMatrix(generators, width, width)
        self.register_buffer("mask", torch.full((members, length, length), -math.inf).triu(1))
        turns = rotations(length, width // heads).expand(members, -1, -1) if rotary else None
        self.register_buffer("turns", turns)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape ``[K, batch * length, width]``."""
        members, _, width = x.shape
        projected = self.query_key_value(x).reshape(-1, self.mask.shape[-1], 3, self.heads, width // self.heads)
        turns = None if self.turns is None else self.turns[0]
        mixed = _Attention.apply(projected, self.mask[0], turns)  # type: ignore[no-untyped-call]
        result: Tensor = self.out(mixed.reshape(members, -1, width))
        return result


def rotations(length: int, width: int) -> Tensor:
    """By which the pairs of numbers of a head are turned at each position: complex, ``[length, width / 2]``."""
    speeds = ROTARY_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), speeds)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def _points(x: Tensor) -> Tensor:
    """Neighbouring numbers as points of a plane."""
    return torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))


def _by_head(x: Tensor) -> Tensor:
    """From ``[examples, length, 3, heads, width]`` to ``[3, examples, heads, length, width]``, without a copy."""
    return x.permute(2, 0, 3, 1, 4)


class _Attention(torch.autograd.Function):
    """Maps queries, keys and values ``[examples, length, 3, heads, width]`` to ``[examples, length, heads, width]``.

    Each head of each example of each member is a matrix of its own in all products.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, mask: Tensor, turns: Tensor | None) -> Tensor:
        examples, length, _, heads, width = projected.shape
        split = projected.new_empty(3, examples, heads, length, width)
        _turn(_by_head(projected), split, turns)
        query, key, value = split.flatten(1, 2).unbind()
        scale = width**-0.5
        weights = torch.baddbmm(mask, query, key.mT, alpha=scale).softmax(dim=-1)
        ctx.save_for_backward(query, key, value, weights, turns)
        ctx.heads = heads
        mixed: Tensor = torch.bmm(weights, value).view(examples, heads, length, width).transpose(1, 2)
        return mixed

    @staticmethod
    @first_derivative
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        query, key, value, weights, turns = ctx.saved_tensors
        _, length, width = query.shape
        of_result = gradient.transpose(1, 2).reshape(-1, length, width)
        split = torch.empty((3, *query.shape), dtype=query.dtype, device=query.device)
        of_query, of_key, of_value = split.unbind()
        torch.bmm(weights.mT, of_result, out=of_value)
        of_weights = torch.bmm(of_result, value.mT)
        # Of what softmax was given: weights * (their gradient - its mean by the weights).
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype).mul_(width**-0.5)
        torch.bmm(of_scores, key, out=of_query)
        torch.bmm(of_scores.mT, query, out=of_key)
        split = split.view(3, -1, ctx.heads, length, width)
        projected = torch.empty_like(split.permute(1, 3, 0, 2, 4), memory_format=torch.contiguous_format)
        _turn(split, _by_head(projected), None if turns is None else turns.conj_physical())
        return projected, None, None


def _turn(source: Tensor, target: Tensor, turns: Tensor | None) -> None:
    """Writes queries, keys and values ``[3, ..., length, width]`` to another layout, the first two of them turned."""
    if turns is None:
        target.copy_(source)
        return
    torch.mul(_points(source[:2]), turns, out=_points(target[:2]))
    target[2].copy_(source[2])
