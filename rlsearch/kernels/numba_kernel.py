"""The kernel for CPUs: an interpreter of formulas, compiled once by numba, whose program is data.

Blocks of a few hundred numbers go through a formula's instructions one after the other and stay in the first-level
cache meanwhile; value and slope come in the same pass. Nothing is compiled per formula, and a population is one call.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlsearch.formula import Formula
from rlsearch.formula.program import Program
from rlsearch.kernels.base import Activation, checked_programs, checked_slices
from rlsearch.kernels.numba_source import BLOCK, OPCODES, load_interpreter
from rlsearch.kernels.torch_kernel import TorchKernel


class NumbaKernel:
    """Value and slope by compiled loops over float32 on the CPU; other tensors take the torch kernel's way.

    Values differ from torch's by a few units in the last place, and constants are rounded to float32. A number's
    result depends on nothing but the number and the formula: not on its place, its neighbours, or on whether slopes
    are wanted.

    Raises:
        ImportError: If numba is not installed (at the import of this module).
    """

    name = "numba"

    def __init__(self) -> None:
        self._interpreter = load_interpreter()

    def __reduce__(self) -> tuple[type["NumbaKernel"], tuple[()]]:
        return NumbaKernel, ()

    def population(self, formulas: Sequence[Formula]) -> Activation:
        """Returns the activation of ``len(formulas)`` members; see :class:`~rlsearch.kernels.base.Kernel`."""
        programs = checked_programs(formulas)
        population = _Population(self._interpreter, programs)
        by_torch = TorchKernel().population(formulas)

        def activation(x: Tensor) -> Tensor:
            if x.dtype != torch.float32 or x.device.type != "cpu":
                return by_torch(x)
            checked_slices(x, programs)
            if torch.is_grad_enabled() and x.requires_grad:
                result: Tensor = _ValueAndSlope.apply(x, population)  # type: ignore[no-untyped-call]
                return result
            return population.value(x)

        return activation


class _Population:
    """The packed programs of a population, and their interpreter; for float32 tensors on the CPU."""

    def __init__(self, interpreter: Any, programs: Sequence[Program]) -> None:
        self._interpreter = interpreter
        self._programs = packed(programs)

    def value(self, x: Tensor) -> Tensor:
        x = x.detach().contiguous()
        y = torch.empty_like(x)
        self._interpreter.value(*self._programs, _rows(x), _rows(y))
        return y

    def value_and_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().contiguous()
        y, slope = torch.empty_like(x), torch.empty_like(x)
        self._interpreter.value_and_slope(*self._programs, _rows(x), _rows(y), _rows(slope))
        return y, slope


def _rows(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.view(len(x), -1 if x.numel() else 0).numpy()
    return array


def packed(programs: Sequence[Program]) -> tuple[Any, ...]:
    """Returns the interpreter's first arguments: rows, constants, where each program starts, results, slots."""
    parts = [_pack(program) for program in programs]
    counts = [len(program.instructions) for program in programs]
    with np.errstate(over="ignore"):
        constants = np.array([c for _, constants, _, _ in parts for c in constants]).astype(np.float32)
    return (
        np.array([row for rows, _, _, _ in parts for row in rows], dtype=np.int32).reshape(-1, 4),
        constants,
        np.cumsum([0, *counts], dtype=np.int32),
        np.array([result for _, _, result, _ in parts], dtype=np.int32),
        max(slots for _, _, _, slots in parts),
    )


def _pack(program: Program) -> tuple[list[tuple[int, ...]], list[float], int, int]:
    """Returns the rows (opcode, target, left, right), their constants, the result, and the number of slots.

    Slots are given by their offset in the interpreter's scratch. A value's slot is free again after its last use, so
    few are alive and all stay in cache; but not for that last user itself, since LLVM vectorises no loop that reads
    what it writes. Slot 0 is x and stays.
    """
    record = 2 * BLOCK
    last_use = {a: i for i, step in enumerate(program.instructions) for a in step.operands if isinstance(a, int)}
    slot_of, free, n_slots = {0: 0}, list[int](), 1
    rows: list[tuple[int, ...]] = []
    constants: list[float] = []
    for i, step in enumerate(program.instructions):
        form = "".join("v" if isinstance(a, int) else "c" for a in step.operands)
        if not free:
            free.append(n_slots)
            n_slots += 1
        target = slot_of[i + 1] = free.pop()
        slots = [slot_of[a] if isinstance(a, int) else 0 for a in step.operands]
        left, right = slots if len(slots) == 2 else (slots[0], 0)
        rows.append((OPCODES[step.operator.name, form], record * target, record * left, record * right))
        constants.append(next((a for a in step.operands if isinstance(a, float)), 0.0))
        free += {slot_of[a] for a in step.operands if isinstance(a, int) and a and last_use[a] == i}
    return rows, constants, record * slot_of[program.result], n_slots


class _ValueAndSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, population: _Population) -> Tensor:
        y, ctx.slope = population.value_and_slope(x)
        return y

    @staticmethod
    @once_differentiable  # the slope's own slope is not known
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.slope, None
