import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import FIXED, SMALL_CONSTANTS, formulas

from rlsearch import Formula, Vocabulary
from rlsearch.errors import ConfigError, FormulaError
from rlsearch.formula import OPERATORS, PAD

GATED = Vocabulary(("mul", "sigmoid", "neg"), ("x", "g"), (0.5, -1.0))
FULL = Vocabulary(tuple(OPERATORS), ("x", "g"), (0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -0.25))


def test_ids_run_from_one_through_operators_inputs_and_constants():
    assert GATED.tokens == ("mul", "sigmoid", "neg", "x", "g", 0.5, -1.0)
    assert len(GATED) == 7
    formula = Formula(("mul", "mul", "sigmoid", "g", "neg", "x", -1.0))
    ids = GATED.encode(formula)
    assert ids.dtype == np.int64
    assert ids.tolist() == [1, 1, 2, 5, 3, 4, 7]
    assert GATED.decode(ids) == formula


def test_arities():
    arities = GATED.arities()
    assert arities.dtype == np.int64
    assert arities.tolist() == [0, 2, 1, 1, 0, 0, 0, 0]  # padding first


def test_names():
    assert PAD == 0
    assert [GATED.name(i) for i in range(8)] == ["pad", "mul", "sigmoid", "neg", "x", "g", "0.5", "-1"]


@settings(FIXED, max_examples=200)
@given(formulas(inputs=("x", "g"), constants=SMALL_CONSTANTS, max_size=20))
def test_round_trip(formula):
    ids = FULL.encode(formula)
    assert ids.shape == (formula.size,)
    assert ids.min() >= 1  # never padding
    assert ids.max() <= len(FULL)
    assert FULL.decode(ids) == formula
    assert FULL.decode([*ids.tolist(), PAD, PAD]) == formula
    assert [FULL.tokens[i - 1] for i in ids] == list(formula.tokens)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "incomplete"),
        ([PAD, PAD], "incomplete"),
        ([1, 4], "incomplete: 1 more"),
        ([4, 4], "complete before token 2"),
        ([8], r"token id .*\b8\b.* is not in 1 to 7"),
        ([2, -1], r"token id .*-1\b.* is not in 1 to 7"),
        ([1, PAD, 4, 4], r"token id .*\b0\b.* is not in 1 to 7"),  # padding inside
        ([3, 6], "no input"),
    ],
)
def test_ids_that_are_no_formula(ids, message):
    with pytest.raises(FormulaError, match=message):
        GATED.decode(ids)


@pytest.mark.parametrize(("text", "token"), [("sin(x)", "'sin'"), ("x * h", "'h'"), ("x * 0.25", "0.25")])
def test_a_formula_with_a_foreign_token(text, token):
    with pytest.raises(FormulaError, match=f"the token {token} of '.*' is not in the vocabulary"):
        GATED.encode(Formula.parse(text))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("sigmoidd",),), "unknown operator 'sigmoidd'; expected one of neg, .*did you mean 'sigmoid'"),
        ((("gelu",),), "unknown operator 'gelu'"),  # a named function is not an operator
        ((("pad",),), "unknown operator 'pad'"),
        ((("x",),), "unknown operator 'x'"),
        ((("neg",), ("X",)), "input 'X' is not a single lower-case letter"),
        ((("neg",), ("xy",)), "input 'xy'"),
        ((("neg",), ()), "needs at least one input"),
        ((("neg",), ("x",), (float("nan"),)), "constant nan is not finite"),
        ((("neg",), ("x",), (float("inf"),)), "constant inf is not finite"),
        ((("neg", "sin", "neg"),), "token 'neg' occurs twice"),
        ((("neg",), ("x", "x")), "token 'x' occurs twice"),
        ((("neg",), ("x",), (1, 2.0, 1.0)), "token 1.0 occurs twice"),
        ((("neg",), ("x",), (0.0, -0.0)), "token 0.0 occurs twice"),
    ],
)
def test_what_is_not_a_vocabulary(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Vocabulary(*arguments)


def test_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GATED.inputs = ("x",)
    same = Vocabulary(["mul", "sigmoid", "neg"], ["x", "g"], [0.5, -1])
    assert same == GATED
    assert hash(same) == hash(GATED)
    assert Vocabulary(("sigmoid", "mul")) != Vocabulary(("mul", "sigmoid"))
    assert Vocabulary(("mul",)).inputs == ("x",)


def test_a_vocabulary_may_have_no_operators():
    assert Vocabulary(()).decode([1]) == Formula(("x",))
