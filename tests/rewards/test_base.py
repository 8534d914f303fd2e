import dataclasses
import subprocess
import sys

import pytest

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.proxies.base import Outcome, Training
from rlsearch.rewards import Reward, RewardResult, Status
from rlsearch.rewards.base import StatusValues
from rlsearch.rewards.settings import RewardSettings, ScreeningSettings
from rlsearch.rewards.staged import Evaluation, StagedReward

X = Formula(("x",))


def test_a_result_needs_its_value_only():
    result = RewardResult(0.5)
    assert (result.status, result.score, result.latency, result.message) == (Status.OK, None, None, "")


@pytest.mark.parametrize(
    "value", [RewardResult(0.5), Training(X, "p", 1), Evaluation(Training(X, "p", 1), RewardResult(0.5))]
)
def test_values_are_frozen_and_equal_by_content(value):
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
    assert value == dataclasses.replace(value)
    assert hash(value) == hash(dataclasses.replace(value))
    assert not hasattr(value, "__dict__")


def test_statuses_are_texts():
    assert [str(status) for status in Status] == ["ok", "unfit", "diverged", "failed"]
    assert Status("unfit") is Status.UNFIT


def test_every_status_but_ok_has_a_value():
    values = StatusValues(unfit=-2.0, diverged=-3.0, failed=-4.0)
    assert [values.of(s) for s in Status if s is not Status.OK] == [-2.0, -3.0, -4.0]
    assert set(StatusValues.model_fields) == {str(s) for s in Status} - {"ok"}
    assert all(StatusValues().of(s) < -0.5 for s in Status if s is not Status.OK)  # worse than chance
    with pytest.raises(AttributeError):
        values.of(Status.OK)


def test_what_is_not_said_of_a_status_can_be_filled_in():
    values = StatusValues(diverged=-2.0)
    assert [values.of(s) for s in (Status.UNFIT, Status.DIVERGED, Status.FAILED)] == [-1.0, -2.0, -1.0]
    assert values.filled(-4.0) == StatusValues(unfit=-4.0, diverged=-2.0, failed=-4.0)
    assert values.filled(-4.0).filled(-9.0) == values.filled(-4.0)


def test_an_outcome_makes_an_evaluation():
    training = Training(X, "p", 1)
    done = Evaluation.of_outcome(training, Outcome(0.5, outside=-1.0), latency=2.0, wall_seconds=0.25)
    assert (done.status, done.score, done.outside, done.wall_seconds) == (Status.OK, 0.5, -1.0, 0.25)
    assert done.result.latency == 2.0
    diverged = Evaluation.of_outcome(training, None, latency=2.0)
    assert (diverged.status, diverged.score, diverged.outside) == (Status.DIVERGED, None, None)
    assert diverged.result.message == "training became non-finite"
    assert diverged.is_trained


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "low"])
def test_the_values_are_finite_numbers(value):
    with pytest.raises(ConfigError, match="unfit: "):
        StatusValues.check({"unfit": value})


def test_a_function_is_a_reward_but_not_a_staged_one():
    def reward(formulas):
        return [RewardResult(float(f.size)) for f in formulas]

    plain: Reward = reward
    assert plain([X])[0].value == 1.0
    assert not isinstance(plain, StagedReward)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (RewardSettings, {"proxies": []}, "proxies: .*at least 1 item"),
        (RewardSettings, {"seeds": 0}, "seeds: .*greater than or equal to 1"),
        (RewardSettings, {"baseline_seeds": 0}, "baseline_seeds: .*greater than or equal to 1"),
        (RewardSettings, {"latency_weight": -0.01}, "latency_weight: .*greater than or equal to 0"),
        (RewardSettings, {"proxies": [{"widths": [3]}]}, r"proxies\.0: widths must be a multiple of 4"),
        (ScreeningSettings, {"reach": 0}, "reach: .*greater than 0"),
        (ScreeningSettings, {"points": 2}, "points: .*greater than or equal to 3"),
        (ScreeningSettings, {"max_slope": 0}, "max_slope: .*greater than 0"),
        (ScreeningSettings, {"min_spread": -1}, "min_spread: .*greater than or equal to 0"),
    ],
)
def test_settings_refused(cls, values, message):
    with pytest.raises(ConfigError, match=message):
        cls.check(values)


def test_the_protocol_loads_no_torch():
    code = "import sys, rlsearch.rewards; print('torch' in sys.modules, 'stable_baselines3' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.split() == ["False", "False"]
