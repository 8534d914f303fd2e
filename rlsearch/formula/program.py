"""From a formula's tokens to a list of instructions, and its value and slope by running them.

A program computes every distinct subexpression once and every constant subexpression beforehand. Its slopes come
by dual numbers: each instruction carries its value and its derivative by each input, so one pass over the numbers
gives both and no graph is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlsearch.formula.backends import NUMPY, Backend
from rlsearch.formula.operators import OPERATORS, Operator
from rlsearch.formula.tokens import letter_of

Operand = int | float
"""The index of an earlier value (inputs first, then instructions in order), or a constant."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One operator applied to earlier values."""

    operator: Operator
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A formula as straight-line code.

    Attributes:
        n_inputs: Number of inputs, which are values ``0`` to ``n_inputs - 1``.
        instructions: In order; each appends one value.
        result: Which value is the formula's.
    """

    n_inputs: int
    instructions: tuple[Instruction, ...]
    result: int


def compile_program(tokens: Sequence[str | float], inputs: Sequence[str]) -> Program:
    """Compiles a complete prefix sequence that contains at least one of ``inputs``.

    Args:
        tokens: The sequence.
        inputs: Names of inputs, and letters of parameters, which are inputs to the program like any other.
    """
    instructions: list[Instruction] = []
    known: dict[str, int] = {}
    stack: list[Operand] = []
    # Read from the right, a prefix sequence is a stack machine's: operands lie ready when their operator comes.
    for token in reversed(tokens):
        if not isinstance(token, str):
            stack.append(token)
        elif token in OPERATORS:
            operator = OPERATORS[token]
            operands = tuple(stack.pop() for _ in range(operator.arity))
            if all(isinstance(a, float) for a in operands):
                with np.errstate(all="ignore"):
                    stack.append(float(operator.value(NUMPY, *operands)))
            else:
                key = f"{token} {operands}"  # as text, because the value 1 and the constant 1.0 compare equal
                if key not in known:
                    known[key] = len(inputs) + len(instructions)
                    instructions.append(Instruction(operator, operands))
                stack.append(known[key])
        else:
            stack.append(list(inputs).index(letter_of(token)))
    (result,) = stack
    assert isinstance(result, int)
    return Program(len(inputs), tuple(instructions), result)


def _as_it_is(value: Any) -> Any:
    return value


def run(program: Program, backend: Backend, inputs: Sequence[Any], named: Callable[[Any], Any] = _as_it_is) -> Any:
    """Computes the value of ``program`` on ``inputs``, arrays of one shape.

    Args:
        program: The formula.
        backend: Whose arrays, or source text, the inputs are.
        inputs: In the order of the program's.
        named: Called on every value. A backend that writes source gives names to them, since they may be used twice.
    """
    values = list(inputs)
    for instruction in program.instructions:
        operands = [values[a] if isinstance(a, int) else a for a in instruction.operands]
        values.append(named(instruction.operator.value(backend, *operands)))
    return values[program.result]


def run_with_slopes(
    program: Program, backend: Backend, inputs: Sequence[Any], named: Callable[[Any], Any] = _as_it_is
) -> tuple[Any, tuple[Any, ...]]:
    """Computes the value of ``program`` and its partial derivative by each input.

    A derivative that is the same everywhere is returned as a float, 0.0 for an input that does not occur.

    Args:
        program: The formula.
        backend: As for :func:`run`.
        inputs: As for :func:`run`.
        named: As for :func:`run`, and called on every derivative too, which may be a float.
    """
    values = list(inputs)
    # An input's slope is 1 by itself. None means identically 0, so that nothing is multiplied by it.
    slopes: list[list[Any]] = []
    for i in range(program.n_inputs):
        slopes.append([None] * program.n_inputs)
        slopes[i][i] = 1.0
    for instruction in program.instructions:
        operator = instruction.operator
        operands = [values[a] if isinstance(a, int) else a for a in instruction.operands]
        value = named(operator.value(backend, *operands))
        slope: list[Any] = [None] * program.n_inputs
        for index, partial in zip(instruction.operands, operator.partials, strict=True):
            if not isinstance(index, int):
                continue
            outer = named(partial(backend, value, *operands))
            for i, inner in enumerate(slopes[index]):
                if inner is not None:
                    term = _product(outer, inner)
                    slope[i] = term if slope[i] is None else slope[i] + term
        values.append(value)
        slopes.append([named(s) for s in slope])
    return values[program.result], tuple(0.0 if s is None else s for s in slopes[program.result])


def _product(outer: Any, inner: Any) -> Any:
    """The product; nothing is multiplied by a slope that is 1 everywhere."""
    if _is_one(inner):
        return outer
    return inner if _is_one(outer) else outer * inner


def _is_one(a: Any) -> bool:
    return isinstance(a, float) and a == 1.0
