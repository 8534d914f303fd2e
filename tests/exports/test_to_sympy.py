import numpy as np
import pytest
from helpers_exports import FORMULAS, executed, names_imported

from rlsearch import Formula, export

sympy = pytest.importorskip("sympy")

POINTS = [-7.3, -3.0, -1.0, -0.5, -1e-3, -2e-6, -3e-7, 0.0, 3e-7, 2e-6, 0.25, 1.0, 2.9, 3.0, 6.5]
"""On both sides of the guards at 1e-6."""


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_the_expression_is_the_formula_guards_included(formula):
    defined = executed(formula, "sympy")
    for x, other in zip(POINTS, POINTS[5:] + POINTS[:5], strict=True):
        given = {name: x if name == "x" else other for name in formula.inputs} | formula.parameters
        # Evaluated with 30 digits, of which a sum that cancels leaves enough.
        ours = defined["expression"].subs({defined[name]: sympy.Float(v, 30) for name, v in given.items()}).evalf(30)
        np.testing.assert_allclose(float(ours), formula(**{k: np.float64(v) for k, v in given.items()}), 1e-9, 1e-12)


def test_a_file_says_what_is_guarded():
    source = export("log(x) * x", "sympy")
    assert "Standalone: needs only sympy. Written out by cases: log(a)." in source
    assert "Nothing is guarded." in export("sin(x)", "sympy")
    assert names_imported(source) == {"sympy"}


def test_golden():
    defined = executed(Formula.parse("log(x) + relu(x) / 2 + sinc(x)"), "sympy")
    x = sympy.Symbol("x", real=True)
    expected = (
        sympy.log(sympy.Max(sympy.Abs(x), 1e-6))
        + sympy.Max(x, 0) / 2
        + sympy.sinc(sympy.pi * sympy.Piecewise((1, sympy.Abs(x) > 10**18), (x, True)))
    )
    assert defined["expression"].subs(x, 3).equals(expected.subs(x, 3))
    assert defined["expression"].subs(x, 0).equals(expected.subs(x, 0))
    assert (
        sympy.latex(executed(Formula.parse("x**2 * tanh(x)"), "sympy")["expression"]) == r"x^{2} \tanh{\left(x \right)}"
    )


@pytest.mark.parametrize(
    ("text", "value"), [("x + exp(1000)", np.inf), ("x - exp(1000)", -np.inf), ("max(x, 1e300)", 1e300)]
)
def test_odd_constants(text, value):
    defined = executed(Formula.parse(text), "sympy")
    assert float(defined["expression"].subs(defined["x"], 1)) == value
