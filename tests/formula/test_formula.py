import copy
import dataclasses
import itertools
import math
import os
import pickle
import string
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import ANY_CONSTANTS, FIXED, formulas

from rlsearch import Formula, RlsearchError
from rlsearch.errors import FormulaError, InputError
from rlsearch.formula.formula import GRID_POINTS, GRID_REACH, fingerprint_grid
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.tokens import MAX_SIZE

parse = Formula.parse


def fingerprint(text):
    return parse(text).fingerprint


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((), "incomplete: 1 more"),
        ("x*tanh(x)", r"expected tokens, got the text 'x\*tanh\(x\)'; write Formula.parse\('x\*tanh\(x\)'\)"),
        (("add", "x"), "incomplete: 1 more"),
        (("add", "add"), "incomplete: 3 more"),
        (("x", "x"), r"complete before token 2 \('x'\)"),
        (("sin", "x", 1.0), r"complete before token 3 \(1.0\)"),
        (("sigmoidd", "x"), "unknown token 'sigmoidd'.*did you mean 'sigmoid'"),
        (("X",), "unknown token 'X'"),
        (("add", "xy", "x"), "unknown token 'xy'"),
        (("add", "", "x"), "unknown token ''"),
        (("sin", 2.0), r"'sin\(2\)' contains no input"),
        ((1.0,), "'1' contains no input"),
        (("add", "x", math.nan), "constant nan is not finite"),
        (("add", "x", -math.inf), "constant -inf is not finite"),
        (("neg",) * MAX_SIZE + ("x",), "formula of 513 tokens; at most 512"),
    ],
)
def test_what_is_not_a_formula(tokens, message):
    with pytest.raises(FormulaError, match=message) as info:
        Formula(tokens)
    assert isinstance(info.value, InputError)
    assert isinstance(info.value, RlsearchError)


def test_the_largest_formula():
    formula = Formula(("neg",) * (MAX_SIZE - 1) + ("x",))  # an odd number of signs
    assert formula.size == formula.depth == MAX_SIZE
    assert formula(3.0) == -3.0


def test_frozen_and_hashable():
    formula = Formula(("mul", "x", 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        formula.tokens = ("x",)
    assert not hasattr(formula, "__dict__")
    assert formula == Formula(["mul", "x", np.float64(2.0)])
    assert len({formula, Formula(("mul", "x", 2.0)), Formula(("mul", 2.0, "x"))}) == 2
    assert [type(t) for t in Formula(("mul", "x", np.int64(2))).tokens] == [str, str, float]


def test_negative_zero_is_zero():
    formula = Formula(("add", "x", -0.0))
    assert math.copysign(1, formula.tokens[2]) == 1
    assert str(formula) == "x + 0"


def test_pickle_and_copy():
    formula = parse("gelusine(x) + 0.1")
    assert pickle.loads(pickle.dumps(formula)) == formula
    assert copy.deepcopy(formula) == formula


@pytest.mark.parametrize(
    ("text", "size", "depth"),
    [
        ("x", 1, 1),
        ("-x", 2, 2),
        ("x + x", 3, 2),
        ("x * sigmoid(x)", 4, 3),
        ("sin(x) + exp(cos(x)) * 2", 8, 5),  # the longest way is add, mul, exp, cos, x
        ("max(x, 1) * min(x, 1)", 7, 3),
    ],
)
def test_size_and_depth(text, size, depth):
    assert (parse(text).size, parse(text).depth) == (size, depth)


def test_inputs_come_x_first():
    assert parse("h + x + g * z - h").inputs == ("x", "g", "h", "z")
    assert parse("g + 1").inputs == ("g",)


def test_two_inputs_are_taken_in_that_order_or_by_name():
    formula = parse("g - 2 * x")
    assert formula(3.0, 10.0) == 4.0
    assert formula(g=10.0, x=3.0, unused=1.0) == 4.0
    np.testing.assert_array_equal(formula(np.array([[1.0], [2.0]]), np.array([0.0, 5.0])), [[-2, 3], [-4, 1]])


@pytest.mark.parametrize(
    ("text", "values", "named", "message"),
    [
        ("x * g", (1.0,), {}, r"takes \(x, g\), got 1 value"),
        ("x * g", (1.0, 2.0, 3.0), {}, r"takes \(x, g\), got 3 value"),
        ("x * g", (1.0,), {"g": 2.0}, r"takes \(x, g\), got 2 value"),
        ("x * g", (), {"x": 1.0}, r"takes \(x, g\); g is missing"),
        ("x * g", (), {}, r"x, g is missing"),
        ("sin(x)", (1.0, 2.0), {}, r"'sin\(x\)' takes \(x\), got 2"),
    ],
)
def test_wrong_calls(text, values, named, message):
    with pytest.raises(FormulaError, match=message):
        parse(text)(*values, **named)


def test_numpy_in_numpy_out():
    formula = parse("max(x * sigmoid(x), -0.1)")
    for dtype in (np.float32, np.float64):
        x = np.linspace(-3, 3, 7, dtype=dtype)
        y = formula(x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, np.maximum(x / (1 + np.exp(-x)), -0.1), rtol=1e-6)
    assert formula(np.arange(3)).dtype == np.float64
    assert formula(2) == pytest.approx(2 / (1 + math.exp(-2)), rel=1e-15)
    assert parse("exp(x)")(np.array([1e3, -1e3])).tolist() == [np.inf, 0.0]  # and no warning


def test_torch_in_torch_out():
    formula = parse("max(x * sigmoid(x), -0.1)")
    x = torch.linspace(-3, 3, 7, requires_grad=True)
    y = formula(x)
    assert y.dtype == torch.float32
    assert y.requires_grad
    torch.testing.assert_close(y, torch.clamp(torch.nn.functional.silu(x), min=-0.1))
    assert isinstance(formula(torch.nn.Parameter(torch.ones(2))), torch.Tensor)
    assert isinstance(formula(np.ones(2)), np.ndarray)


def test_numbers_beside_a_tensor():
    for number in (2, 2.0, True):
        expected = torch.sigmoid(torch.tensor(float(number))) * torch.ones(3)
        torch.testing.assert_close(parse("gate(g, x)")(torch.ones(3), number), expected)


# --- fingerprint ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x * sigmoid(x)", "x / (1 + exp(-x))"),
        ("x * sigmoid(x)", "gate(x, x)"),
        ("relu(x)", "max(x, 0)"),
        ("relu(x)", "(x + abs(x)) / 2"),
        ("min0(x)", "-relu(-x)"),
        ("tanh(x)", "2 * sigmoid(2 * x) - 1"),
        ("softplus(x)", "log(1 + exp(x))"),
        ("x - g", "-(g - x)"),
        ("x - x", "0 * x"),
        ("x**2 * x", "x**3"),
        ("gauss(x)", "exp(-x**2)"),
    ],
)
def test_one_function_in_two_spellings_shares_its_fingerprint(one, other):
    assert parse(one) != parse(other)
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("min(x, 10)", "x"),
        ("min(x, 50)", "x"),
        ("max(x, -50)", "x"),
        ("x - g", "g - x"),
        ("x", "g"),
        ("x", "1.0001 * x"),
        ("relu(x)", "leaky_relu(x)"),
        ("gelu(x)", "gelu_tanh(x)"),
        ("sin(x)", "sin(x + 0.001)"),
        ("glu(x, g)", "glu(g, x)"),
        ("exp(exp(x))", "min(exp(exp(x)), 1e300)"),
    ],
)
def test_different_functions_differ(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_every_named_function_and_operator_has_a_fingerprint_of_its_own():
    texts = [f"{name}(x)" for name, o in OPERATORS.items() if o.arity == 1]
    texts += [f"{name}(x, g)" for name, o in OPERATORS.items() if o.arity == 2]
    texts += [f"{name}({', '.join(function.parameters)})" for name, function in NAMED.items()]
    groups = defaultdict(set)
    for text in texts:
        groups[fingerprint(text)].add(text.partition("(")[0])
    assert {frozenset(g) for g in groups.values() if len(g) > 1} == {
        frozenset({"silu", "swish"}),
        frozenset({"elu", "celu"}),
        frozenset({"mul", "bilinear"}),
    }


def test_nan_and_the_infinities_have_codes():
    infinity = "exp(exp(relu(x) + 10))"  # exp(exp(10)) = exp(22026) overflows everywhere
    texts = [infinity, f"-{infinity}", f"{infinity} - {infinity}", "x - x"]
    with np.errstate(all="ignore"):
        assert np.isposinf(parse(texts[0])(fingerprint_grid("x"))).all()
        assert np.isnan(parse(texts[2])(fingerprint_grid("x"))).all()
    assert len({fingerprint(t) for t in texts}) == 4
    assert fingerprint(texts[2]) == fingerprint(f"0 * {infinity}")  # NaN everywhere too


@pytest.mark.parametrize("name", string.ascii_lowercase)
def test_the_grid(name):
    grid = fingerprint_grid(name)
    assert grid.shape == (GRID_POINTS,) == (128,)
    assert grid.dtype == np.float64
    reach = 50 if name in "xg" else 42  # of the other letters two fall a little short on one side
    assert -60 < grid.min() < -reach
    assert reach < grid.max() < 60
    assert np.unique(grid).size == GRID_POINTS
    # No point at a kink or within a guard of the published functions and the usual constants.
    kinks = np.array([0, 0.5, 1, 2, 3, 6, 10, 20])
    assert np.abs(np.abs(grid)[:, None] - kinks).min() > 1e-5
    assert (np.abs(grid) < 3).sum() > GRID_POINTS / 4  # dense where activations live


def test_the_grid_by_hand():
    # Second point of x: frac(1/2 + 2 (sqrt 5 - 1)/2) = frac(1.736068) = 0.736068, spread by sinh.
    expected = math.sinh(math.asinh(60.0) * (2 * (math.sqrt(5) - 1.5) - 1))
    assert fingerprint_grid("x")[1] == pytest.approx(expected, rel=1e-12)
    assert GRID_REACH == 60.0
    names = string.ascii_lowercase
    assert len({fingerprint_grid(n).tobytes() for n in names}) == 26


def test_the_grids_of_two_inputs_are_independent():
    """No small whole-number relation ties two letters: then one would be a function of the other on the grid."""
    uniform = {n: (np.arcsinh(fingerprint_grid(n)) / math.asinh(60.0) + 1) / 2 for n in string.ascii_lowercase}
    for a, b in itertools.combinations(uniform, 2):
        for m, n in itertools.product(range(1, 4), range(-3, 4)):
            phase = 2 * np.pi * (m * uniform[a] + n * uniform[b])
            assert abs(np.exp(1j * phase).mean()) < 0.999, (a, b, m, n)  # 1 where tied
    # Points of (x, g) fall into every one of 16 equal cells.
    cells = np.histogram2d(uniform["x"], uniform["g"], bins=4, range=[[0, 1], [0, 1]])[0]
    assert cells.min() >= 4


def test_stable_across_processes():
    texts = ["silu(x)", "x - g", "sin(exp(x))", "exp(exp(x)) - exp(exp(x))"]
    code = f"from rlsearch import Formula\nfor t in {texts!r}: print(Formula.parse(t).fingerprint)"
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout.split() == [fingerprint(t) for t in texts]


@settings(FIXED, max_examples=200)
@given(formulas(inputs=("x", "g"), constants=ANY_CONSTANTS))
def test_every_formula_has_a_fingerprint(formula):
    assert len(bytes.fromhex(formula.fingerprint)) == 16
    assert Formula(formula.tokens).fingerprint == formula.fingerprint
    double_negation = Formula(("neg", "neg", *formula.tokens))
    assert double_negation.fingerprint == formula.fingerprint


@pytest.mark.parametrize("given", [None, 3, b"x", ["x"]])
def test_what_is_no_text_is_no_formula(given):
    with pytest.raises(FormulaError, match=r"^expected a formula as text, such as 'x \* sigmoid\(x\)', got "):
        Formula.parse(given)


@pytest.mark.parametrize("given", ["a", "1.5", None, ["a"], {}], ids=str)
def test_what_is_no_number_has_no_value(given):
    with pytest.raises(FormulaError, match="a formula takes arrays, tensors and numbers, got "):
        Formula.parse("silu(x)")(given)
