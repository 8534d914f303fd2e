import pytest
from helpers import CURVE, make_config, proxies
from helpers_panels import OTHER, TINY, made

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.formula.named import BASELINES
from rlsearch.rewards.base import StatusValues
from rlsearch.rewards.panels import GENERAL, PANELS
from rlsearch.rewards.settings import RewardSettings, function
from rlsearch.runs.build import resolve

REGRESSION = TINY | {"dataset": "physics"}


def texts(formulas):
    return [str(formula) for formula in formulas]


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("relu", "relu(x)"),
        ("silu", "x * sigmoid(x)"),
        ("sin", "sin(x)"),
        ("x", "x"),
        ("x * atan(x)", "x * atan(x)"),
        ("swiglu", "x * (g * sigmoid(g))"),
        ("x * sin(g)", "x * sin(g)"),
    ],
)
def test_a_function_is_named_or_written(text, formula):
    assert function(text) == Formula.parse(formula)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reference": "gelo"}, "reference: unknown name 'gelo' .*; did you mean 'gelu'"),
        ({"reference": "x +"}, "reference: expected a number, .* got the end at position 4"),
        ({"reference": "g * h"}, "reference: 'g [*] h' is a function of g, h; expected one of x and g"),
        ({"reference": "3"}, "reference: the formula '3' contains no input"),
        ({"reference": "swiglu(x)"}, r"reference: swiglu takes 2 argument\(s\), got 1"),
        ({"reference": "add"}, r"reference: add takes 2 argument\(s\), got 1"),
        ({"baselines": ["relu", "tanhh"]}, r"baselines\.1: unknown name 'tanhh' .*; did you mean 'tanh'"),
        ({"baselines": ["relu"]}, "baselines: .*at least 2 items"),
        (
            {"baselines": ["silu", "swish"]},
            "baselines must be at least two different functions, got",
        ),
        ({"combine": "min"}, "combine: .*'mean', 'worst' or 'softmin'"),
        (
            {"proxies": "genral"},
            "proxies: unknown panel 'genral'; expected a list of proxies, or one of general; did you mean 'general'",
        ),
        ({"latency_weight": -0.1}, "latency_weight: .*greater than or equal to 0"),
    ],
)
def test_settings_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        RewardSettings.check(values)


def test_references_are_the_reference_and_the_baselines_each_once():
    assert texts(RewardSettings(proxies=(TINY,)).references) == ["relu(x)"]
    panel = RewardSettings(proxies=(TINY, OTHER))
    assert texts(panel.references) == texts(function(name) for name in BASELINES)
    # swish is silu.
    chosen = RewardSettings(proxies=(TINY, OTHER), reference="x * sigmoid(x)", baselines=("tanh", "swish", "sin"))
    assert texts(chosen.references) == ["x * sigmoid(x)", "tanh(x)", "sin(x)"]


@pytest.mark.parametrize(
    ("chosen", "in_spreads", "weight", "worst"),
    [
        ((TINY,), False, 0.01, -1.0),
        ((TINY, OTHER), True, 0.1, -4.0),
        ((REGRESSION,), True, 0.1, -4.0),
        ((TINY | {"score": "loss"},), True, 0.1, -4.0),
        ((TINY, REGRESSION), True, 0.1, -4.0),
    ],
    ids=["classifier", "two classifiers", "regression", "cross-entropy", "of two kinds"],
)
def test_only_a_single_classifier_is_in_points(chosen, in_spreads, weight, worst, tmp_path):
    """Its gains are shares of accuracy; else they are in spreads, and what depends on the unit is another number."""
    settings = RewardSettings(proxies=chosen)
    assert settings.in_spreads is in_spreads
    assert settings.price_of_doubling == weight
    assert [str(formula) for formula in settings.scale_functions[:2]] == ["relu(x)", str(function("gelu"))]
    assert settings.references == (settings.scale_functions if in_spreads else settings.scale_functions[:1])
    assert RewardSettings(proxies=chosen, latency_weight=0.5).price_of_doubling == 0.5
    assert RewardSettings(proxies=chosen, latency_weight=0.0).price_of_doubling == 0.0

    everywhere = StatusValues(unfit=worst, diverged=worst, failed=worst)
    config = make_config(proxies(tmp_path, proxies=chosen))
    assert resolve(config).status_values == made(*chosen).status_values == everywhere
    own = StatusValues(unfit=-2.0)
    said = everywhere.model_copy(update={"unfit": -2.0})
    config = make_config(proxies(tmp_path, proxies=chosen), status_values={"unfit": -2.0})
    assert resolve(config).status_values == made(*chosen, status_values=own).status_values == said


def test_values_of_a_reward_of_ones_own_are_in_points():
    assert resolve(make_config(CURVE)).status_values == StatusValues(unfit=-1.0, diverged=-1.0, failed=-1.0)


def test_every_proxy_has_a_name_of_its_own():
    proxies = (TINY, REGRESSION, OTHER, TINY | {"epochs": 9}, REGRESSION | {"epochs": 9})
    names = RewardSettings(proxies=proxies).names
    assert names == ("digits-mlp", "physics-mlp", "digits-mlp (2)", "digits-mlp (3)", "physics-mlp (2)")


def test_the_default_is_the_general_panel():
    assert RewardSettings().proxies == RewardSettings.check({"proxies": "general"}).proxies == GENERAL
    assert "general" in PANELS
    assert RewardSettings().in_spreads
