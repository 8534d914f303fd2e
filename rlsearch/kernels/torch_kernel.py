"""The reference kernel: dual numbers in plain torch, one member after the other, on any device."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rlsearch.formula import Formula
from rlsearch.formula.backends import torch_backend
from rlsearch.formula.program import Program, run, run_with_slopes
from rlsearch.kernels.base import (
    checked_members,
    checked_programs,
    checked_tensors,
    first_derivative,
    summed_to,
    wants_gradient,
)


class TorchKernel:
    """Value and slope by torch operations; exact, and with nothing to compile."""

    name = "torch"
    programs_are_data = False

    def population(self, formulas: Sequence[Formula], inputs: Sequence[str] = ("x",)) -> "TorchActivation":
        """The activation of ``len(formulas)`` members; see :class:`~rlsearch.kernels.base.Kernel`."""
        return TorchActivation(formulas, inputs)


class TorchActivation:
    """The activation of the torch kernel; see :class:`~rlsearch.kernels.base.BatchActivation`."""

    def __init__(self, formulas: Sequence[Formula], inputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self.programs = checked_programs(formulas, inputs)

    def load(self, formulas: Sequence[Formula]) -> None:
        """Replaces the formulas."""
        checked_members(formulas, len(self.programs))
        self.programs = checked_programs(formulas, self.inputs)

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The values."""
        checked_tensors(tensors, self.inputs, len(self.programs))
        if wants_gradient(tensors):
            result: Tensor = _ValueAndSlopes.apply(self.programs, *tensors)  # type: ignore[no-untyped-call]
            return result
        members = _members(self.programs, tensors)
        return torch.stack([run(program, torch_backend(), slices) for program, slices in members])


def _members(programs: Sequence[Program], tensors: Sequence[Tensor]) -> Iterator[tuple[Program, tuple[Tensor, ...]]]:
    slices = zip(*(tensor.expand_as(tensors[0]).unbind() for tensor in tensors), strict=True)
    return zip(programs, slices, strict=True)


class _ValueAndSlopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, programs: Sequence[Program], *tensors: Tensor) -> Tensor:
        members = _members(programs, tensors)
        results = [run_with_slopes(program, torch_backend(), slices) for program, slices in members]
        # Per input, and then per member; tensors, or floats where the slope is the same everywhere.
        ctx.slopes = list(zip(*(slopes for _, slopes in results), strict=True))
        ctx.shapes = [tensor.shape for tensor in tensors]
        return torch.stack([y for y, _ in results])

    @staticmethod
    @first_derivative
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        members = gradients[0].unbind()
        return None, *(
            summed_to(shape, torch.stack([g * slope for g, slope in zip(members, slopes, strict=True)]))
            if wanted
            else None
            for shape, slopes, wanted in zip(ctx.shapes, ctx.slopes, ctx.needs_input_grad[1:], strict=True)
        )
