import math

import numpy as np
import pytest
from helpers import CURVE, DIGITS, make_config, proxies
from helpers_proxies import trained_scores

from rlsearch import Formula, train
from rlsearch.common.seeds import fresh_seed
from rlsearch.errors import ConfigError, FormulaError, InputError, RewardError, RunError
from rlsearch.formula.named import BASELINES
from rlsearch.kernels import default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.tasks import CLASSIFICATION, GAIN, REGRESSION
from rlsearch.runs import read as results
from rlsearch.studies.evaluate import Score, evaluate, what_is_measured

parse = Formula.parse
HARMONICS = {
    "dataset": "harmonics", "widths": [8], "epochs": 2, "train_size": 128, "validation_size": 64, "test_size": 64,
    "batch_size": 32, "population": 4, "outside_weight": 0.25, "learning_rates": [0.02, 0.1, 100.0],
}  # fmt: skip
STEEP = parse("1e30 * (x * 1e30)")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of a single classifier."""
    folder = tmp_path_factory.mktemp("runs")
    config = make_config(proxies(folder, proxies=[DIGITS]), 3, 12, seed=3, rescoring={"every": 2, "best": 4})
    return train(config, "real", runs=folder).run


@pytest.fixture(scope="module")
def panel_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    reward = proxies(folder, proxies=[DIGITS, HARMONICS], baselines=["relu", "tanh", "gelu"])
    return train(make_config(reward, 2, 8, seed=3), "panel", runs=folder).run


def test_an_evaluation_is_on_fresh_seeds_and_the_test_part(run):
    wanted = parse("x * sin(x)")
    rows = evaluate([wanted], run=run, best=2, seeds=3)
    board = results.read_history(run).found(2)
    by_fingerprint = {row.formula.fingerprint: row for row in rows}
    assert {wanted.fingerprint, *(judged.formula.fingerprint for judged in board)} < set(by_fingerprint)
    assert {row.name for row in rows if row.name} == set(BASELINES)
    means = [row.fresh.mean for row in rows]
    assert means == sorted(means, reverse=True)
    assert all(0 < row.latency.low <= row.latency.ratio <= row.latency.high for row in rows)
    assert all(row.proxies == {} for row in rows)

    trainings = [Training(wanted, "", fresh_seed(3, i), "test") for i in range(3)]
    expected = Score.of(trained_scores(Proxy(run.config.proxies[0], default_kernel("cpu"), "cpu"), trainings))
    assert by_fingerprint[wanted.fingerprint].fresh == expected
    assert expected.seeds == 3
    assert by_fingerprint[wanted.fingerprint].searched is None
    for judged in board:
        searched = by_fingerprint[judged.formula.fingerprint].searched
        assert searched.mean == pytest.approx(judged.result.score, abs=1e-12)
        assert searched.seeds == judged.seeds


def test_over_a_panel_the_score_is_the_gain_beside_the_score_on_each_proxy(panel_run):
    """Everything again by one proxy alone for each learning rate, of which the best counts."""
    rows = evaluate([parse("x * sin(x)"), STEEP], run=panel_run, best=2, baselines=["softplus"], seeds=2)
    assert [row.name for row in rows if row.name] == ["softplus"]
    config, kernel = panel_run.config, default_kernel("cpu")
    seeds = [fresh_seed(3, i) for i in range(2)]

    def again(formula):
        of_proxies = []
        for settings in config.proxies:
            at_rates = []
            for at_one_rate in settings.at_each_rate():
                trainings = [Training(formula, "", seed, "test") for seed in seeds]
                at_rates.append(trained_scores(Proxy(at_one_rate, kernel, "cpu"), trainings))
            sound = [scores for scores in at_rates if None not in scores]
            of_proxies.append(max(sound, key=sum))
        return np.array(of_proxies)

    # The reference and the reward's baselines are trained, though they are not shown.
    of_baselines = np.array([again(parse(f"{name}(x)")) for name in config.reward.baselines])
    spreads = np.ptp(of_baselines.mean(axis=2), axis=0)
    *sound, diverged = rows
    for row in sound:
        scores = again(row.formula)
        gains = np.clip((scores - of_baselines[0]) / spreads[:, None], -3, 3)
        expected = Score.of(gains.mean(axis=0).tolist())
        assert row.fresh.mean == pytest.approx(expected.mean)
        assert row.fresh.standard_error == pytest.approx(expected.standard_error)
        assert row.proxies == {
            name: Score.of(of_proxy.tolist()) for name, of_proxy in zip(config.reward.names, scores, strict=True)
        }
    assert diverged.formula == STEEP
    assert math.isnan(diverged.fresh.mean)
    assert all(math.isnan(score.mean) for score in diverged.proxies.values())
    searched = {judged.formula.fingerprint: judged.result.score for judged in results.read_history(panel_run).found(2)}
    assert {row.formula.fingerprint: row.searched.mean for row in rows if row.searched} == searched


def test_an_evaluation_without_a_run_takes_any_formulas_and_config():
    config = make_config({"proxies": [DIGITS]})
    rows = evaluate([parse("x / (1 + exp(-x))"), STEEP], config, seeds=1)
    assert len(rows) == len(BASELINES) + 1  # the first is silu in another spelling
    (silu,) = [row for row in rows if row.name == "silu"]
    assert silu.formula == parse("x / (1 + exp(-x))")
    assert all(row.searched is None and math.isnan(row.fresh.standard_error) for row in rows)
    assert rows[-1].formula == STEEP
    assert math.isnan(rows[-1].fresh.mean)


def test_what_cannot_be_evaluated_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="the reward rlsearch_envs:CurveReward has no proxies to train"):
        evaluate([parse("x")], make_config(CURVE))
    with pytest.raises(InputError, match="nothing to score"):
        evaluate([], make_config())
    with pytest.raises(InputError, match="gated formulas are not trained by digits-mlp"):
        evaluate([parse("x * g")], run=run, seeds=1)
    with pytest.raises(FormulaError, match="unknown name 'rleu'"):
        evaluate([parse("x")], run=run, baselines=["rleu"])
    with pytest.raises(RunError, match="there is no run"):
        evaluate([parse("x")], run=tmp_path / "no")
    with pytest.raises(RewardError, match="diverges on digits-mlp from some seeds"):
        evaluate([parse("x")], make_config({"proxies": [DIGITS, HARMONICS], "reference": str(STEEP)}), seeds=1)


def test_a_score_is_a_mean_with_its_standard_error():
    score = Score.of([0.1, 0.2, 0.6])
    # The deviations are -0.2, -0.1 and 0.3: variance 0.14 / 2, standard error sqrt(0.07 / 3).
    assert score.mean == pytest.approx(0.3)
    assert score.standard_error == pytest.approx(math.sqrt(0.07 / 3))
    assert math.isnan(Score.of([0.5]).standard_error)
    diverged = Score.of([0.5, math.nan, 0.6])
    assert math.isnan(diverged.mean)
    assert math.isnan(diverged.standard_error)


def test_what_is_measured_is_told_by_the_runs_config_and_device(run, panel_run):
    measure = what_is_measured(run=run)
    assert (measure.words, measure.proxies) == (CLASSIFICATION, {})
    assert measure == what_is_measured(make_config({"proxies": [DIGITS]}))
    assert measure.latency_label.startswith(f"{default_kernel('cpu').name} kernel, cpu (")
    measure = what_is_measured(run=panel_run)
    assert measure.words == GAIN
    assert measure.proxies == {"digits-mlp": CLASSIFICATION, "harmonics-mlp": REGRESSION}


@pytest.mark.parametrize(
    "change",
    [{"proxies": [DIGITS, HARMONICS | {"epochs": 1}]}, {"reference": "gelu"}, {"baselines": ["relu", "tanh"]}],
    ids=["other proxies", "another reference", "other baselines"],
)
def test_scores_of_another_unit_are_not_shown_beside_those_of_a_search(panel_run, change):
    config, reward = panel_run.config, panel_run.config.reward
    other = config.model_copy(update={"reward": reward.check(reward.model_dump() | change)})
    assert all(row.searched is None for row in evaluate([], other, run=panel_run, best=1, seeds=1))


def test_scores_of_the_same_unit_are_shown_beside_those_of_a_search(panel_run):
    config, reward = panel_run.config, panel_run.config.reward
    best = next(judged.formula for judged in results.top(panel_run, 100, mirrors=True) if not judged.is_reference)
    for changes in ({}, {"latency_weight": 0.5, "seeds": 2}):
        same = config.model_copy(update={"reward": reward.check(reward.model_dump() | changes)})
        rows = evaluate([], same, run=panel_run, best=1, seeds=1)
        (row,) = [row for row in rows if row.formula.fingerprint == best.fingerprint]
        assert row.searched is not None


def test_what_an_evaluation_trains_is_stored_and_not_trained_again(panel_run, monkeypatch):
    first = evaluate([], run=panel_run, best=1, seeds=2)
    assert (panel_run.folder / "evaluate" / "evaluations.sqlite").exists()
    monkeypatch.setattr(Proxy, "train", lambda *arguments: 1 / 0)
    again = evaluate([], run=panel_run, best=1, seeds=2)
    assert [(row.formula, row.fresh, row.proxies) for row in again] == [
        (row.formula, row.fresh, row.proxies) for row in first
    ]
