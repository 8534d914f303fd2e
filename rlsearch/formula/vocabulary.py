"""The vocabulary: the ordered tokens of one search and their ids."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError, FormulaError, nearest
from rlsearch.formula.formula import Formula
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.tokens import (
    PARAMETER_LETTERS,
    Token,
    is_input,
    is_parameter,
    number_text,
    parameters_of,
    plain_token,
)

PAD = 0
"""The id of padding, and never of anything else; tokens are numbered from 1."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens that a search may use: operators first, then inputs, constants and parameters, numbered from 1.

    Attributes:
        operators: Names from the operator table.
        inputs: One or more single lower-case letters: ``("x",)`` for an activation, ``("x", "g")`` for a gated one.
        constants: Finite numbers.
        parameters: Numbers that are trained, each a letter with its start value: ``("a@0.25",)``.

    Raises:
        ConfigError: If a token is unknown or occurs twice, there is no input, or a parameter has two start values.

    Example:
        >>> vocabulary = Vocabulary(operators=("mul", "sigmoid"), inputs=("x",))
        >>> vocabulary.encode(Formula.parse("x * sigmoid(x)")).tolist()
        [1, 3, 2, 3]
    """

    operators: tuple[str, ...]
    inputs: tuple[str, ...] = ("x",)
    constants: tuple[float, ...] = ()
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(self.operators))
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "constants", tuple(float(c) + 0.0 for c in self.constants))
        object.__setattr__(self, "parameters", tuple(_parameter(token) for token in self.parameters))
        for name in self.operators:
            if name not in OPERATORS:
                raise ConfigError(
                    f"unknown operator {name!r}; expected one of {', '.join(OPERATORS)}{nearest(name, OPERATORS)}"
                )
        for name in self.inputs:
            if not is_input(name):
                raise ConfigError(
                    f"the input {name!r} is not a single lower-case letter, such as x or g, other than those of "
                    f"parameters, {', '.join(PARAMETER_LETTERS)}"
                )
        for value in self.constants:
            if not math.isfinite(value):
                raise ConfigError(f"the constant {value!r} is not finite")
        if not self.inputs:
            raise ConfigError("a vocabulary needs at least one input, such as x")
        repeated = [t for i, t in enumerate(self.tokens) if t in self.tokens[:i]]
        if repeated:
            raise ConfigError(f"the token {repeated[0]!r} occurs twice in the vocabulary")
        try:
            parameters_of(self.parameters)
        except FormulaError as error:
            raise ConfigError(str(error)) from None

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens in the order of their ids; the id of ``tokens[i]`` is ``i + 1``."""
        return (*self.operators, *self.inputs, *self.constants, *self.parameters)

    def __len__(self) -> int:
        """Number of tokens, padding not counted."""
        return len(self.tokens)

    def name(self, token_id: int) -> str:
        """The text of a token id, for tables and plots; ``"pad"`` for 0."""
        if token_id == PAD:
            return "pad"
        token = self.tokens[token_id - 1]
        return token if isinstance(token, str) else number_text(token)

    def arities(self) -> NDArray[np.int64]:
        """The arity of every id, shape ``[len + 1]``; 0 for padding, inputs, constants and parameters."""
        operands = [OPERATORS[name].arity for name in self.operators]
        return np.array([0, *operands, *[0] * (len(self) - len(operands))], dtype=np.int64)

    def encode(self, formula: Formula) -> NDArray[np.int64]:
        """Looks up the ids of the formula's tokens, shape ``[formula.size]``.

        Raises:
            FormulaError: If the formula has a token that the vocabulary lacks.
        """
        ids = {token: i for i, token in enumerate(self.tokens, start=1)}
        missing = [t for t in formula.tokens if t not in ids]
        if missing:
            raise FormulaError(f"the token {missing[0]!r} of '{formula}' is not in the vocabulary {self.tokens}")
        return np.array([ids[t] for t in formula.tokens], dtype=np.int64)

    def decode(self, ids: Sequence[int] | NDArray[np.int64] | Iterable[int]) -> Formula:
        """Reads a formula from a sequence of ids; trailing padding is dropped.

        Raises:
            FormulaError: If an id is out of range or the sequence is not a formula.
        """
        sequence = [int(i) for i in ids]
        while sequence and sequence[-1] == PAD:
            sequence.pop()
        tokens = self.tokens
        if sequence and not 1 <= min(sequence) <= max(sequence) <= len(tokens):
            raise FormulaError(f"a token id of {sequence} is not in 1 to {len(tokens)}")
        return Formula(tuple(tokens[i - 1] for i in sequence))


def _parameter(token: str) -> str:
    """The parameter as it is spelled in formulas."""
    try:
        plain = plain_token(str(token))
    except FormulaError as error:
        raise ConfigError(str(error)) from None
    if not is_parameter(plain) or plain[0] not in PARAMETER_LETTERS:
        raise ConfigError(f"{token!r} is not a parameter; expected a letter and its start value, such as a@0.25")
    return plain
