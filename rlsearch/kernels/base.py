"""What a kernel is. The torch kernel is the exact reference; faster ones are tested against it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from rlsearch.errors import FormulaError
from rlsearch.formula import Formula
from rlsearch.formula.program import Program

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


def checked_programs(formulas: Sequence[Formula]) -> tuple[Program, ...]:
    """Returns the programs of a population's formulas.

    Raises:
        FormulaError: If a formula has another input than ``x``.
    """
    for formula in formulas:
        if formula.inputs != ("x",):
            raise FormulaError(f"'{formula}' has the inputs {formula.inputs}; proxies take formulas of x alone")
    return tuple(formula.program for formula in formulas)


def checked_slices(x: Tensor, programs: Sequence[Program]) -> None:
    """Raises a ValueError unless ``x`` has one slice per program."""
    if len(x) != len(programs):
        raise ValueError(f"a population of {len(programs)} got a tensor of {len(x)} slices")
