"""What a kernel is. The torch kernel is the exact reference; faster ones are tested against it."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlsearch.errors import FormulaError
from rlsearch.formula import Formula
from rlsearch.formula.program import Program, compile_program


class BatchActivation(Protocol):
    """A differentiable function of tensors ``[K, ...]`` to ``[K, ...]`` that applies formula k to slice k."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The values, of the shape of the first input: one tensor per input of the population.

        The others are of that shape too, or have as many dimensions and a size of 1 where one number stands for many:
        ``[K, 1, 1]`` is a parameter of each member beside inputs ``[K, rows, width]``. Its gradient is summed.

        Raises:
            ValueError: If their number, the number of slices, or a shape is wrong.
        """
        ...

    def load(self, formulas: Sequence[Formula]) -> None:
        """Replaces the K formulas in place, so that a network that holds this activation goes on.

        Not between a forward pass and its backward pass.

        Raises:
            FormulaError: If a formula has another input than the population, or does not fit into what the kernel
                keeps for it; a new population can.
            ValueError: If they are not K.
        """
        ...


class Kernel(Protocol):
    """Turns formulas into one differentiable elementwise function.

    A kernel computes the slopes by itself, so autograd keeps a tensor or two per call and no graph of the formula.
    Slice k depends on formula k alone: a non-finite slice changes no bit of the others.

    Attributes:
        name: Stands in figures and in proxy names, since the kernel decides latency and the last bits of a score.
        programs_are_data: Whether a captured CUDA graph computes what was loaded after its capture. Else it repeats the
            operations of the formulas that it was captured with.
    """

    name: str
    programs_are_data: bool

    def population(self, formulas: Sequence[Formula], inputs: Sequence[str] = ("x",)) -> BatchActivation:
        """The activation of ``len(formulas)`` members, a function of ``inputs`` in this order.

        Args:
            formulas: Each of some or all of ``inputs``.
            inputs: Names; ``("x", "g")`` for gated formulas. Trained parameters are inputs, too: ``("x", "a", "b")``.

        Raises:
            FormulaError: If a formula has another input than ``inputs``.
        """
        ...


def checked_programs(formulas: Sequence[Formula], inputs: Sequence[str]) -> tuple[Program, ...]:
    """The programs of a population's formulas over ``inputs``.

    Raises:
        FormulaError: If a formula has another input.
    """
    for formula in formulas:
        if not set(formula.parameters) <= set(inputs):
            raise FormulaError(
                f"'{formula}' has trained parameters, {', '.join(formula.parameters)}, which are not trained here; "
                "expected a formula without, such as with_values() makes of it"
            )
        if not set(formula.arguments) <= set(inputs):
            raise FormulaError(
                f"'{formula}' has the inputs {formula.inputs}; proxies take formulas of {' and '.join(inputs)} alone"
            )
    return tuple(
        formula.program if formula.arguments == tuple(inputs) else compile_program(formula.tokens, inputs)
        for formula in formulas
    )


def checked_members(formulas: Sequence[Formula], members: int) -> None:
    """Raises a ValueError unless ``formulas``, to be loaded into a population, are as many as its members."""
    if len(formulas) != members:
        raise ValueError(f"a population of {members} cannot load {len(formulas)} formulas")


def checked_tensors(tensors: Sequence[Tensor], inputs: Sequence[str], members: int) -> None:
    """Raises a ValueError unless there is one tensor per input, with one slice per member, which can be spread."""
    if len(tensors) != len(inputs):
        raise ValueError(f"a population of formulas of {' and '.join(inputs)} got {len(tensors)} tensor(s)")
    shape = tensors[0].shape
    if shape[0] != members:
        raise ValueError(f"a population of {members} got a tensor of {shape[0]} slices")
    for tensor in tensors[1:]:
        if tensor.shape == shape:
            continue
        is_spread = tensor.dim() == len(shape) and tensor.shape[0] == members
        if not is_spread or any(size not in (1, full) for size, full in zip(tensor.shape, shape, strict=True)):
            raise ValueError(f"the inputs' shapes differ: {tuple(shape)} and {tuple(tensor.shape)}")


def summed_to(shape: torch.Size, gradient: Tensor) -> Tensor:
    """The gradient by an input of ``shape`` from that by all places over which it was spread."""
    return gradient if gradient.shape == shape else gradient.sum_to_size(shape)


def first_derivative(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the backward pass of an autograd function refuse a second derivative: the slopes' own are not known.

    As torch's ``once_differentiable``, which takes 3 of a call's 35 microseconds also where no graph is wanted.
    """
    refusing = once_differentiable(backward)

    @wraps(backward)
    def call(ctx: Any, *gradients: Tensor) -> Any:
        return (refusing if torch.is_grad_enabled() else backward)(ctx, *gradients)

    return call


def wants_gradient(tensors: Sequence[Tensor]) -> bool:
    """Whether autograd will ask for the slopes of a function of ``tensors``."""
    return torch.is_grad_enabled() and True in [tensor.requires_grad for tensor in tensors]
