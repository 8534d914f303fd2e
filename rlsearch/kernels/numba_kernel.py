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

from rlsearch.formula import Formula
from rlsearch.formula.program import Program
from rlsearch.kernels.base import checked_tensors, first_derivative, summed_to, wants_gradient
from rlsearch.kernels.numba_source import BLOCK, OPCODES, load_interpreter
from rlsearch.kernels.torch_kernel import TorchActivation


class NumbaKernel:
    """Value and slopes by compiled loops over float32 on the CPU; other tensors take the torch kernel's way.

    Values differ from torch's by a few units in the last place, and constants are rounded to float32. A number's
    result depends on nothing but the number and the formula: not on its place, its neighbours, or on whether slopes
    are wanted.

    Raises:
        ImportError: If numba is not installed (at the import of this module).
    """

    name = "numba"
    # There are no CUDA graphs on the CPU, and other tensors take the torch kernel's way.
    programs_are_data = False

    def __init__(self) -> None:
        # Interpreters of more inputs are compiled when they are needed.
        self._interpreters = {1: load_interpreter()}

    def __reduce__(self) -> tuple[type["NumbaKernel"], tuple[()]]:
        return NumbaKernel, ()

    def population(self, formulas: Sequence[Formula], inputs: Sequence[str] = ("x",)) -> "NumbaActivation":
        """The activation of ``len(formulas)`` members; see :class:`~rlsearch.kernels.base.Kernel`."""
        if len(inputs) not in self._interpreters:
            self._interpreters[len(inputs)] = load_interpreter(len(inputs))
        return NumbaActivation(self._interpreters[len(inputs)], formulas, inputs)


class NumbaActivation(TorchActivation):
    """The activation of the numba kernel; see :class:`~rlsearch.kernels.base.BatchActivation`."""

    def __init__(self, interpreter: Any, formulas: Sequence[Formula], inputs: Sequence[str]) -> None:
        super().__init__(formulas, inputs)
        self._interpreter = interpreter
        self._pack()

    def load(self, formulas: Sequence[Formula]) -> None:
        """Replaces the formulas."""
        super().load(formulas)
        self._pack()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The values."""
        for tensor in tensors:
            if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
                return super().__call__(*tensors)
        checked_tensors(tensors, self.inputs, len(self.programs))
        if wants_gradient(tensors):
            result: Tensor = _ValueAndSlopes.apply(self, *tensors)  # type: ignore[no-untyped-call]
            return result
        return self.values(tensors)

    def values(self, tensors: Sequence[Tensor]) -> Tensor:
        """The values of float32 tensors on the CPU, without autograd."""
        return self._run(self._interpreter.value, tensors, 1)[0]

    def gradients(self, tensors: Sequence[Tensor], outer: Tensor) -> list[Tensor]:
        """The gradient by each input, given that of the values."""
        _, *slopes = self.value_and_slopes(tensors)
        return [summed_to(tensor.shape, slope.mul_(outer)) for slope, tensor in zip(slopes, tensors, strict=True)]

    def value_and_slopes(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The values and their slope by each input at every place, of float32 tensors on the CPU."""
        return self._run(self._interpreter.value_and_slopes, tensors, 1 + len(tensors))

    def _run(self, function: Any, tensors: Sequence[Tensor], n_outputs: int) -> list[Tensor]:
        first = tensors[0].detach().contiguous()
        given = [first, *(_spread(tensor.detach(), first).contiguous() for tensor in tensors[1:])]
        outputs = [torch.empty_like(first) for _ in range(n_outputs)]
        function(*self._packed, *[_rows(tensor) for tensor in (*given, *outputs)])
        return outputs

    def _pack(self) -> None:
        """Turns the programs into the interpreter's arrays."""
        self._packed = packed(self.programs)
        if len(self.inputs) > 1:
            chains: list[list[int]] = []
            for program in self.programs:
                chains += _chains(program)
            self._packed += (np.array(chains, dtype=np.int32).reshape(-1, len(self.inputs)),)


def _spread(tensor: Tensor, first: Tensor) -> Tensor:
    """An input at every place of the first one; the interpreter itself spreads one number of a member."""
    return tensor if len(tensor) == tensor.numel() else tensor.expand_as(first)


def _rows(x: Tensor) -> NDArray[np.float32]:
    # Reshaped by numpy, which takes half as long as torch.
    array: NDArray[np.float32] = x.numpy()
    return array.reshape(len(array), -1 if array.size else 0)


def packed(programs: Sequence[Program]) -> tuple[Any, ...]:
    """The interpreter's first arguments: rows, constants, where each program starts, results, slots."""
    # The programs lie one behind the other, and share the scratch of the one that needs most slots.
    rows: list[tuple[int, ...]] = []
    constants: list[float] = []
    results, slots = [], []
    for program in programs:
        more_rows, more_constants, result, n_slots = _pack(program)
        rows += more_rows
        constants += more_constants
        results.append(result)
        slots.append(n_slots)
    counts = [len(program.instructions) for program in programs]
    with np.errstate(over="ignore"):
        rounded = np.array(constants).astype(np.float32)
    return (
        np.array(rows, dtype=np.int32).reshape(-1, 4),
        rounded,
        np.cumsum([0, *counts], dtype=np.int32),
        np.array(results, dtype=np.int32),
        max(slots),
    )


def _pack(program: Program) -> tuple[list[tuple[int, ...]], list[float], int, int]:
    """The rows (opcode, target, left, right), their constants, the result, and the number of slots.

    Slots are given by their offset in the interpreter's scratch. A value's slot is free again after its last use, so
    few are alive and all stay in cache; but not for that last user itself, since LLVM vectorises no loop that reads
    what it writes. The first slots are the inputs and stay.
    """
    n_inputs = program.n_inputs
    record = (1 + n_inputs) * BLOCK
    last_use: dict[int, int] = {}
    for i, step in enumerate(program.instructions):
        last_use |= {a: i for a in step.operands if isinstance(a, int)}

    slot_of, free, n_slots = {j: j for j in range(n_inputs)}, list[int](), n_inputs
    rows: list[tuple[int, ...]] = []
    constants: list[float] = []
    for i, step in enumerate(program.instructions):
        # The target is taken before the operands' slots are freed: it must not be one of them.
        if not free:
            free.append(n_slots)
            n_slots += 1
        target = slot_of[n_inputs + i] = free.pop()
        slots = [slot_of[a] if isinstance(a, int) else 0 for a in step.operands]
        left, right = slots if len(slots) == 2 else (slots[0], 0)

        form = "".join("v" if isinstance(a, int) else "c" for a in step.operands)
        rows.append((OPCODES[step.operator.name, form], record * target, record * left, record * right))
        constants.append(next((a for a in step.operands if isinstance(a, float)), 0.0))
        free += {slot_of[a] for a in step.operands if isinstance(a, int) and a >= n_inputs and last_use[a] == i}
    return rows, constants, record * slot_of[program.result], n_slots


def _chains(program: Program) -> list[list[int]]:
    """Per instruction and input, which operands depend on the input: 0 none, 1 left, 2 right, 3 both."""
    depends = [[i == j for j in range(program.n_inputs)] for i in range(program.n_inputs)]
    rows: list[list[int]] = []
    for step in program.instructions:
        operands = [depends[a] if isinstance(a, int) else [False] * program.n_inputs for a in step.operands]
        rows.append([sum(bit << side for side, bit in enumerate(bits)) for bits in zip(*operands, strict=True)])
        depends.append([chain > 0 for chain in rows[-1]])
    return rows


class _ValueAndSlopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: NumbaActivation, *tensors: Tensor) -> Tensor:
        y, *ctx.slopes = activation.value_and_slopes(tensors)
        ctx.shapes = [tensor.shape for tensor in tensors]
        return y

    @staticmethod
    @first_derivative
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), wanted = gradients, ctx.needs_input_grad[1:]
        slopes = zip(ctx.slopes, ctx.shapes, strict=True)
        return None, *[summed_to(shape, gradient * s) if wanted[j] else None for j, (s, shape) in enumerate(slopes)]
