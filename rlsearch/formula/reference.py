"""The reference of the formula language: every operator and every named function, as a page of Markdown."""

from collections.abc import Sequence

from rlsearch.common.markdown import table_lines
from rlsearch.formula.named import NAMED, source_of
from rlsearch.formula.operators import OPERATORS, Operator


def operator_lines(operator: Operator) -> list[str]:
    """What is said of an operator: its value, its slopes, its guard and its source, one line each."""
    meaning = operator.meaning
    lines = [meaning.value, f"slope: {slopes(operator)}"]
    if meaning.guard:
        lines.append(f"guard: {meaning.guard}")
    if (source := source_of(operator.name)) is not None:
        lines.append(f"source: {source}")
    return lines


def slopes(operator: Operator) -> str:
    """The derivative by the operand, or by each of two."""
    found = operator.meaning.slopes
    return found[0] if len(found) == 1 else f"{found[0]} by a; {found[1]} by b"


def call(name: str, parameters: Sequence[str]) -> str:
    """How a function is written: ``swiglu(x, g)``."""
    return f"{name}({', '.join(parameters)})"


def as_markdown() -> str:
    """Both tables as a page."""
    operators = [
        (
            _code(call(name, "ab"[: operator.arity])),
            _code(operator.meaning.value),
            "; ".join(_code(slope) for slope in operator.meaning.slopes),
            operator.meaning.guard,
            source_of(name) or "",
        )
        for name, operator in OPERATORS.items()
    ]
    named = [(_code(call(name, f.parameters)), _code(f.body), f.source) for name, f in NAMED.items()]
    return "\n".join(
        [
            "# Operators and named functions",
            "",
            "Made by `rlsearch operators --markdown`. `a` and `b` are operands. A guard acts near a singular point;",
            "every other value is exact. Sums, products and powers are written `a + b`, `a * b`, `a**2`.",
            "",
            *table_lines(("operator", "value", "slope", "guard", "source"), operators),
            "",
            "A named function stands for its body.",
            "",
            *table_lines(("function", "body", "source"), named),
            "",
        ]
    )


def _code(text: str) -> str:
    return f"`{text}`"
