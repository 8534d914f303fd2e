"""The kernel for GPUs: an interpreter of formulas, compiled once by Triton, whose program is data.

One block of numbers of one member goes through the member's instructions and never leaves the registers: forward
reads the inputs and writes the values; backward reads the inputs and the gradient, computes value and slopes again,
and writes the products. Autograd keeps the inputs alone. The instructions lie in a buffer on the device, so other
formulas are loaded by one copy, also under a captured CUDA graph.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlsearch.errors import FormulaError
from rlsearch.formula import Formula
from rlsearch.formula.program import Instruction, Program
from rlsearch.kernels.base import checked_tensors, first_derivative, summed_to, wants_gradient
from rlsearch.kernels.torch_kernel import TorchActivation
from rlsearch.kernels.triton_source import (
    CONSTANT,
    FIRST_INPUT,
    OPCODES,
    ROW,
    SECOND,
    TOP,
    instruction,
    load_interpreter,
)

DEPTHS = (4, 8)
"""Depths of the stack. Four serve every formula of up to fifteen leaves, eight every one of ``MAX_SIZE`` tokens."""

BLOCK = 1024
"""Numbers per program."""

FORWARD: dict[str, Any] = {"BLOCK": BLOCK, "num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}
"""Eight numbers per thread, which share the work of deciding what an instruction is."""

BACKWARD: dict[str, Any] = FORWARD | {"num_warps": 8}
"""Four numbers per thread, whose slopes take registers too: 74, or 106 of two inputs, against 143 and 203."""


class TritonKernel:
    """Value and slopes by a compiled interpreter, of float32 or bfloat16 on a GPU; others take the torch kernel's way.

    The arithmetic is float32 for both. Values differ from torch's by a few units in the last place; sin and cos of
    more than four million are any number between -1 and 1. A number's result depends on nothing but the number and the
    formula. Under ``TRITON_INTERPRET=1``, set before the first import of triton, tensors on the CPU are computed too,
    slowly.

    Raises:
        ImportError: If triton is not installed (at the import of this module).
    """

    name = "triton"
    programs_are_data = True

    def __init__(self) -> None:
        self._interpreters: dict[tuple[int, int], ModuleType] = {}

    def __reduce__(self) -> tuple[type["TritonKernel"], tuple[()]]:
        return TritonKernel, ()

    def population(self, formulas: Sequence[Formula], inputs: Sequence[str] = ("x",)) -> "TritonActivation":
        """The activation of ``len(formulas)`` members; see :class:`~rlsearch.kernels.base.Kernel`."""
        return TritonActivation(self, formulas, inputs)

    def interpreter(self, inputs: int, depth: int) -> ModuleType:
        """The interpreter of so many inputs with a stack of some depth."""
        if (inputs, depth) not in self._interpreters:
            self._interpreters[inputs, depth] = load_interpreter(inputs, depth)
        return self._interpreters[inputs, depth]


class TritonActivation(TorchActivation):
    """The activation of the triton kernel; see :class:`~rlsearch.kernels.base.BatchActivation`.

    The first pass forward and backward on a device makes the buffer there and compiles, for a dtype and sizes that are
    or are not multiples of 16: it must come before a CUDA graph is captured.
    """

    def __init__(self, kernel: TritonKernel, formulas: Sequence[Formula], inputs: Sequence[str]) -> None:
        super().__init__(formulas, inputs)
        self._rows, depth = _rows(self.programs)
        self._depth = next(d for d in DEPTHS if d >= depth)
        self._interpreter = kernel.interpreter(len(inputs), self._depth)
        self._interpreted = type(self._interpreter.forward).__name__ == "InterpretedFunction"
        self._buffers: dict[torch.device, Tensor] = {}
        self._version = 0

    def load(self, formulas: Sequence[Formula]) -> None:
        """Replaces the formulas.

        Raises:
            FormulaError: Also if a formula needs a deeper stack than this activation has, which takes more than
                fifteen leaves; a captured graph could not change that, so make a new population.
        """
        before = self.programs
        super().load(formulas)
        rows, depth = _rows(self.programs)
        if depth > self._depth:
            self.programs = before
            raise FormulaError(
                f"a formula needs a stack of {depth}, and the population was made with {self._depth}; make a new one"
            )
        self._rows = rows
        self._version += 1
        for buffer in self._buffers.values():
            _write(rows, buffer)

    def __call__(self, *tensors: Tensor) -> Tensor:
        """The values."""
        if not self._takes(tensors):
            return super().__call__(*tensors)
        checked_tensors(tensors, self.inputs, len(self.programs))
        if wants_gradient(tensors):
            result: Tensor = _Recomputed.apply(self, *tensors)  # type: ignore[no-untyped-call]
            return result
        return self.values(tensors)

    def _takes(self, tensors: Sequence[Tensor]) -> bool:
        kinds = {(tensor.dtype, tensor.device) for tensor in tensors}
        if len(kinds) != 1:
            return False
        ((dtype, device),) = kinds
        return dtype in (torch.float32, torch.bfloat16) and (device.type == "cuda" or self._interpreted)

    def values(self, tensors: Sequence[Tensor]) -> Tensor:
        """The values, without autograd."""
        values = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
        self._launch(self._interpreter.forward, FORWARD, tensors, [values])
        return values

    def gradients(self, tensors: Sequence[Tensor], outer: Tensor, version: int | None = None) -> list[Tensor]:
        """The gradient by each input, given that of the values and, if it may have changed, the version then."""
        if version not in (None, self._version):
            raise RuntimeError("other formulas were loaded between the forward pass and its backward pass")
        slopes = [torch.empty(tensors[0].shape, dtype=each.dtype, device=each.device) for each in tensors]
        self._launch(self._interpreter.backward, BACKWARD, [*tensors, outer], slopes)
        return [summed_to(each.shape, slope) for each, slope in zip(tensors, slopes, strict=True)]

    @property
    def version(self) -> int:
        """How often formulas were loaded."""
        return self._version

    def _launch(
        self, function: Any, options: dict[str, Any], sources: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> None:
        size = targets[0].numel() // max(1, len(self.programs))
        if not size:
            return
        # What was spread over many places, such as a parameter, is written to each.
        sources = [source.detach().expand(targets[0].shape).contiguous() for source in sources]
        with torch.cuda.device_of(targets[0]):  # type: ignore[no-untyped-call] # Triton launches on the current one
            grid = (-(-size // BLOCK), len(self.programs))
            function[grid](self._buffer(targets[0].device), *sources, *targets, size, **options)

    def _buffer(self, device: torch.device) -> Tensor:
        if device not in self._buffers:
            self._buffers[device] = torch.zeros(len(self.programs), ROW, dtype=torch.int32, device=device)
            _write(self._rows, self._buffers[device])
        return self._buffers[device]


def _write(rows: Tensor, buffer: Tensor) -> None:
    buffer[:, : rows.shape[1]].copy_(rows)


def _rows(programs: Sequence[Program]) -> tuple[Tensor, int]:
    """The members' words, shape ``[K, at most ROW]``, and the depth of the stack that they need."""
    instructions: list[int] = []
    constants: list[float] = []
    lengths, depth = [], 0
    for program in programs:
        rows, depth_of_one = _pack(program)
        instructions += [word for word, _ in rows]
        constants += [constant for _, constant in rows]
        lengths.append(len(rows))
        depth = max(depth, depth_of_one)

    # All members in one array: each row begins with its length, and shorter ones end in zeros.
    count, longest = len(programs), max(lengths, default=0)
    words = np.zeros((count, 1 + longest, 2), np.int32)
    words[:, 0, 0] = lengths
    is_word = np.arange(longest) < np.array(lengths, np.int32)[:, None]
    words[:, 1:, 0][is_word] = instructions
    with np.errstate(over="ignore"):
        words[:, 1:, 1][is_word] = np.array(constants, np.float64).astype(np.float32).view(np.int32)
    return torch.from_numpy(words.reshape(count, -1)), depth


def _pack(program: Program) -> tuple[list[tuple[int, float]], int]:
    """A program's instructions for a stack, each with its constant, and the depth that they need.

    Sethi and Ullman's order: the operand that needs the deeper stack is computed first, and waits in one place while
    the other is computed. Inputs and constants need no place. A value that is used several times is computed as often,
    except as both operands of one instruction.
    """
    n_inputs = program.n_inputs
    needs, depends = [0] * n_inputs, [[i == j for j in range(n_inputs)] for i in range(n_inputs)]
    words: list[tuple[int, float]] = []
    for step in program.instructions:
        stacked = _stacked(step, n_inputs, needs)
        needs.append(max([1, *(needs[a] + waiting for waiting, a in enumerate(stacked))]))
        waiting_value = stacked[0] if len(stacked) == 2 else None
        sources = [_source(a, n_inputs, waiting_value) for a in step.operands]
        left, right = sources if len(sources) == 2 else (sources[0], 0)

        # Which operands depend on which input.
        masks = [depends[a] if isinstance(a, int) else [False] * n_inputs for a in step.operands]
        chains = [sum(bit << side for side, bit in enumerate(bits)) for bits in zip(*masks, strict=True)]
        depends.append([chain > 0 for chain in chains])
        constant = next((a for a in step.operands if isinstance(a, float)), 0.0)
        words.append((instruction(OPCODES[step.operator.name], left, right, chains, len(stacked)), constant))
    if program.result < n_inputs:
        # A formula that is nothing but an input.
        chains = [int(program.result == j) for j in range(n_inputs)]
        return [(instruction(OPCODES["copy"], FIRST_INPUT + program.result, 0, chains, 0), 0.0)], 1
    return [words[value - n_inputs] for value in _order(program, needs)], needs[program.result]


def _source(operand: int | float, n_inputs: int, waiting_value: int | None) -> int:
    """Where an operand comes from; ``waiting_value`` was computed first, and lies below the other."""
    if isinstance(operand, float):
        return CONSTANT
    if operand < n_inputs:
        return FIRST_INPUT + operand
    return SECOND if operand == waiting_value else TOP


def _stacked(step: Instruction, n_inputs: int, needs: Sequence[int]) -> list[int]:
    """The operands that are computed before, in the order of their computation."""
    operands = dict.fromkeys(a for a in step.operands if isinstance(a, int) and a >= n_inputs)
    return sorted(operands, key=lambda a: needs[a], reverse=True)


def _order(program: Program, needs: Sequence[int]) -> list[int]:
    """The values in the order of their computation, with repetitions."""
    backwards, open_values = list[int](), [program.result]
    while open_values:
        value = open_values.pop()
        backwards.append(value)
        open_values += _stacked(program.instructions[value - program.n_inputs], program.n_inputs, needs)
    return backwards[::-1]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: TritonActivation, *tensors: Tensor) -> Tensor:
        ctx.activation, ctx.version = activation, activation.version
        ctx.save_for_backward(*tensors)
        return activation.values(tensors)

    @staticmethod
    @first_derivative
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.activation.gradients(ctx.saved_tensors, gradients[0], ctx.version)
