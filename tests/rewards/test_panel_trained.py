"""The default reward with proxies that are trained."""

import math
import time

import pytest
import torch
from helpers_panels import COSTS, OTHER, SILU, SQUARE, STEEP, TANH, TINY, everything, made, scored

from rlsearch import Formula
from rlsearch.common.seeds import fresh_seed, search_seed
from rlsearch.formula import RELU
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards import Status
from rlsearch.rewards.base import StatusValues
from rlsearch.rewards.settings import ScreeningSettings

torch.set_num_threads(1)


def test_seeds_of_searches_and_of_fresh_scores_are_all_different():
    runs, indices = range(4), (*range(50), 4_999)
    seeds = [f(run, i) for run in runs for i in indices for f in (search_seed, fresh_seed)]
    assert len(set(seeds)) == len(seeds) == 4 * 51 * 2
    for f in (search_seed, fresh_seed):
        for index in (-1, 5_000):
            with pytest.raises(AssertionError):
                f(0, index)


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
    for name in ("digits-mlp", "digits-mlp (2)"):
        assert (staged.scale_of(name), staged.linear_of(name)) == (plain.scale_of(name), plain.linear_of(name))


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
    assert [e.score for e in evaluations] == [reward.proxies[proxy_name].train([r])[0].score for r in requests]
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
    assert found[requests[0]] == reward.proxies[b].train([requests[0]])[0].score


def test_the_higher_fidelity_is_the_longer_training():
    """The scores are those of a proxy that has twenty epochs in its settings."""
    reward = made(fidelities=(1.0, 10.0))
    (short,), (long,) = reward.fidelities
    requests = [Training(SILU, proxy_name, 3) for proxy_name in (short, long)]
    scores = {e.training.proxy: e.score for e in everything(reward, requests)}
    for proxy_name, epochs in ((short, 2), (long, 20)):
        proxy = Proxy(ProxySettings.check(TINY | {"epochs": epochs}), TorchKernel(), "cpu")
        (expected,) = proxy.train([Training(SILU, proxy.name, 3)])
        assert scores[proxy_name] == expected.score
    assert scores[short] != scores[long]
