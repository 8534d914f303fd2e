"""The reference kernel: dual numbers in plain torch, one member after the other, on any device."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlsearch.formula import Formula
from rlsearch.formula.backends import torch_backend
from rlsearch.formula.program import Program, run, run_with_slopes
from rlsearch.kernels.base import Activation, checked_programs, checked_slices


class TorchKernel:
    """Value and slope by torch operations; exact, and with nothing to compile."""

    name = "torch"

    def population(self, formulas: Sequence[Formula]) -> Activation:
        """Returns the activation of ``len(formulas)`` members; see :class:`~rlsearch.kernels.base.Kernel`."""
        programs = checked_programs(formulas)

        def activation(x: Tensor) -> Tensor:
            checked_slices(x, programs)
            if torch.is_grad_enabled() and x.requires_grad:
                result: Tensor = _ValueAndSlope.apply(x, programs)  # type: ignore[no-untyped-call]
                return result
            members = zip(programs, x.unbind(), strict=True)
            return torch.stack([run(program, torch_backend(), (member,)) for program, member in members])

        return activation


class _ValueAndSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, programs: Sequence[Program]) -> Tensor:
        members = zip(programs, x.unbind(), strict=True)
        results = [run_with_slopes(program, torch_backend(), (member,)) for program, member in members]
        ctx.slopes = [slope for _, (slope,) in results]  # tensors, or floats where the slope is the same everywhere
        return torch.stack([y for y, _ in results])

    @staticmethod
    @once_differentiable  # the slopes' own slopes are not known
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return torch.stack([g * slope for g, slope in zip(gradient.unbind(), ctx.slopes, strict=True)]), None
