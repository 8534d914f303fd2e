"""What a token is: an operator's name, an input's name, or a constant."""

import math
from collections.abc import Iterable, Sequence

from rlsearch.errors import FormulaError, nearest
from rlsearch.formula.operators import OPERATORS

Token = str | float
"""An operator's name, an input's name (one lower-case letter), or a finite constant."""

MAX_SIZE = 512
"""The most tokens that a formula may have; named functions that repeat their argument grow fast when nested."""


def is_input(token: Token) -> bool:
    """Whether ``token`` is the name of an input: one lower-case letter."""
    return isinstance(token, str) and len(token) == 1 and "a" <= token <= "z"


def inputs_of(tokens: Iterable[Token]) -> tuple[str, ...]:
    """The names of the inputs among ``tokens``, ``x`` first and then by the alphabet."""
    return tuple(sorted({str(t) for t in tokens if is_input(t)}, key=lambda name: (name != "x", name)))


def arity(token: Token) -> int:
    """Number of operands of ``token``.

    Raises:
        FormulaError: If there is no such token.
    """
    if not isinstance(token, str):
        if not math.isfinite(token):
            raise FormulaError(f"the constant {token!r} is not finite")
        return 0
    if token in OPERATORS:
        return OPERATORS[token].arity
    if is_input(token):
        return 0
    raise FormulaError(
        f"unknown token {token!r}; expected an operator, an input (one lower-case letter) or a number"
        + nearest(token, OPERATORS)
    )


def depth_of(tokens: Sequence[Token]) -> int:
    """Number of tokens on the longest way from the first of a prefix sequence to a leaf."""
    stack: list[int] = []
    for token in reversed(tokens):
        operands = [stack.pop() for _ in range(arity(token))]
        stack.append(1 + max(operands, default=0))
    return stack[0]
