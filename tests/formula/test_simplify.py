import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ANY_CONSTANTS, FIXED, formulas

from rlsearch import Formula
from rlsearch.formula import OPERATORS
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.program import run_with_slopes
from rlsearch.formula.simplify import MAX_SIMPLIFIED_SIZE, simplified, titled

parse = Formula.parse


@pytest.mark.parametrize(
    ("text", "shorter"),
    [
        # from leaderboards of runs
        ("2 * x / 1", "2 * x"),
        ("x * 1", "x"),
        ("max(x, x)", "x"),
        ("-(-x / 0.5)", "2 * x"),
        ("erf(x / 1)", "erf(x)"),
        ("abs(0.5 - max(x, x))", "abs(0.5 - x)"),
        ("tanh(max(x, x) - 2 + 2)**2", "tanh(x)**2"),
        ("min(2, abs(x) / 2 / 0.5) - 0.5", "min(2, abs(x)) - 0.5"),
        ("2 * (gate(2, x**2) * 1 / 2) / 1", "gate(2, x**2)"),
        ("(2 + min(relu(tanh(x)), x) - 2)**2", "min(relu(tanh(x)), x)**2"),
        ("-asinh(x * sqrt(x) + -asinh(x))", "-asinh(x * sqrt(x) - asinh(x))"),
        # constants
        ("x * 3 * 2", "6 * x"),
        ("1 - x - 1", "-x"),
        ("x + -2", "x - 2"),
        ("x - -2", "x + 2"),
        ("x - -(-2)", "x - 2"),
        ("x / 0.25", "4 * x"),
        ("tanh(0 * g) + x * g", "x * g"),
        ("x + exp(0)", "x + 1"),
        ("gate(0, x)", "0.5 * x"),
        # signs
        ("-x * -x * x", "x**3"),
        ("-tanh(-x)", "tanh(x)"),
        ("cos(-x)", "cos(x)"),
        ("-relu(-x)", "min0(x)"),
        ("x + tanh(-x)", "x - tanh(x)"),
        ("erf(-x) + 1", "1 - erf(x)"),
        ("x - sin(-x)", "x + sin(x)"),
        ("max(-x, x) * g", "abs(x) * g"),
        ("min(x, -x)", "-abs(x)"),
        ("-abs(gauss(x))", "-gauss(x)"),
        ("relu(sigmoid(x))", "sigmoid(x)"),
        # what people read is written back
        ("sqrt(abs(x))", "sqrt(x)"),
        ("log(abs(-x))", "log(x)"),
        ("exp(-x**2)", "gauss(x)"),
        ("min(x, 0)", "min0(x)"),
        ("sigmoid(x) * g", "gate(x, g)"),
    ],
)
def test_shorter(text, shorter):
    assert simplified(parse(text)).spelling == shorter


@pytest.mark.parametrize(
    "text",
    [
        # guards: 0 / 0 is 0, sqrt(0.0001**2) is not 0.0001, exp(log(x)) is |x| down to 1e-6 alone
        "x / x",
        "sqrt(x)**2",
        "sqrt(x**2)",
        "exp(log(x))",
        "log(exp(x))",
        "x * (1 / x)",
        "1 / -relu(x)",
        "2 / (2 * x)",
        # no number that is longer to write
        "tanh(1) * x",
        "x / 3",
        "x + 0.1 + g",
        # both inputs stay, for the module is called with both
        "x - x + g",
        "0 * x + g",
        # a constant is no formula
        "x - x",
        # exp(exp(60)) - exp(exp(60)) is NaN, not 0
        "x + (exp(exp(x)) - exp(exp(x)))",
        # as it was written
        "x * sigmoid(x)",
        "gelu(x)",
        "mish(x)",
        # gate would compute the sigmoid twice
        "sigmoid(x) * x - tanh(sigmoid(x))",
    ],
)
def test_left_as_it_is(text):
    assert simplified(parse(text)) == parse(text)


def test_a_long_formula_is_left_as_it_is():
    even = "-" * (MAX_SIMPLIFIED_SIZE - 2)
    assert simplified(parse(f"{even}-x")) == parse("-x")
    assert simplified(parse(f"{even}--x")) == parse(f"{even}--x")


def assert_simplified(formula):
    shorter = simplified(formula)
    assert shorter.fingerprint == formula.fingerprint
    assert shorter.inputs == formula.inputs
    assert shorter.size <= formula.size
    assert len(shorter.program.instructions) <= len(formula.program.instructions)
    assert simplified(shorter) == shorter
    return shorter


@settings(FIXED, max_examples=400)
@given(formulas(inputs=("x", "g"), max_size=16))
def test_the_same_function_in_no_more_tokens(formula):
    assert_simplified(formula)


@settings(FIXED, max_examples=150)
@given(formulas(constants=ANY_CONSTANTS, max_size=30))
def test_any_constants(formula):
    assert_simplified(formula)


@settings(FIXED, max_examples=300)
@given(formulas(operators=("neg", "sub", "add", "mul", "div", "max", "abs"), max_size=14))
def test_arithmetic(formula):
    assert_simplified(formula)


@settings(FIXED, max_examples=400)
@given(
    st.one_of(
        formulas(constants=None, max_size=14),
        # Without gate: that of a constant, gate(2, x), is read back as sigmoid(2) * x, which is less to compute.
        formulas(operators=[name for name in OPERATORS if name != "gate"], max_size=14),
    )
)
def test_what_is_shown_reads_back_to_the_same_tokens(formula):
    shown = simplified(formula)
    assert simplified(parse(str(shown))).spelling == shown.spelling


# Within the guards, at their ends, and far out; not at 0, where slopes have kinks.
POINTS = np.array([1e-9, 5e-7, 1e-6, 3e-6, 1e-4, 1e-3, 0.3, 0.7, 1.3, 2.7, 40.0, 300.0])
POINTS = np.concatenate([-POINTS[::-1], POINTS])


@pytest.mark.parametrize(
    "operators",
    [
        "neg sub div", "mul div sqrt", "add gate relu", "neg log max min", "square gauss mul min0", "neg abs exp min",
        "neg add sub atan",
    ],
)  # fmt: skip
def test_every_short_formula_keeps_its_values_and_slopes(operators):
    """All of up to five tokens, near the singular points too, where no fingerprint looks."""
    by_size = {1: [("x",), (0.0,), (1.0,), (-0.5,)]}
    for size in range(2, 6):
        by_size[size] = list(_larger(operators.split(), by_size, size))
    changed = 0
    for tokens in itertools.chain.from_iterable(by_size.values()):
        if "x" not in tokens:
            continue
        formula = Formula(tokens)
        shorter = assert_simplified(formula)
        changed += shorter != formula
        with np.errstate(all="ignore"):
            value, (slope,) = run_with_slopes(formula.program, NUMPY, [POINTS])
            same_value, (same_slope,) = run_with_slopes(shorter.program, NUMPY, [POINTS])
        np.testing.assert_allclose(same_value, value, rtol=1e-9, atol=1e-9, err_msg=f"{formula} is not {shorter}")
        np.testing.assert_allclose(
            same_slope + 0 * POINTS, slope + 0 * POINTS, rtol=1e-7, atol=1e-7, err_msg=f"{formula} is not {shorter}"
        )
    assert changed > 200


def _larger(operators, by_size, size):
    """All formulas and constants of ``size`` tokens, as tokens."""
    for name in operators:
        if OPERATORS[name].arity == 1:
            yield from ((name, *operand) for operand in by_size[size - 1])
            continue
        for first in range(1, size - 1):
            for one, other in itertools.product(by_size[first], by_size[size - 1 - first]):
                yield (name, *one, *other)


def test_a_title_or_the_simplified_spelling():
    assert [titled(Formula.parse(text)) for text in ("gelu(x)", "x * x / 1")] == ["GELU", "x**2"]
