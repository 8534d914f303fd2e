from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from helpers_gated import gated_config

from rlsearch import Formula
from rlsearch.errors import FormulaError, InputError
from rlsearch.formula.named import BASELINES, CONFIRMED_AGAINST, GATED_SHOWN
from rlsearch.judging.history import History, Judged
from rlsearch.rewards.base import RewardResult
from rlsearch.runs.config import Config
from rlsearch.studies import functions
from rlsearch.studies.functions import baselines_of, beside_baselines, functions_of, usual_baselines

parse = Formula.parse


def test_baselines_are_names_or_formulas():
    found = baselines_of(["gelu", "relu_squared", "min_sin", "max(x,x/10)"])
    assert [f.name for f in found] == ["gelu", "relu_squared", "min_sin", "max(x, x / 10)"]
    assert [f.title for f in found] == ["GELU", "ReLU squared", "min_sin", "max(x, x / 10)"]
    assert [f.formula for f in found][1:] == [parse("relu(x)**2"), parse("min(x, sin(x))"), parse("max(x, x / 10)")]
    assert [f.name for f in baselines_of(CONFIRMED_AGAINST)] == list(CONFIRMED_AGAINST)


def test_a_function_that_is_asked_for_twice_is_one_baseline():
    assert [f.name for f in baselines_of(["silu", "swish", "x * sigmoid(x)", "relu"])] == ["silu", "relu"]


def test_gated_units_are_baselines_by_their_names():
    assert [f.title for f in baselines_of(["swiglu", "x * relu(g)", "bilinear"])] == [
        "SwiGLU",
        "x * relu(g)",
        "bilinear",
    ]


def test_a_gated_language_has_baselines_of_its_own():
    assert usual_baselines(Config(), BASELINES) == BASELINES
    assert usual_baselines(gated_config(), BASELINES) == GATED_SHOWN


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([], InputError, "expected at least one baseline, such as gelu"),
        (["gelu", "rleu"], FormulaError, "did you mean 'relu'"),
        (["swiglu(x)"], FormulaError, "swiglu takes 2 argument"),
        (["x * h"], FormulaError, "'x \\* h' is a function of x, h; expected one of x and g"),
    ],
)
def test_what_is_no_baseline_is_refused(texts, error, message):
    with pytest.raises(error, match=message):
        baselines_of(texts)


def test_a_formula_that_is_a_baseline_is_that_baseline():
    formulas = {f.fingerprint: f for f in (parse("x * x"), parse("x / (1 + exp(-x))"))}
    searched = {parse("x * x").fingerprint: 0.5, parse("silu(x)").fingerprint: 0.25}
    found = beside_baselines(formulas, searched, baselines_of(BASELINES))
    assert [(f.name, f.searched) for f in found] == [
        ("", 0.5), ("relu", None), ("gelu", None), ("silu", 0.25), ("mish", None), ("tanh", None)
    ]  # fmt: skip
    assert found[0].title == "x * x"


def test_a_runs_best_ideas_are_taken_and_simplified(monkeypatch):
    """Two sines that are mirror images, beside a function that could be shorter; ReLU is a baseline."""
    texts = ["relu(x)", "x + sin(x)", "-x - sin(x)", "max(x, x) * tanh(x)", "erf(x)"]
    board = [Judged(parse(text), RewardResult(1.0 - i), seeds=1) for i, text in enumerate(texts)]
    history = History((judged.formula.fingerprint, judged) for judged in board)
    monkeypatch.setattr(functions, "read_history", lambda run: history)
    run = SimpleNamespace(lock=nullcontext, config=SimpleNamespace(proxy_reward=None), folder="run")
    baselines = baselines_of(["relu"])
    with functions_of(run, 2, baselines) as found:
        assert [f.title for f in found] == ["x + sin(x)", "x * tanh(x)", "ReLU"]
    with functions_of(run, 2, baselines, mirrors=True) as found:
        assert [f.title for f in found] == ["x + sin(x)", "-x - sin(x)", "ReLU"]
    with functions_of(run, 9, baselines) as found:
        assert len(found) == 4
