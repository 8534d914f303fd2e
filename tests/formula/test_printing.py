import re

import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.mathtext import MathTextParser
from strategies import ANY_CONSTANTS, FIXED, formulas

from rlsearch import Formula
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.tokens import number_text

mathtext = MathTextParser("agg")


def assert_is_latex(text):
    """Braces and delimiters are balanced, and matplotlib (which refuses double superscripts) can set it."""
    assert text.count(r"\left") == text.count(r"\right")
    depth = 0
    for character in re.sub(r"\\[{}]", "", text):
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    mathtext.parse(f"${text}$")


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("x", "x"),
        ("mul x sigmoid x", "x * sigmoid(x)"),
        ("add add x g h", "x + g + h"),
        ("add x add g h", "x + (g + h)"),
        ("sub sub x g h", "x - g - h"),
        ("sub x sub g h", "x - (g - h)"),
        ("mul mul x g h", "x * g * h"),
        ("mul x mul g h", "x * (g * h)"),
        ("div x div g h", "x / (g / h)"),
        ("div mul x g h", "x * g / h"),
        ("mul add x g h", "(x + g) * h"),
        ("add mul x g h", "x * g + h"),
        ("neg x", "-x"),
        ("neg neg x", "--x"),
        ("neg add x g", "-(x + g)"),
        ("neg mul x g", "-(x * g)"),
        ("mul neg x g", "-x * g"),
        ("mul x neg g", "x * -g"),
        ("sub x neg g", "x - -g"),
        ("neg square x", "-x**2"),
        ("square neg x", "(-x)**2"),
        ("square square x", "(x**2)**2"),
        ("cube add x 1", "(x + 1)**3"),
        ("square sin x", "sin(x)**2"),
        ("add x -2", "x + -2"),
        ("mul -2 x", "-2 * x"),
        ("sub x neg 2", "x - -(2)"),
        ("sub x neg -2", "x - -(-2)"),
        ("mul x square -2", "x * (-2)**2"),
        ("mul x square 2", "x * 2**2"),
        ("gate x mul g 2", "gate(x, g * 2)"),
        ("max x min g 0", "max(x, min(g, 0))"),
    ],
)
def test_infix(tokens, text):
    formula = Formula(tuple(t if re.match("[a-z]", t) else float(t) for t in tokens.split()))
    assert formula.spelling == text
    assert Formula.parse(text) == formula


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize(
    ("spelling", "text", "value"),
    [
        ("sqrt(x)", "sqrt(abs(x))", lambda x: np.sqrt(np.abs(x))),
        ("x * sqrt(x - 1)", "x * sqrt(abs(x - 1))", lambda x: x * np.sqrt(np.abs(x - 1))),
        ("log(x)", "log(abs(x))", lambda x: np.log(np.abs(x))),
        ("min0(x + 1)", "min(x + 1, 0)", lambda x: np.minimum(x + 1, 0)),
        ("gauss(x)", "exp(-x**2)", lambda x: np.exp(-(x**2))),
        ("gauss(x / 2)", "exp(-(x / 2)**2)", lambda x: np.exp(-((x / 2) ** 2))),
        ("gauss(-x)", "exp(-(-x)**2)", lambda x: np.exp(-(x**2))),
        ("x - gauss(-0.5) * x", "x - exp(-(-0.5)**2) * x", lambda x: x - np.exp(-0.25) * x),
        ("gate(x, x + 2)", "sigmoid(x) * (x + 2)", lambda x: _sigmoid(x) * (x + 2)),
        ("-gate(x, x)", "-(sigmoid(x) * x)", lambda x: -_sigmoid(x) * x),
        ("x - gate(x, 2)", "x - sigmoid(x) * 2", lambda x: x - _sigmoid(x) * 2),
        ("x / gate(x, 2)", "x / (sigmoid(x) * 2)", lambda x: x / (_sigmoid(x) * 2)),
        ("gate(x, x)**2", "(sigmoid(x) * x)**2", lambda x: (_sigmoid(x) * x) ** 2),
        ("gate(gate(x, 2), -x)", "sigmoid(sigmoid(x) * 2) * -x", lambda x: _sigmoid(_sigmoid(x) * 2) * -x),
    ],
)
def test_what_is_printed_is_what_is_computed(spelling, text, value):
    formula = Formula.parse(spelling)
    assert str(formula) == text
    assert formula.spelling == spelling
    x = np.array([-3.0, -0.7, 0.4, 2.0, 9.0])  # away from 0, where guards act
    np.testing.assert_allclose(formula(x), value(x), rtol=1e-13)


def test_numbers_are_the_shortest_that_read_back():
    assert [number_text(v) for v in (2.0, -3.0, 0.1, 1e22, 1e-7, 123456.0)] == [
        "2",
        "-3",
        "0.1",
        "1e+22",
        "1e-07",
        "123456",
    ]


@settings(FIXED, max_examples=500)
@given(formulas(inputs=("x", "g"), constants=ANY_CONSTANTS, max_size=20))
def test_infix_parses_back(formula):
    assert Formula.parse(formula.spelling) == formula


@settings(FIXED, max_examples=500)
@given(formulas(inputs=("x", "g"), constants=ANY_CONSTANTS, max_size=20))
def test_the_text_for_people_parses_back_to_the_same_function(formula):
    assert Formula.parse(str(formula)).fingerprint == formula.fingerprint


@settings(FIXED, max_examples=100)
@given(formulas(operators=("neg", "square", "cube", "add", "sub", "mul", "div"), constants=ANY_CONSTANTS, max_size=40))
def test_infix_of_the_signs_parses_back(formula):
    assert Formula.parse(str(formula)) == Formula.parse(formula.spelling) == formula


@pytest.mark.parametrize("operator", [o for o in OPERATORS.values() if o.arity == 1], ids=lambda o: o.name)
def test_the_deepest_formula_of_a_search_parses_back(operator):
    formula = Formula((*[operator.name] * 63, "x"))
    assert Formula.parse(formula.spelling) == formula
    # Each token brings at most one level of nesting, but for a negated number: -(-2).
    signed = Formula(("max", "x", *[operator.name] * 60, "neg", -2.0))
    assert signed.size == 64
    assert Formula.parse(signed.spelling) == signed


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("x * sigmoid(x)", r"x \cdot \sigma\left(x\right)"),
        ("x / (1 + exp(-x))", r"\frac{x}{1 + e^{-x}}"),
        ("(x / 2)**2", r"\left(\frac{x}{2}\right)^{2}"),
        ("x + square(exp(x))", r"x + \left(e^{x}\right)^{2}"),
        ("log(x)**2", r"\left(\log\left|x\right|\right)^{2}"),
        ("sqrt(x)**2", r"\sqrt{\left|x\right|}^{2}"),
        ("x * 1e-6", r"x \cdot 1 \cdot 10^{-6}"),
        ("x + square(1e-6)", r"x + \left(1 \cdot 10^{-6}\right)^{2}"),
        ("x + square(-2)", r"x + \left(-2\right)^{2}"),
        ("gauss(x + g)", r"e^{-(x + g)^{2}}"),
        ("gate(x, g + 1)", r"\sigma\left(x\right) \cdot \left(g + 1\right)"),
        ("min0(x) - min(x, 2)", r"\min\left(x, 0\right) - \min\left(x, 2\right)"),
        ("hard_sigmoid(x)", r"\operatorname{hard\_sigmoid}\left(x\right)"),
        ("abs(x)**3", r"\left|x\right|^{3}"),
    ],
)
def test_latex(text, latex):
    assert Formula.parse(text).latex() == latex
    assert_is_latex(latex)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_latex_of_every_operator_inside_every_place(operator):
    operands = ("x", "g")[: operator.arity]
    plain = (operator.name, *operands)
    assert_is_latex(Formula(plain).latex())
    for outer in ("neg", "abs", "square", "exp", "gauss", "sin"):
        assert_is_latex(Formula((outer, *plain)).latex())
    for outer in ("sub", "mul", "div", "max", "gate"):
        assert_is_latex(Formula((outer, *plain, 1e-7)).latex())
        assert_is_latex(Formula((outer, -1e30, *plain)).latex())


@pytest.mark.parametrize("name", NAMED)
def test_latex_of_named_functions(name):
    assert_is_latex(Formula.parse(NAMED[name].body).latex())


@settings(FIXED, max_examples=60)
@given(formulas(inputs=("x", "g"), constants=ANY_CONSTANTS))
def test_latex_of_random_formulas(formula):
    assert_is_latex(formula.latex())
