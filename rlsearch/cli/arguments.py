"""Arguments of the command line before typer reads them: a formula may begin with a minus."""

from collections.abc import Sequence

from rlsearch.errors import FormulaError

FORMULA_VERBS = ("evaluate", "export", "confirm", "bench")
"""The verbs that take formulas."""

SHORT_OPTIONS = ("-o",)
"""Those of these verbs. Any other letter is an input: ``-x`` is minus x."""


def with_formulas(arguments: Sequence[str]) -> list[str]:
    """The arguments, with a blank before every formula that begins with a minus, which typer takes for an option.

    Reading a formula drops the blank. What stands after ``--`` needs none.

    Args:
        arguments: Those of the command line, beginning with the verb.
    """
    if not arguments or arguments[0] not in FORMULA_VERBS:
        return list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [f" {text}" if _is_formula(text) else text for text in arguments[:end]] + list(arguments[end:])


def _is_formula(text: str) -> bool:
    # Long options are told apart without loading the formula language. A formula like --x needs a -- before it.
    if not text.startswith("-") or text[1:2] in ("", "-") or text in SHORT_OPTIONS:
        return False
    # No short option has these, so a formula with a mistake is told what is wrong with it.
    if "(" in text or "*" in text:
        return True
    from rlsearch.formula import Formula

    try:
        Formula.parse(text)
    except FormulaError:
        return False
    return True
