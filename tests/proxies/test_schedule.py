"""How trainings of several proxies become one stream of populations."""

import os
import signal
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers_proxies import outcomes

from rlsearch import Formula
from rlsearch.common import crew
from rlsearch.common.pool import InProcess, LokyPool
from rlsearch.errors import RewardError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies import schedule
from rlsearch.proxies.base import Failure, Outcome, Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import limit_after, train_populations
from rlsearch.proxies.settings import ProxySettings

torch.set_num_threads(1)

FORMULAS = [Formula.parse(text) for text in ("relu(x)", "silu(x)", "tanh(x)", "x + sin(x)", "gelu(x)")]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
SIZES = {"train_size": 96, "validation_size": 80, "test_size": 40, "batch_size": 32, "epochs": 1, "population": 4}
PROXIES = {p.name: p for p in (Proxy(ProxySettings(**SIZES, widths=(w,)), TorchKernel(), "cpu") for w in (8, 12))}
FIRST, SECOND = PROXIES


def wanted(*names, part="validation"):
    """Five trainings of each, in turn: a population of four and one of one."""
    return [Training(formula, name, 1, part) for formula in FORMULAS for name in names]


class Recording:
    """Computes here, and keeps what it was given."""

    workers = 1

    def __init__(self, leaves_caller_free=False):
        self.leaves_caller_free = leaves_caller_free
        self.calls = []

    def run(self, function, calls, *, in_order=True):
        self.calls += calls
        self.in_order = in_order
        return (function(*call.arguments) for call in calls)


def test_populations_come_proxy_by_proxy_with_their_trainings():
    populations = list(train_populations(PROXIES, wanted(SECOND, FIRST), InProcess()))
    names = [{training.proxy for training in population.trainings} for population in populations]
    assert names == [{FIRST}, {FIRST}, {SECOND}, {SECOND}]
    assert [len(population.scores) for population in populations] == [4, 1, 4, 1]
    formulas = [training.formula for population in populations[2:] for training in population.trainings]
    assert formulas == FORMULAS
    assert all(population.seconds > 0 for population in populations)


def test_nothing_is_trained_before_it_is_asked_for(monkeypatch):
    trained = []

    def train(self, population):
        trained.append(self.name)
        return [Outcome(0.5)] * len(population)

    monkeypatch.setattr(Proxy, "train", train)
    populations = train_populations(PROXIES, wanted(FIRST, SECOND), InProcess())
    assert trained == []
    next(populations)
    assert trained == [FIRST]
    populations.close()
    assert trained == [FIRST]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_same_scores(workers, in_order):
    trainings = [*wanted(FIRST, SECOND, part="test"), Training(EXPLODING, FIRST, 1, "test")]
    alone, beside = (
        {t.key: score for done in populations for t, score in zip(done.trainings, done.scores, strict=True)}
        for populations in (
            train_populations(PROXIES, trainings, InProcess()),
            train_populations(PROXIES, trainings, LokyPool(workers), in_order=in_order),
        )
    )
    assert beside == alone
    assert len(alone) == 11
    assert [key[0] for key, score in alone.items() if score is None] == [EXPLODING.fingerprint]


def test_a_pool_gets_all_populations_of_all_proxies_at_once():
    pool = Recording()
    list(train_populations(PROXIES, wanted(FIRST, SECOND), pool, in_order=False))
    assert [len(call.arguments[-1]) for call in pool.calls] == [4, 1, 4, 1]
    assert pool.in_order is False


def test_a_single_population_is_handed_over_only_for_a_caller_that_counts_on_being_free():
    for free in (False, True):
        pool = Recording(leaves_caller_free=free)
        (done,) = train_populations(PROXIES, wanted(FIRST)[:3], pool)
        assert len(done.scores) == 3
        assert len(pool.calls) == free


def test_nothing_wanted_is_no_population():
    assert list(train_populations(PROXIES, [], InProcess())) == []


def test_a_part_belongs_to_the_training():
    """The test part is half as large, so scores are shares of another number."""
    trainings = wanted(FIRST)
    for part, size in (("validation", 80), ("test", 40)):
        of_part = [replace(training, part=part) for training in trainings]
        for done in train_populations(PROXIES, of_part, InProcess()):
            assert all(score * size == pytest.approx(round(score * size)) for score in done.scores)


def test_a_proxy_that_is_not_there():
    with pytest.raises(KeyError):
        list(train_populations(PROXIES, [Training(FORMULAS[0], "unknown", 0)], InProcess()))


# What some formulas do to the process that trains them.
KILLS, RAISES, HANGS = (Formula.parse(text) for text in ("x + 0.25", "x + 0.5", "x + 0.75"))


class Dangerous(Proxy):
    """Trains like any other, but for some formulas."""

    def train(self, population):
        formulas = [training.formula for training in population]
        if KILLS in formulas:
            os.kill(os.getpid(), signal.SIGKILL)
        if RAISES in formulas:
            raise RewardError("that one I do not like")
        if HANGS in formulas:
            time.sleep(600)
        return super().train(population)


@pytest.fixture
def dangerous(monkeypatch):
    """A proxy whose trainer is as dangerous in worker processes, which import this module by name."""
    monkeypatch.setattr(schedule, "_train_in_worker", _train_dangerously)
    return Dangerous(PROXIES[FIRST].settings, TorchKernel(), "cpu")


def _train_dangerously(registered, settings, kernel, device, population):
    return schedule._train(Dangerous(settings, kernel(), device), population)


@pytest.mark.parametrize("bad", [KILLS, RAISES], ids=["kills", "raises"])
def test_one_that_ends_its_process_is_found_and_the_others_get_their_scores(dangerous, bad):
    """The population has four members, so that it is found in halves."""
    good = wanted(FIRST)
    members = [*good[:2], replace(good[0], formula=bad), *good[2:]]
    expected = outcomes(PROXIES[FIRST], good)
    found = outcomes(dangerous, members, pool=LokyPool(2))
    failure = found.pop(2)
    assert found == expected
    assert failure == Failure(
        {
            KILLS: "the training ended its process with signal 9 (SIGKILL), perhaps for want of memory",
            RAISES: "that one I do not like",
        }[bad]
    )


def test_one_that_hangs_is_ended(dangerous, monkeypatch):
    good = wanted(FIRST)
    # So that a worker has all that its first call needs. Later ones have no time for that.
    expected = outcomes(dangerous, good, pool=LokyPool(1, leaves_caller_free=True))
    monkeypatch.setattr(crew, "PREPARATION_SECONDS", 0.0)
    pool = LokyPool(1, leaves_caller_free=True)
    found = outcomes(dangerous, [replace(good[0], formula=HANGS)], pool=pool, limits={FIRST: 2.0})
    assert found == [Failure("the training gave no answer in 2 s")]
    assert outcomes(dangerous, good, pool=LokyPool(1, leaves_caller_free=True)) == expected


def test_one_that_raises_is_found_in_this_process_too(dangerous):
    good = wanted(FIRST)
    members = [*good, replace(good[0], formula=RAISES)]
    found = outcomes(dangerous, members, pool=InProcess())
    assert found == [*outcomes(PROXIES[FIRST], good), Failure("that one I do not like")]


def test_the_death_of_an_innocent_is_tried_once_more(tmp_path, monkeypatch):
    """As when the system kills a process for want of memory that others took."""
    monkeypatch.setattr(schedule, "_train_in_worker", partial(_die_once, tmp_path / "died"))
    (training, *_) = wanted(FIRST)
    pool = LokyPool(1, leaves_caller_free=True)
    assert outcomes(PROXIES[FIRST], [training], pool=pool) == outcomes(PROXIES[FIRST], [training])
    assert (tmp_path / "died").exists()


def _die_once(mark, registered, settings, kernel, device, population):
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return schedule._train(Proxy(settings, kernel(), device), population)


def test_limits_are_generous():
    assert (limit_after(0.01), limit_after(10.0)) == (60.0, 200.0)
