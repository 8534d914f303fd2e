"""What an operator computes where it guards a singular point or chooses, written in the operators of Python.

The text is one more reading of the operator table, so it cannot say anything else than what is computed.
"""

from types import SimpleNamespace
from typing import Any

from rlsearch.formula import Formula
from rlsearch.formula.backends import UNARY, Backend, SourceText, source_call, without_parentheses
from rlsearch.formula.operators import OPERATORS, Operator


def definitions(formula: Formula) -> dict[str, str]:
    """The operators of a formula that guard or choose, such as ``"log(a)": "log(max(abs(a), 1e-06))"``.

    A call of a function that both numpy and torch have is no definition, and is left out.
    """
    found: dict[str, str] = {}
    for token in dict.fromkeys(formula.tokens):
        operator = OPERATORS.get(token) if isinstance(token, str) else None
        if operator is not None and _chooses(operator):
            found[f"{operator.name}({', '.join('ab'[: operator.arity])})"] = _value(operator)
    return found


def _value(operator: Operator, seen: list[str] | None = None) -> str:
    value = operator.value(_backend([] if seen is None else seen), *map(SourceText, "ab"[: operator.arity]))
    return without_parentheses(value.text)


def _chooses(operator: Operator) -> bool:
    seen: list[str] = []
    _value(operator, seen)
    return bool(seen)


def _backend(seen: list[str]) -> Backend:
    """The backend that writes definitions.

    Args:
        seen: Gets the name of every function that chooses.
    """

    def where(condition: SourceText, a: Any, b: Any) -> SourceText:
        seen.append("where")
        yes, no = (without_parentheses(SourceText.of(value)) for value in (a, b))
        return SourceText(f"({yes} if {without_parentheses(condition.text)} else {no})")

    def clamp(a: Any, low: float | None = None, high: float | None = None) -> Any:
        seen.append("clamp")
        a = a if low is None else source_call("max")(a, low)
        return a if high is None else source_call("min")(a, high)

    # There are two functions called sinc.
    unary = {name: source_call("numpy.sinc" if name == "sinc" else name) for name in UNARY}
    return SimpleNamespace(**unary, maximum=source_call("max"), minimum=source_call("min"), clamp=clamp, where=where)
