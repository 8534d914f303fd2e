"""Functions as they stand on a leaderboard, and the report of a round."""

import math

from rlsearch.formula import Formula
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import RoundReport
from rlsearch.rewards.base import RewardResult, Status


def judged(text, score, latency, **more):
    return Judged(Formula.parse(text), RewardResult(score, Status.OK, score, latency), 1, **more)


def a_board():
    silu, relu = Formula.parse("x * sigmoid(x)"), Formula.parse("relu(x)")
    return [
        Judged(silu, RewardResult(0.0123456, Status.OK, 0.75, 2.345), seeds=2),
        Judged(relu, RewardResult(-0.5)),
    ]


def of_panel(text, gains, seeds=1):
    scores = {name: gain / 10 for name, gain in gains.items()}
    result = RewardResult(math.fsum(gains.values()), Status.OK, 0.5, 1.5, scores=scores, gains=gains)
    return Judged(Formula.parse(text), result, seeds=seeds)


def a_report():
    results = (
        RewardResult(0.5, Status.OK, 0.75, 2.0),
        RewardResult(-1.0, Status.UNFIT, None, 3.0),
        RewardResult(0.5, Status.OK, 0.75, 2.0),
        RewardResult(-2.0, Status.DIVERGED),
    )
    formulas = tuple(Formula.parse(t) for t in ("x * sigmoid(x)", "exp(x)", "x * sigmoid(x)", "x + x**3"))
    return RoundReport(3, formulas, results, (True, True, False, True), candidates=2, evaluations=6, seconds=2.0)
