"""Constants made into trained parameters, and what these have learned into constants again."""

from collections.abc import Mapping

from rlsearch.formula.formula import Formula
from rlsearch.formula.tokens import PARAMETER_LETTERS, Token, letter_of, parameter_token

DIGITS = 2
"""Of a constant that was learned: what seeds and layers agree on is hardly more."""


def with_parameters(formula: Formula) -> Formula | None:
    """The formula with a parameter in the place of each constant, which starts at it.

    There are as many letters as :data:`~rlsearch.formula.tokens.PARAMETER_LETTERS`; further constants stay. Exponents
    are operators, and stay too.

    Returns:
        The formula, or None where there is nothing to make of it: it has no constant, or parameters already.

    Example:
        >>> str(with_parameters(Formula.parse("x + 0.1 * sin(2 * x)")))
        'x + a@0.1 * sin(b@2 * x)'
    """
    if formula.parameters:
        return None
    letters = iter(PARAMETER_LETTERS)
    tokens: list[Token] = []
    for token in formula.tokens:
        letter = None if isinstance(token, str) else next(letters, None)
        tokens.append(token if isinstance(token, str) or letter is None else parameter_token(letter, token))
    made = Formula(tuple(tokens))
    return made if made.parameters else None


def with_learned(formula: Formula, learned: Mapping[str, float]) -> Formula:
    """The formula with what its parameters have learned as constants, rounded to two digits.

    Raises:
        FormulaError: If a value is not finite.

    Example:
        >>> str(with_learned(Formula.parse("x + a@0.1 * sin(b@2 * x)"), {"a": 0.1449, "b": 1.962}))
        'x + 0.14 * sin(2 * x)'
    """
    return formula.with_values(**{letter: float(f"{value:.{DIGITS}g}") for letter, value in learned.items()})


def family(formula: Formula) -> tuple[Token, ...]:
    """What formulas that differ in start values alone have in common."""
    return tuple(letter_of(token) if isinstance(token, str) else token for token in formula.tokens)
