"""What a kernel is. The torch kernel is the exact reference; faster ones are tested against it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from rlsearch.formula import Formula

Activation = Callable[[Tensor], Tensor]
"""A differentiable function of ``[K, ...]`` to ``[K, ...]`` that applies formula k to slice k."""


class Kernel(Protocol):
    """Turns formulas of one input into one differentiable elementwise function.

    A kernel computes the slope together with the value, so autograd keeps one tensor per call and no graph of the
    formula. Slice k depends on formula k alone: a non-finite slice changes no bit of the others.

    Attributes:
        name: Stands in figures and protocols, since the kernel decides latency.
    """

    name: str

    def population(self, formulas: Sequence[Formula]) -> Activation:
        """Returns the activation of ``len(formulas)`` members.

        Raises:
            FormulaError: If a formula has another input than ``x``.
        """
        ...
