"""What a formula can be exported as, by name."""

from collections.abc import Callable

from rlsearch.errors import InputError, nearest
from rlsearch.formula.formula import Formula


def torch_source(formula: Formula) -> str:
    """A standalone torch module, which imports nothing of this package."""
    return formula.source()


def latex(formula: Formula) -> str:
    """A line of LaTeX."""
    return formula.latex() + "\n"


FORMATS: dict[str, Callable[[Formula], str]] = {"torch": torch_source, "latex": latex}
"""By the name that the command line takes; each makes a whole file."""


def export(formula: Formula, form: str = "torch") -> str:
    """The text of a file with the formula.

    Args:
        formula: What is exported.
        form: A name of ``FORMATS``.

    Raises:
        InputError: If there is no such format.
    """
    if form not in FORMATS:
        expected = f"expected one of {', '.join(FORMATS)}{nearest(form, FORMATS)}"
        raise InputError(f"unknown export format {form!r}; {expected}")
    return FORMATS[form](formula)
