"""The controller on symbolic regression as published: their operators and ranges, and no constant.

The same search from a config file: ``PYTHONPATH=tests/benchmarks rlsearch train tests/benchmarks/nguyen.yaml``.
"""

import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from nguyen import PROBLEMS, NguyenReward, language

from rlsearch import Formula
from rlsearch.common.targets import build_target
from rlsearch.controller.ppo import PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import RoundReport
from rlsearch.rewards import Status
from rlsearch.runs.config import load_config

EASY = (1, 2, 3, 6, 7, 9)
SEEDS = range(3)
BUDGET = 2_000_000
PER_ROUND = 256
SETTINGS = ControllerSettings(offspring=0.8, parents=1000, tournament=5, restart_every=40)
"""Chosen on problems 7 and 10 alone."""


class LightJudge:
    """A judge without an archive: what a search method sees of it, and the best so far."""

    def __init__(self, reward):
        self.reward = reward
        self.round = 0
        self.report = None
        self.known = {}
        self.proposals = 0
        self.best = None

    def __call__(self, formulas):
        results = self.reward(formulas)
        fresh = []
        for formula, result in zip(formulas, results, strict=True):
            fresh.append(formula.fingerprint not in self.known)
            judged = self.known.setdefault(formula.fingerprint, Judged(formula, result))
            judged.last_round = self.round
            if result.status is Status.OK and (self.best is None or judged.rank > self.best.rank):
                self.best = judged
        self.proposals += len(formulas)
        self.report = RoundReport(self.round, tuple(formulas), tuple(results), tuple(fresh), sum(fresh), 0, 0.0)
        self.round += 1
        return results

    def recent(self, count):
        return list(islice(reversed(self.known.values()), count))


def search(problem, seed):
    """Returns whether the problem was solved, and the judge."""
    reward = NguyenReward(problem)
    judge = LightJudge(reward)
    method = PPOSearch(SETTINGS, language(problem).grammar(), PER_ROUND, seed)
    while judge.proposals < BUDGET:
        method.run_round(judge)
        if judge.best is not None and reward.recovered(judge.best.formula):
            return True, judge
    return False, judge


def test_the_config_file_means_the_same_search():
    config = load_config(Path(__file__).parent / "nguyen.yaml")
    assert config.language == language(1)
    assert config.controller == SETTINGS
    assert config.search.formulas_per_round == PER_ROUND
    reward = build_target({"target": config.reward.target, **config.reward.arguments})
    assert isinstance(reward, NguyenReward)
    truth, cubic = Formula.parse("x**3 + x**2 + x"), Formula.parse("x**3 + x**2")
    exact, other = reward([truth, cubic])
    assert exact.value == pytest.approx(1.0)
    assert 0 < other.value < 0.9
    assert [reward.recovered(formula) for formula in (truth, cubic)] == [True, False]


def recover(problems):
    """Searches from every seed, prints a table, and returns how often each problem was recovered."""
    torch.set_num_threads(1)
    print("\nproblem  seed  recovered  proposals  formulas/s  best")
    recovered = dict.fromkeys(problems, 0)
    for problem in problems:
        for seed in SEEDS:
            started = time.perf_counter()
            found, judge = search(problem, seed)
            rate = judge.proposals / (time.perf_counter() - started)
            recovered[problem] += found
            line = f"{problem:7}  {seed:4}  {'yes' if found else 'no':9}  {judge.proposals:9,}  {rate:10,.0f}"
            print(f"{line}  {judge.best.formula} ({judge.best.result.value:.4f})", flush=True)
    print("recovered: " + ", ".join(f"Nguyen-{p} {n} of {len(SEEDS)}" for p, n in recovered.items()))
    return recovered


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_recovers_what_is_soon_recovered():
    assert sum(recover(EASY).values()) >= len(EASY) * len(SEEDS) - 1


@pytest.mark.long
@pytest.mark.timeout(86400)
def test_recovers_most_of_the_others():
    """Hours: up to 2 million proposals for each problem and seed."""
    assert sum(recover([p for p in PROBLEMS if p not in EASY]).values()) >= 9
