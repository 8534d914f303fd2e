import pytest

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.formula.typed import GATED, typed_formula


@pytest.mark.parametrize("text", ["x", " -x*tanh(x)", "gelu(x)"])
def test_formulas_of_x(text):
    assert typed_formula(text) == typed_formula(text, GATED) == Formula.parse(text)


@pytest.mark.parametrize("text", ["x * g", "swiglu(x, g)", "sigmoid(g)"])
def test_gated_formulas_where_they_are_expected(text):
    assert typed_formula(text, GATED) == Formula.parse(text)
    with pytest.raises(FormulaError, match=r"; expected one of x$"):
        typed_formula(text)


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("y * tanh(y)", ("x",), "'y * tanh(y)' is a function of y; expected one of x"),
        ("x*y*g", GATED, "'x*y*g' is a function of x, g, y; expected one of x and g"),
        (
            "x*e", GATED,
            "'x*e' is a function of x, e; expected one of x and g; e is an input here: write exp(1) for the number",
        ),
    ],
)  # fmt: skip
def test_other_inputs_are_named(text, inputs, message):
    with pytest.raises(FormulaError) as info:
        typed_formula(text, inputs)
    assert str(info.value) == message


def test_a_language_may_have_e_as_an_input():
    assert typed_formula("x * e", ("x", "e")).inputs == ("x", "e")
    assert Formula.parse("x * e").inputs == ("x", "e")
