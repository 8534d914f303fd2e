"""Formulas that people type where functions of certain inputs are expected."""

from collections.abc import Sequence

from rlsearch.errors import FormulaError
from rlsearch.formula.formula import Formula

OF_X = ("x",)
GATED = ("x", "g")
"""The inputs of an activation, and those of a gated one."""


def typed_formula(text: str, inputs: Sequence[str] = OF_X) -> Formula:
    """Reads a formula of some of ``inputs``.

    A single letter is always an input to the language: ``e`` too, which people take for Euler's number.

    Raises:
        FormulaError: If the text is no formula, or has another input.
    """
    formula = Formula.parse(text)
    others = [name for name in formula.inputs if name not in inputs]
    if others:
        hint = "; e is an input here: write exp(1) for the number" if "e" in others else ""
        expected = " and ".join(inputs)
        raise FormulaError(
            f"{text.strip()!r} is a function of {', '.join(formula.inputs)}; expected one of {expected}{hint}"
        )
    return formula
