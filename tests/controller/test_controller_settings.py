import pytest

from rlsearch.controller.settings import ControllerSettings
from rlsearch.errors import ConfigError


def test_the_defaults_are_those_of_the_design():
    """Elite of 5 %, entropy 0.05, gamma = lambda = 1."""
    settings = ControllerSettings()
    assert settings.learn_from == "elite"
    assert settings.elite_fraction == 0.05
    assert settings.offspring == 0.5
    assert (settings.ppo.ent_coef, settings.ppo.gamma, settings.ppo.gae_lambda) == (0.05, 1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ppo": {"n_envs": 8}}, "n_envs is not a setting: it is search.formulas_per_round, without the offspring"),
        ({"ppo": {"n_steps": 8}}, "ppo: n_steps is not a setting: it is language.max_length"),
        ({"ppo": {"normalize_advantage": True}}, "normalize_advantage is not a setting: learn_from decides it"),
        ({"ppo": {"learning_rat": 1e-3}}, "ppo.learning_rat: unknown key; did you mean 'learning_rate'"),
        ({"n_envs": 8}, "n_envs: unknown key"),
        ({"ppo": {"net_arch": [64, 0]}}, "layer widths must be positive"),
        ({"ppo": {"batch_size": 1}}, "ppo.batch_size: .*greater than or equal to 2"),
        ({"ppo": {"gamma": 1.5}}, "ppo.gamma: "),
        ({"ppo": {"learning_rate": float("nan")}}, "ppo.learning_rate: "),
        ({"elite_fraction": 0}, "elite_fraction: "),
        ({"elite_fraction": 1}, "elite_fraction: "),
        ({"learn_from": "max"}, "learn_from: .*'elite' or 'mean'"),
        ({"rounds": 5}, "rounds: unknown key"),
        ({"formulas_per_round": 5}, "formulas_per_round: unknown key"),
        ({"offspring": 1}, "offspring: .*less than 1"),
        ({"offspring": -0.1}, "offspring: "),
        ({"parents": 0}, "parents: "),
        ({"overlap": True, "written_per_judged": 2}, "overlap writes .* set written_per_judged to 1"),
        ({"overlap": True, "restart_every": 9}, "overlap writes .* leave restart_every out"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        ControllerSettings.check(values)
