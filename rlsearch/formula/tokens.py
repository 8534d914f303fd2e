"""What a token is: an operator's name, an input's name, a trained parameter, or a constant."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from rlsearch.errors import FormulaError, nearest
from rlsearch.formula.operators import OPERATORS

Token = str | float
"""An operator's name, an input's name (one lower-case letter), a parameter such as ``"a@0.25"``, or a finite constant.
"""

PARAMETER_LETTERS = "abcd"
"""The letters of trained parameters. Every other lower-case letter is an input."""

DEFAULT_START = 1.0
"""Where a parameter starts that is written without a start value."""

_PARAMETER = re.compile(rf"([{PARAMETER_LETTERS}])(?:@(.+))?")
_LETTERS = ", ".join(PARAMETER_LETTERS)

MAX_SIZE = 512
"""The most tokens that a formula may have; named functions that repeat their argument grow fast when nested."""


def is_input(token: Token) -> bool:
    """Whether ``token`` is the name of an input: one lower-case letter that is none of a parameter."""
    return isinstance(token, str) and len(token) == 1 and "a" <= token <= "z" and token not in PARAMETER_LETTERS


def is_parameter(token: Token) -> bool:
    """Whether ``token`` is a trained parameter, a letter with its start value: ``"a@0.25"``."""
    return isinstance(token, str) and "@" in token


def letter_of(token: str) -> str:
    """The name of an input or of a parameter, as which it is called: ``"a"`` of ``"a@0.25"``."""
    return token.partition("@")[0]


def start_of(token: str) -> float:
    """The start value of a parameter: 0.25 of ``"a@0.25"``."""
    return float(token.partition("@")[2])


def parameter_token(letter: str, start: float = DEFAULT_START) -> str:
    """The token of a parameter: ``"a@0.25"``.

    Raises:
        FormulaError: If the letter is not one of a parameter, or the start value is not finite.
    """
    if letter not in PARAMETER_LETTERS or len(letter) != 1:
        raise FormulaError(f"{letter!r} is not the letter of a parameter; expected one of {_LETTERS}")
    if not math.isfinite(start):
        raise FormulaError(f"the start value {start!r} of the parameter {letter} is not finite")
    # + 0.0 turns -0.0 to 0.0.
    return f"{letter}@{number_text(float(start) + 0.0)}"


def number_text(value: float) -> str:
    """The shortest decimal that reads back as ``value``, without a trailing ``.0``."""
    return repr(value).removesuffix(".0")


@lru_cache(maxsize=1024)
def plain_token(token: str) -> str:
    """A token as it is spelled in formulas: ``"a@0.25"`` for ``"a@.250"``, and ``"a@1"`` for ``"a"``.

    Raises:
        FormulaError: If it is a parameter whose start value is not a finite number.
    """
    if not (match := _PARAMETER.fullmatch(token)):
        return token
    letter, start = match.groups()
    try:
        return parameter_token(letter, DEFAULT_START if start is None else float(start))
    except ValueError:
        raise FormulaError(f"the start value of the parameter {token!r} is not a number") from None


def inputs_of(tokens: Iterable[Token]) -> tuple[str, ...]:
    """The names of the inputs among ``tokens``, ``x`` first and then by the alphabet."""
    return tuple(sorted({str(t) for t in tokens if is_input(t)}, key=lambda name: (name != "x", name)))


def parameters_of(tokens: Iterable[Token]) -> Mapping[str, float]:
    """The parameters among ``tokens``: letter and start value, by the alphabet.

    Raises:
        FormulaError: If a letter has two start values.
    """
    found: dict[str, float] = {}
    # Not by is_parameter: formulas are made by the million.
    for token in [token for token in tokens if isinstance(token, str) and "@" in token]:
        letter, start = letter_of(token), start_of(token)
        if found.setdefault(letter, start) != start:
            one, other = number_text(found[letter]), number_text(start)
            raise FormulaError(
                f"the parameter {letter} has two start values, {one} and {other}; a letter has one start value, "
                f"{number_text(DEFAULT_START)} where none is written: take another letter for the other"
            )
    return MappingProxyType(dict(sorted(found.items())))


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
    if is_input(token) or _PARAMETER.fullmatch(token):
        return 0
    raise FormulaError(
        f"unknown token {token!r}; expected an operator, an input (one lower-case letter), a parameter such as a@0.25, "
        "or a number" + nearest(token, OPERATORS)
    )


def depth_of(tokens: Sequence[Token]) -> int:
    """Number of tokens on the longest way from the first of a prefix sequence to a leaf."""
    stack: list[int] = []
    for token in reversed(tokens):
        operands = [stack.pop() for _ in range(arity(token))]
        stack.append(1 + max(operands, default=0))
    return stack[0]
