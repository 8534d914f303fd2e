"""A reward without training, and judges of it, for the tests of judging."""

import hashlib
import math
import sqlite3

import numpy as np
from helpers import evaluated

from rlsearch.formula import Formula
from rlsearch.judging.judge import Judge
from rlsearch.judging.settings import RescoringSettings
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status

NEVER = RescoringSettings(every=0)


def parse(*texts):
    return [Formula.parse(text) for text in texts]


X, RELU, TANH, SIN = parse("x", "relu(x)", "tanh(x)", "sin(x)")
SILU, LONG_SILU = parse("x * sigmoid(x)", "x / (1 + exp(-x))")
assert SILU.fingerprint == LONG_SILU.fingerprint


class FakeReward:
    """Two proxies without training: a score is a hash of function, proxy name and seed, in populations of two.

    A formula's reward is its mean score minus 0.01 per token, so a shorter spelling is the better one. A function
    with ``exp`` in the spelling that is evaluated is unfit, one with ``cosh`` diverges.
    """

    seeded = True
    proxy_names = rescoring_proxy_names = ("p", "q")

    def __init__(self, stop_at=None, baseline_seeds=3):
        self.references = [Training(RELU, p, s) for p in self.proxy_names for s in range(baseline_seeds)]
        self.stop_at = stop_at
        self.populations = 0
        self.requested = []
        self.baseline = None

    @staticmethod
    def score(request):
        text = f"{request.formula.fingerprint} {request.proxy} {request.seed}"
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32

    def refer(self, evaluations):
        self.baseline = np.mean([e.score for e in evaluations])

    def evaluate(self, requests):
        self.requested += requests
        for start in range(0, len(requests), 2):
            if self.populations == self.stop_at:
                raise KeyboardInterrupt
            self.populations += 1
            yield [self._evaluation(request) for request in requests[start : start + 2]]

    def _evaluation(self, request):
        for operator, status in (("exp", Status.UNFIT), ("cosh", Status.DIVERGED)):
            if operator in request.formula.tokens:
                return evaluated(request, None, status, message=operator, wall_seconds=0.5)
        return evaluated(request, self.score(request), latency=1.5, wall_seconds=0.5)

    def combine(self, formula, evaluations):
        evaluations = list(evaluations)
        bad = [e.result for e in evaluations if e.status is not Status.OK]
        if bad:
            return RewardResult(math.nan, bad[0].status, message=bad[0].message)
        score = math.fsum(e.score for e in evaluations) / len(evaluations)
        return RewardResult(score - self.baseline - 0.01 * formula.size, Status.OK, score)


ROUNDS = [
    parse("x", "tanh(x)", "x", "x / (1 + exp(-x))", "x + x", "cosh(x)", "sin(x)", "2 * x"),
    parse("cos(x)", "sin(x)", "x * x", "x**2", "x + sin(x)", "tanh(x)", "softplus(x)", "max(x, 0)"),
    parse("x * sigmoid(x)", "atan(x)", "sin(x) + x", "erf(x)", "atan(x)", "x * tanh(x)", "gauss(x)", "cos(x)"),
    parse("x - sin(x)", "erf(x)", "x", "softsign(x)", "x * x", "exp(x)", "asinh(x)", "asinh(x) + 0 * x"),
    parse("x * erf(x)", "x - 0 * x", "sin(x) * sin(x)", "relu(x)", "elu(x)", "x + x", "tanh(x) * x", "1 / x"),
]


def make_judge(reward, archive, first_round=0, seeds_per_formula=2, rescoring=None, **more):
    rescoring = rescoring or RescoringSettings(every=2, best=3, max_seeds=5)
    return Judge(
        reward, archive, lambda i: i, seeds_per_formula=seeds_per_formula, rescoring=rescoring,
        first_round=first_round, **more,
    )  # fmt: skip


def rows(path):
    """Everything in the archive but the wall times."""
    connection = sqlite3.connect(path)
    columns = "id, round, fingerprint, formula, protocol, seed, status, score, latency, value, message"
    found = [
        connection.execute(f"SELECT {columns} FROM evaluations ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM proposals ORDER BY round, slot").fetchall(),
    ]
    connection.close()
    return found


def state(judge):
    """What the controller and the leaderboard see of a judge."""
    return {k: (j.formula, repr(j.result), len(judge.ledger.of(k)), j.seeds, j.rung) for k, j in judge.known.items()}
