import math
import time

import pytest
import torch
from helpers import evaluated
from helpers_proxies import trained_scores

from rlsearch import Formula
from rlsearch.common.pool import make_pool
from rlsearch.common.seeds import fresh_seed, search_seed
from rlsearch.errors import RewardError
from rlsearch.formula import OPERATORS, RELU
from rlsearch.kernels import TorchKernel
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards import Status
from rlsearch.rewards.base import StatusValues
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.settings import RewardSettings, ScreeningSettings
from rlsearch.rewards.staged import StagedReward

torch.set_num_threads(1)

# The identity 0.5, ReLU 1, silu 0.5 + 0.5 + 1 = 2.
COSTS = LatencyCosts("test", 0.5, dict.fromkeys(OPERATORS, 0.5) | {"sigmoid": 1.0, "sin": 1.0, "cos": 1.0})
SILU, TANH, SQUARE = (Formula.parse(text) for text in ("silu(x)", "tanh(x)", "x * x"))
STEEP = Formula.parse("x**3")
TINY = {
    "dataset": "digits", "train_size": 64, "validation_size": 40, "test_size": 8, "widths": (8,), "batch_size": 32,
    "epochs": 2, "population": 4,
}  # fmt: skip
OTHER = TINY | {"widths": (12,), "validation_size": 80}


def made(*proxies, run_seed=0, status_values=None, leaves_caller_free=False, **values):
    settings = RewardSettings(**{"proxies": proxies or (TINY,), "baseline_seeds": 2} | values)
    more = {"status_values": status_values} if status_values else {}
    more |= {"pool": make_pool(1, leaves_caller_free=leaves_caller_free)}
    return PanelReward(settings, COSTS, TorchKernel(), "cpu", run_seed=run_seed, **more)


def scored(formula, proxy_name, *scores, status=Status.OK):
    return [evaluated(Training(formula, proxy_name, seed), score, status) for seed, score in enumerate(scores)]


def everything(reward, requests):
    return [evaluation for part in reward.evaluate(requests) for evaluation in part]


# --- arithmetic ---


def two_proxies(factor=1, **values):
    reward = made(TINY, OTHER, **values)
    reward.costs = LatencyCosts("test", COSTS.fixed * factor, {name: c * factor for name, c in COSTS.costs.items()})
    a, b = reward.proxy_names
    reward.refer([*scored(RELU, a, 0.50, 0.60), *scored(RELU, b, 0.80, 0.84)])
    return reward, a, b


def test_mean_over_seeds_and_proxies_relative_to_relu_minus_latency():
    """ReLU has 0.55 and 0.82; the candidate (0.65 + 0.75 + 0.70) / 3 = 0.70 and 0.80: +0.15 and -0.02, mean 0.065.

    Each proxy counts alike, however many seeds it has. silu's latency is 2: one doubling, 0.01.
    """
    reward, a, b = two_proxies()
    result = reward.combine(SILU, [*scored(SILU, a, 0.65, 0.75, 0.70), *scored(SILU, b, 0.80)])
    assert result.value == pytest.approx(0.065 - 0.01, abs=1e-12)
    assert result.status is Status.OK
    assert result.score == pytest.approx((0.70 + 0.80) / 2)
    assert result.latency == 2.0
    assert result.message == ""


def test_evaluations_count_in_any_order():
    reward, a, b = two_proxies()
    evaluations = [*scored(SILU, a, 0.65, 0.75, 0.1), *scored(SILU, b, 0.80, 0.3)]
    assert reward.combine(SILU, reversed(evaluations)) == reward.combine(SILU, iter(evaluations))


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.25])
def test_doubling_latency_costs_the_weight(weight):
    reward, a, b = two_proxies(latency_weight=weight)
    slower = Formula.parse("silu(sin(x)) + sin(x)")  # a sine and an addition more
    slowest = Formula.parse("silu(sin(cos(x))) + sin(cos(x)) + cos(x) * 0.5 + 1")  # 0.5 + 3 * 1.0 + 5 * 0.5
    evaluations = [*scored(SILU, a, 0.7), *scored(SILU, b, 0.8)]
    results = [reward.combine(formula, evaluations) for formula in (SILU, slower, slowest)]
    assert [r.latency for r in results] == [2.0, 3.5, 6.0]
    assert len({r.score for r in results}) == 1
    assert results[0].value - results[1].value == pytest.approx(weight * math.log2(3.5 / 2), abs=1e-12)
    # From 2 to 4 to 8: in all of them the same formula, at two and at four times its price.
    values = [two_proxies(latency_weight=weight, factor=f)[0].combine(SILU, evaluations).value for f in (1, 2, 4)]
    assert values[0] - values[1] == pytest.approx(weight, abs=1e-12)
    assert values[1] - values[2] == pytest.approx(weight, abs=1e-12)


def test_faster_than_relu_is_a_gain():
    reward, a, b = two_proxies(latency_weight=0.01)
    identity = Formula(("x",))  # latency 0.5
    result = reward.combine(identity, [*scored(identity, a, 0.55), *scored(identity, b, 0.82)])
    assert result.value == pytest.approx(0.01, abs=1e-12)


def test_relu_is_zero_on_its_own_seeds():
    reward, a, b = two_proxies()
    assert reward.baseline == pytest.approx({a: 0.55, b: 0.82})
    result = reward.combine(RELU, [*scored(RELU, a, 0.50, 0.60), *scored(RELU, b, 0.80, 0.84)])
    assert result.value == 0.0
    assert result.latency == 1.0
    # From its first seeds alone it is off by their luck: 0.50 - 0.55 and 0.80 - 0.82.
    first = reward.combine(RELU, [*scored(RELU, a, 0.50), *scored(RELU, b, 0.80)])
    assert first.value == pytest.approx(-0.035, abs=1e-12)


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.UNFIT])
def test_one_evaluation_without_a_score_decides(status):
    reward, a, b = two_proxies(status_values=StatusValues(diverged=-3.0, unfit=-4.0))
    bad = evaluated(Training(SILU, b, 0), None, status, message="why")
    result = reward.combine(SILU, [*scored(SILU, a, 0.9, 0.9), bad])
    assert result.value == {Status.DIVERGED: -3.0, Status.UNFIT: -4.0}[status]
    assert (result.status, result.score, result.latency, result.message) == (status, None, 2.0, "why")


def test_relu_must_train():
    reward = made(TINY, OTHER)
    a, b = reward.proxy_names
    with pytest.raises(RewardError, match=f"ReLU has no score on {b}: it diverges there; lower its learning_rate"):
        reward.refer([*scored(RELU, a, 0.5), *scored(RELU, b, None, status=Status.DIVERGED)])
    reward.refer([*scored(RELU, a, 0.5), *scored(RELU, b, 0.4), *scored(RELU, b, None, status=Status.DIVERGED)])
    assert reward.baseline[b] == 0.4  # a seed that diverged is left out


# --- what it is made of ---


def test_is_a_staged_reward():
    reward = made()
    assert isinstance(reward, StagedReward)
    assert reward.seeded


def test_references_are_relus_trainings():
    reward = made(TINY, OTHER, run_seed=3, baseline_seeds=3)
    a, b = reward.proxy_names
    assert reward.references == [Training(RELU, p, seed) for p in (a, b) for seed in (30_000, 30_001, 30_002)]


def test_two_equal_proxies_are_refused():
    with pytest.raises(RewardError, match="two proxies of the reward are the same"):
        made(TINY, OTHER, TINY)


def test_seeds_of_searches_and_of_fresh_scores_are_all_different():
    runs, indices = range(4), (*range(50), 4_999)
    seeds = [f(run, i) for run in runs for i in indices for f in (search_seed, fresh_seed)]
    assert len(set(seeds)) == len(seeds) == 4 * 51 * 2
    for f in (search_seed, fresh_seed):
        for index in (-1, 5_000):
            with pytest.raises(AssertionError):
                f(0, index)


# --- trained ---


def test_the_plain_call_equals_the_stages():
    formulas = [SILU, STEEP, TANH, SILU]
    plain = made(TINY, OTHER, seeds=2)
    results = plain(formulas)
    staged = made(TINY, OTHER, seeds=2)
    staged.refer(everything(staged, staged.references))
    for formula, result in zip(formulas, results, strict=True):
        requests = [Training(formula, p, search_seed(0, i)) for p in staged.proxy_names for i in range(2)]
        assert staged.combine(formula, everything(staged, requests)) == result
    assert [r.status for r in results] == [Status.OK, Status.UNFIT, Status.OK, Status.OK]
    assert results[0] == results[3]
    assert staged.baseline == plain.baseline


def test_two_rewards_give_the_same_bits():
    first, second = made(run_seed=4), made(run_seed=4)
    assert first([SILU, TANH, SQUARE]) == second([SQUARE, SILU, TANH])[1:] + second([SQUARE])
    assert first([SILU]) == first([SILU])
    assert made(run_seed=5)([SILU, TANH]) != first([SILU, TANH])


def test_workers_train_all_proxies_while_the_caller_is_free(tmp_path):
    """Nothing but the first, empty part is asked for until both of a user's networks have left their marks."""
    marks = [tmp_path / "first", tmp_path / "second"]
    network = {
        "target": "helpers_networks:marking", "data": {"target": "helpers_networks:vectors", "examples": 128},
        "batched": True, "population": 2, "batch_size": 32, "epochs": 1,
    }  # fmt: skip
    proxies = [network | {"arguments": {"mark": str(mark)}} for mark in marks]
    made_of = [made(*proxies, leaves_caller_free=free, run_seed=3) for free in (False, True)]
    scores = []
    for reward in made_of:
        for mark in marks:
            mark.unlink(missing_ok=True)
        parts = reward.evaluate([Training(f, p, 7) for p in reward.proxy_names for f in (SILU, TANH)])
        assert next(parts) == []
        if reward is made_of[1]:
            end = time.monotonic() + 60
            while not all(mark.exists() for mark in marks):
                assert time.monotonic() < end
                time.sleep(0.05)
        else:
            assert not any(mark.exists() for mark in marks)
        scores.append([e.score for part in parts for e in part])
    assert scores[0] == scores[1]


def test_evaluations_are_proxys_scores_population_by_population():
    reward = made()
    (proxy_name,) = reward.proxy_names
    requests = [Training(f, proxy_name, seed) for seed in (0, 1) for f in (SILU, TANH, SQUARE)]
    parts = list(reward.evaluate(requests))
    assert [len(part) for part in parts] == [0, 4, 2]
    evaluations = [e for part in parts for e in part]
    assert [e.training for e in evaluations] == requests
    assert [e.score for e in evaluations] == [trained_scores(reward.proxies[proxy_name], [r])[0] for r in requests]
    for e in evaluations:
        assert e.status is Status.OK
        assert e.result.latency == COSTS.ratio(e.training.formula)
        assert e.wall_seconds > 0
        assert math.isnan(e.result.value)
        assert e.result.message == ""


def test_results_come_as_soon_as_they_are_there(monkeypatch):
    trained = []
    train = Proxy.train

    def counting(self, population):
        trained.append(len(population))
        return train(self, population)

    monkeypatch.setattr(Proxy, "train", counting)
    reward = made()
    requests = [Training(f, reward.proxy_names[0], s) for s in range(2) for f in (SILU, STEEP, TANH, SQUARE)]
    parts = reward.evaluate(requests)
    assert [e.status for e in next(parts)] == [Status.UNFIT] * 2
    assert trained == []
    next(parts)
    assert trained == [4]
    assert [len(part) for part in parts] == [2]
    assert list(made().evaluate([])) == [[]]


def test_unfit_formulas_are_not_trained(monkeypatch):
    reward = made(status_values=StatusValues(unfit=-7.0))
    reward.refer(scored(RELU, reward.proxy_names[0], 0.5))
    monkeypatch.setattr(Proxy, "train", lambda *a: 1 / 0)
    (result,) = reward([STEEP])
    assert result.value == -7.0
    assert (result.status, result.score, result.latency) == (Status.UNFIT, None, 1.0)
    assert result.message == "slope 192 on [-8, 8], above 20"


def test_diverged_formulas():
    """exp(exp(exp(x))) is finite on [-1, 1] (4e6), and training overflows it."""
    screening = ScreeningSettings(reach=1.0, max_slope=1e30)
    proxy = TINY | {"learning_rate": 0.5}
    reward = made(proxy, screening=screening, status_values=StatusValues(diverged=-6.0))
    bad, good = reward([Formula.parse("exp(exp(exp(x)))"), TANH])
    assert bad.value == -6.0
    assert (bad.status, bad.score, bad.message) == (Status.DIVERGED, None, "training became non-finite")
    assert bad.latency == 2.0
    assert good.status is Status.OK
    assert good.score is not None


def test_more_seeds_are_averaged():
    one, three = made(seeds=1)([SILU])[0], made(seeds=3)([SILU])[0]
    reward = made()
    proxy_name = reward.proxy_names[0]
    found = everything(reward, [Training(SILU, proxy_name, search_seed(0, i)) for i in range(3)])
    assert one.score == found[0].score
    assert three.score == pytest.approx(sum(e.score for e in found) / 3)
    assert len({e.score for e in found}) > 1


def test_each_proxy_trains_its_own_requests():
    reward = made(TINY, OTHER)
    a, b = reward.proxy_names
    requests = [Training(SILU, b, 0), Training(SILU, a, 0), Training(TANH, b, 0)]
    found = {e.training: e.score for e in everything(reward, requests)}
    assert set(found) == set(requests)
    for request, score in found.items():
        points = 40 if request.proxy == a else 80
        assert score == round(score * points) / points
    assert [found[requests[0]]] == trained_scores(reward.proxies[b], [requests[0]])


# --- fidelity ---


def two_fidelities():
    """A reward whose leaders are trained ten times as long, with ReLU at 0.5 by the short and 0.7 by the long."""
    settings = RewardSettings(proxies=(TINY,), baseline_seeds=2)
    reward = PanelReward(settings, COSTS, TorchKernel(), "cpu", fidelities=(1.0, 10.0))
    (short,), (long,) = reward.proxy_names, reward.rescoring_proxy_names
    reward.refer([*scored(RELU, short, 0.5, 0.5), *scored(RELU, long, 0.6, 0.8)])
    return reward, short, long


def test_a_higher_fidelity_is_a_proxy_of_its_own_and_has_references():
    reward, short, long = two_fidelities()
    assert short != long
    assert [p.settings.epochs for p in reward.proxies.values()] == [2, 20]
    assert {(r.proxy, r.seed) for r in reward.references} == {
        (p, search_seed(0, i)) for p in (short, long) for i in range(2)
    }
    same = made()
    assert same.rescoring_proxy_names == same.proxy_names == (short,)


def test_scores_of_the_higher_fidelity_alone_count():
    """SiLU costs 0.01 * log2(2): +0.1 - 0.01 by the short training, +0.02 - 0.01 by the long one, whatever the short
    ones said.
    """
    reward, short, long = two_fidelities()
    first = reward.combine(SILU, scored(SILU, short, 0.6))
    assert first.value == pytest.approx(0.09)
    assert first.score == pytest.approx(0.6)
    again = reward.combine(SILU, [*scored(SILU, short, 0.6), *scored(SILU, long, 0.70, 0.74)])
    assert again.value == pytest.approx(0.01)
    assert again.score == pytest.approx(0.72)


def test_a_divergence_at_either_fidelity_is_one():
    reward, short, long = two_fidelities()
    diverged = scored(SILU, long, None, status=Status.DIVERGED)
    assert reward.combine(SILU, [*scored(SILU, short, 0.6), *diverged]).status is Status.DIVERGED


def test_the_higher_fidelity_is_the_longer_training():
    """The scores are those of a proxy that has twenty epochs in its settings."""
    reward, short, long = two_fidelities()
    requests = [Training(SILU, proxy_name, 3) for proxy_name in (short, long)]
    scores = {e.training.proxy: e.score for e in everything(reward, requests)}
    for proxy_name, epochs in ((short, 2), (long, 20)):
        proxy = Proxy(ProxySettings.check(TINY | {"epochs": epochs}), TorchKernel(), "cpu")
        (expected,) = trained_scores(proxy, [Training(SILU, proxy.name, 3)])
        assert scores[proxy_name] == expected
    assert scores[short] != scores[long]
