import numpy as np
import pytest
from hypothesis import given, settings
from strategies import FIXED, formulas

from rlsearch import Formula
from rlsearch.rewards.screening import screening_grid, why_unfit
from rlsearch.rewards.settings import ScreeningSettings

DEFAULT = ScreeningSettings()


def why(text, **values):
    return why_unfit(Formula.parse(text), ScreeningSettings(**values))


@pytest.mark.parametrize(
    "text",
    ["relu(x)", "gelu(x)", "silu(x)", "mish(x)", "tanh(x)", "x", "-x", "x*x", "gelusine(x)", "0.001*x", "abs(x)"],
)
def test_fit(text):
    assert why(text) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # 3 x^2 = 3 * 64 at the ends of the grid.
        ("x**3", "slope 192 on [-8, 8], above 20"),
        # Steps of 16 / 256 = 1/16, and a grid point at 0. 1/x^2 is 256 at the points beside it; at 0 the guard makes
        # the value 1e6 and the slope 0.
        ("1 / x", "slope 256 on [-8, 8], above 20"),
        # 21 cos(0).
        ("21 * sin(x)", "slope 21 on [-8, 8], above 20"),
        # exp(8) = 2981, and float32 ends at exp(88.7).
        ("exp(exp(x))", "not finite on [-8, 8]"),
        # 8^64 = 2^192 = 6e57, and float32 ends at 3.4e38.
        ("square(square(square(square(square(square(x))))))", "not finite on [-8, 8]"),
        ("x - x", "constant on [-8, 8]"),
        ("0 * x + 3", "constant on [-8, 8]"),
        ("0.00001 * x", "constant on [-8, 8]"),  # spreads by 1.6e-4, less than 1e-3
        ("max(x, 9)", "constant on [-8, 8]"),
        ("min(exp(exp(x)), 1) * 0 + 1", "constant on [-8, 8]"),
    ],
)
def test_unfit(text, reason):
    assert why(text) == reason


def test_a_slope_that_is_not_finite():
    # exp(exp(x)) passes 1e38 beyond x = 4.48; min cuts the value off at 1, and 0 * inf is the slope there.
    assert why("min(exp(exp(x)), x)") == "slope not finite on [-8, 8]"


def test_the_grid_reaches_as_far_as_is_said():
    assert why("x**3", reach=2.0) == ""  # 3 * 4 = 12
    assert why("x**3", reach=3.0) == "slope 27 on [-3, 3], above 20"
    assert why("exp(exp(x))", reach=1.0) == "slope 41.2 on [-1, 1], above 20"  # e^e * e = 15.154 * 2.718
    assert why("max(x, 9)", reach=10.0) == ""


def test_limits_are_inclusive():
    assert why("20 * sin(x)") == ""
    assert why("x**3", max_slope=192) == ""
    assert why("0.0625 * x", min_spread=1.0) == "constant on [-8, 8]"  # spreads by exactly 1
    assert why("0.0626 * x", min_spread=1.0) == ""


def test_more_points_see_more():
    # Three points: -8, 0, 8. sin(pi x) * 8 / pi is 0 at all of them, to rounding.
    assert why("sin(3.141592653589793 * x)", points=3) == "constant on [-8, 8]"
    assert why("sin(3.141592653589793 * x)") == ""


def test_values_are_float32s():
    assert why("exp(11 * x)", max_slope=1e300, reach=8.5) == "not finite on [-8.5, 8.5]"  # e^93.5 is 4e40
    assert why("exp(11 * x)", max_slope=1e300, reach=7.5) == ""  # e^82.5 is 7e35


@pytest.mark.parametrize("name", ["swiglu", "geglu", "reglu", "bilinear", "glu", "gtu", "drelu", "swiglu_clamped"])
def test_published_gated_units_are_fit(name):
    assert why(f"{name}(x, g)") == ""


def test_formulas_of_two_inputs_are_screened_in_the_square():
    assert why("x - g") == ""
    assert why("x * g**2", max_slope=65) != ""  # by g: 2 * x * g; by x: g^2, at most 64
    assert why("x * g**2", max_slope=128) == ""
    assert why("exp(x * g)").startswith("slope ")
    assert why("max(x + g, 17)") == "constant on [-8, 8]"
    assert why("sin(g)") == "a function of g and not of x"
    assert why("sin(x)", gated_only=True) == "a function of x alone"
    assert why("x * g", gated_only=True) == ""


@pytest.mark.parametrize("points", [3, 4, 33, 100, 257, 1000])
def test_the_points_of_two_inputs_fill_the_square(points):
    line, second = grid = screening_grid(ScreeningSettings(points=points), 2)
    assert grid.dtype == np.float32
    assert np.array_equal(line, np.linspace(-8, 8, points, dtype=np.float32))
    assert np.array_equal(np.sort(second), line)
    if points % 2:
        assert np.allclose(grid[:, ::-1], -grid, atol=1e-6)  # as many points on each side of 0, which is one of them
    # No two are nearer than three fifths of the step of a square mesh of as many points.
    distances = np.hypot(*(row[:, None] - row for row in grid)) + np.diag(np.full(points, np.inf))
    assert distances.min() > 3 / 5 * 16 / np.sqrt(points)


@settings(FIXED, max_examples=200)
@given(formulas())
def test_always_an_answer_in_words_and_the_same_again(formula):
    reason = why_unfit(formula, DEFAULT)
    assert why_unfit(formula, DEFAULT) == reason
    assert reason == "" or reason.startswith(("not finite on", "constant on", "slope "))
