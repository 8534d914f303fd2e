import pytest
from hypothesis import given, settings
from strategies import FIXED, formulas

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.formula.tuning import family, with_learned, with_parameters

parse = Formula.parse


@pytest.mark.parametrize(
    ("text", "tuned"),
    [
        ("x + 0.1 * sin(2 * x)", "x + a@0.1 * sin(b@2 * x)"),
        ("0.5 * x + 0.5 * sin(x)", "a@0.5 * x + b@0.5 * sin(x)"),
        ("(x + 1)**3", "(x + a@1)**3"),
        ("x + 1 + 2 + 3 + 4 + 5", "x + a@1 + b@2 + c@3 + d@4 + 5"),
        ("x * g - -2", "x * g - a@-2"),
    ],
)
def test_each_constant_becomes_a_parameter(text, tuned):
    assert with_parameters(parse(text)) == parse(tuned)


@pytest.mark.parametrize("text", ["silu(x)", "x**3", "x + 0.1 * a@2"])
def test_where_there_is_nothing_to_tune(text):
    assert with_parameters(parse(text)) is None


@settings(FIXED, max_examples=100)
@given(formulas(inputs=("x", "g")))
def test_start_values_make_the_formula_again(formula):
    tuned = with_parameters(formula)
    constants = [token for token in formula.tokens if isinstance(token, float)]
    assert (tuned is None) == (not constants)
    if tuned is not None:
        assert list(tuned.parameters.values()) == constants[:4]
        assert tuned.with_values() == formula


def test_what_was_learned_is_rounded_to_two_digits():
    tuned = parse("x + a@0.1 * sin(b@2 * x) + c@-30")
    learned = {"a": 0.09951, "b": 1.984, "c": -123.4}
    assert with_learned(tuned, learned) == parse("x + 0.1 * sin(2 * x) + -120")
    with pytest.raises(FormulaError, match="not finite"):
        with_learned(tuned, {"a": float("nan")})


def test_a_family_differs_in_start_values_alone():
    assert family(parse("x * sigmoid(b@1 * x)")) == family(parse("x * sigmoid(b@2 * x)"))
    assert family(parse("x * sigmoid(b@1 * x)")) != family(parse("x * sigmoid(a@1 * x)"))
    assert family(parse("x * sigmoid(2 * x)")) != family(parse("x * sigmoid(3 * x)"))
