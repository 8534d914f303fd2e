import pytest

from rlsearch.controller.settings import ControllerSettings, PPOSettings
from rlsearch.errors import ConfigError
from rlsearch.runs.config import Config
from rlsearch.search.settings import (
    EvolutionSettings,
    ExhaustiveSettings,
    MiningSettings,
    RungSettings,
    SearchSettings,
)


def test_the_defaults():
    config = Config()
    assert config.search.method == "ppo"
    assert config.search.candidates is None
    assert config.search.warm_start == ()
    assert (config.evolution.population, config.evolution.tournament) == (100, 10)
    assert config.exhaustive.template is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"search": {"method": "anneal"}}, "search.method: .*'ppo', 'random', .* or '"),
        ({"search": {"rounds": 0}}, "search.rounds: .*greater than or equal to 1"),
        ({"search": {"formulas_per_round": 1}}, "search.formulas_per_round: .*greater than or equal to 2"),
        ({"search": {"candidates": 0}}, "search.candidates: .*greater than or equal to 1"),
        ({"search": {"warm_start": ["x", "sin(x"]}}, "search.warm_start.1: "),
        ({"search": {"warm_start": ["sine(x)"]}}, "search.warm_start.0: .*did you mean 'sin'"),
        ({"search": {"round": 3}}, "search.round: unknown key; did you mean 'rounds'"),
        ({"evolution": {"population": 1}}, "evolution.population: "),
        ({"evolution": {"tournament": 0}}, "evolution.tournament: "),
        ({"exhaustive": {"templat": []}}, "exhaustive.templat: unknown key; did you mean 'template'"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        Config.check(values)


@pytest.mark.parametrize(
    "settings",
    [
        SearchSettings,
        EvolutionSettings,
        ExhaustiveSettings,
        MiningSettings,
        RungSettings,
        ControllerSettings,
        PPOSettings,
    ],
    ids=lambda settings: settings.__name__,
)
def test_every_setting_is_described(settings):
    assert [name for name, field in settings.model_fields.items() if not field.description] == []


def test_a_warm_start_is_kept_as_it_prints():
    config = Config.check({"search": {"warm_start": ["silu(x)", " x+1 "]}})
    assert config.search.warm_start == ("x * sigmoid(x)", "x + 1")


def test_a_warm_start_keeps_the_tokens_that_were_typed():
    """Spelled out for people, gate(x, x) needs sigmoid and mul, which the language may lack."""
    settings = SearchSettings.check({"warm_start": ["gate( x,x )", "sqrt(x)"]})
    assert settings.warm_start == ("gate(x, x)", "sqrt(x)")
