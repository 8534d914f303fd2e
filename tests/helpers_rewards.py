"""Rewards of a user's own, as configs of tests name them: ``helpers_rewards:Size``."""

import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from helpers import evaluated

from rlsearch.rewards.base import RewardResult, Status


class Size:
    """Shorter is better. With ``log``, every call appends a line per formula; with ``seconds``, it takes its time."""

    def __init__(self, log=None, seconds=0.0):
        self.log = log
        self.seconds = seconds

    def __call__(self, formulas):
        time.sleep(self.seconds)
        if self.log:
            with Path(self.log).open("a") as file:
                file.writelines(f"{formula.fingerprint}\n" for formula in formulas)
        return [RewardResult(-float(formula.size), score=1.0) for formula in formulas]


class Fussy:
    """Raises for formulas with a sine."""

    def __call__(self, formulas):
        if any("sin" in formula.tokens for formula in formulas):
            raise ValueError("no sines please")
        return [RewardResult(1.0) for _ in formulas]


def miscounting():
    """A function may be a target too; this reward returns one result too few."""
    return lambda formulas: [RewardResult(1.0) for _ in formulas[1:]]


def nothing():
    return None


def not_a_number():
    return lambda formulas: [RewardResult(float("nan")) for _ in formulas]


def unfit():
    return lambda formulas: [RewardResult(5.0, Status.UNFIT, message="a matter of taste") for _ in formulas]


class Staged:
    """A staged reward: the score is the size plus the seed, which is to show that every part is used."""

    proxy_names = rescoring_proxy_names = ("size", "depth")
    references = ()
    seeded = True

    def refer(self, evaluations):
        assert list(evaluations) == []

    def evaluate(self, requests):
        for request in requests:
            of = {"size": request.formula.size, "depth": request.formula.depth}
            yield [evaluated(request, float(of[request.proxy] + request.seed))]

    def combine(self, formula, evaluations):
        scores = [evaluation.score for evaluation in evaluations]
        return RewardResult(sum(scores) / len(scores), score=scores[0])


class NumpyStaged(Staged):
    """The same in numpy's numbers."""

    def combine(self, formula, evaluations):
        result = super().combine(formula, evaluations)
        return RewardResult(np.float32(result.value), score=np.float64(result.score))


class Picky:
    """Every third formula of a call is screened out before the others are scored; one is trained at a time."""

    proxy_names = rescoring_proxy_names = ("p",)
    references = ()
    seeded = False

    def refer(self, evaluations):
        assert list(evaluations) == []

    def evaluate(self, requests):
        yield [evaluated(request, None, Status.UNFIT) for request in requests if request.formula.size % 3 == 0]
        for request in requests:
            if request.formula.size % 3:
                yield [evaluated(request, 1 / request.formula.size)]

    def combine(self, formula, evaluations):
        (evaluation,) = evaluations
        return RewardResult(evaluation.score or 0.0, evaluation.status, evaluation.score)


class Killing:
    """Kills its own process in the given call, as no handler could prevent."""

    def __init__(self, call):
        self.calls_left = call

    def __call__(self, formulas):
        self.calls_left -= 1
        if self.calls_left < 0:
            os.kill(os.getpid(), 9)
        return [RewardResult(0.0) for _ in formulas]


class Reseeding:
    """Leaves random numbers, gradient mode and folder as a program of its own would want them, or leaves them alone."""

    def __init__(self, disturbs):
        self.disturbs = disturbs

    def __call__(self, formulas):
        if self.disturbs:
            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
            torch.set_grad_enabled(False)
            os.chdir("/")
        return [RewardResult(1.0 / formula.size, score=1.0) for formula in formulas]


def plain(formulas, scale=1.0):
    """A reward that no factory makes."""
    return [RewardResult(scale * formula.size) for formula in formulas]


class Dangerous:
    """Hangs for a sine, and ends its process for a tanh."""

    def __call__(self, formulas):
        for formula in formulas:
            while "sin" in formula.tokens:
                time.sleep(60)
            if "tanh" in formula.tokens:
                os._exit(3)
        return [RewardResult(float(formula.size)) for formula in formulas]
