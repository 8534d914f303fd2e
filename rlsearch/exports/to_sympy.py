"""A formula as a sympy expression, in a file that imports nothing but sympy.

The guards near singular points are written out, so the expression means the same as the formula. It is of real
numbers, which do not overflow: a formula that overflows to infinity has a finite value there.
"""

import math
from collections.abc import Callable
from typing import Any

from rlsearch.exports.definitions import definitions
from rlsearch.exports.provenance import Exported
from rlsearch.formula.backends import UNARY, Backend, SourceText, make_backend, without_parentheses
from rlsearch.formula.program import run
from rlsearch.formula.source import Statements

_TEMPLATE = '''"""The activation function {formula}.

Written by rlsearch. Standalone: needs only sympy. {guards}
"""

import sympy

{symbols}
{body}
'''


class _Text(SourceText):
    """Source in which what is not finite is sympy's."""

    @staticmethod
    def constant(a: float) -> str:
        if math.isnan(a):
            return "sympy.nan"
        if math.isinf(a):
            return "sympy.oo" if a > 0 else "(-sympy.oo)"
        # Whole numbers are exact, and sympy simplifies them.
        return repr(int(a)) if float(a).is_integer() and abs(a) < 2**53 else repr(a)


def write(exported: Exported, class_name: str) -> str:
    """Writes the file; there is no class in it. Parameters are symbols."""
    formula, statements = exported.formula, Statements()
    inputs = [_Text(name) for name in formula.arguments]
    result = run(formula.program, _backend(statements.named), inputs, statements.named)
    guarded = ", ".join(definitions(formula))
    return exported.as_comment("# ") + _TEMPLATE.format(
        formula=formula,
        guards=f"Written out by cases: {guarded}." if guarded else "Nothing is guarded.",
        symbols="\n".join(f'{name} = sympy.Symbol("{name}", real=True)' for name in formula.arguments),
        body="\n".join((*statements.lines, f"expression = {result.text}")),
    )


def _call(function: str) -> Callable[..., _Text]:
    def call(*arguments: Any) -> _Text:
        return _Text(f"sympy.{function}({', '.join(without_parentheses(_Text.of(a)) for a in arguments)})")

    return call


def _backend(named: Callable[[_Text], _Text]) -> Backend:
    """The backend that writes sympy code.

    Args:
        named: Gives a name to a piece of source, which is used more than once.
    """
    exp, largest, smallest = _call("exp"), _call("Max"), _call("Min")

    def where(condition: _Text, a: Any, b: Any) -> _Text:
        yes, no = (without_parentheses(_Text.of(value)) for value in (a, b))
        return _Text(f"sympy.Piecewise(({yes}, {without_parentheses(condition.text)}), ({no}, True))")

    def clamp(a: Any, low: float | None, high: float | None) -> Any:
        a = a if low is None else largest(a, low)
        return a if high is None else smallest(a, high)

    def elu(a: _Text) -> _Text:
        a = named(a)
        return where(a > 0.0, a, exp(a) - 1.0)

    unary: dict[str, Callable[[Any], Any]] = {name: _call(name) for name in UNARY if name != "positive"}
    unary |= {
        "abs": _call("Abs"),
        "sinc": lambda a: _call("sinc")(_Text("sympy.pi") * a),  # sympy's is sin(a) / a
        "sigmoid": lambda a: 1.0 / (1.0 + exp(-a)),
        "softplus": lambda a: _call("log")(1.0 + exp(a)),
        "relu": lambda a: largest(a, 0.0),
        "elu": elu,
        "hard_sigmoid": lambda a: clamp(a + 3.0, 0.0, 6.0) / 6.0,
    }
    return make_backend(unary, largest, smallest, clamp, where)
