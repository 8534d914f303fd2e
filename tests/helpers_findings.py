"""Findings made up for tests."""

import numpy as np

from rlsearch.proxies.tasks import Classification
from rlsearch.studies.findings import Finding, Findings

NATS = Classification(name="next token", score="minus cross-entropy", unit="nats", gain="nats lower", scale="nats")
"""The words of a second task, whose scores are losses with the sign changed."""

TITLES = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU"}


def finding(formula, scores, name="", latency=1.0, spread=(0.9, 1.2), **more):
    fields = {"searched": None, "learning_rates": (0.01,), "at_an_end": False} | more
    return Finding(
        name=name, title=TITLES.get(name, formula), formula=formula, scores=np.asarray(scores, dtype=float),
        latency=latency, latency_low=spread[0] * latency, latency_high=spread[1] * latency, **fields,
    )  # fmt: skip


def baseline(name, scores, latency=1.0, **more):
    return finding(f"{name}(x)", scores, name, latency, **more)


def noisy(mean, seed=0, seeds=20, spread=0.01):
    return mean + spread * np.random.default_rng(seed).standard_normal(seeds)


def findings_of(formulas, baselines, **more):
    return Findings.of(formulas, baselines, latency_label="some kernel, some cpu", **more)


def typical(**more):
    """A clear winner, one that is undecided, one that diverged; GELU hard to beat, ReLU easy."""
    formulas = [
        finding("x * x", noisy(0.601, 1), searched=0.62, latency=0.5),
        finding("x * atan(x)", noisy(0.65, 2), searched=0.66, latency=1.8, learning_rates=(0.03,)),
        finding("exp(x)", [np.nan, *noisy(0.5, 3)[1:]], searched=0.5),
    ]
    return findings_of(
        formulas, [baseline("relu", noisy(0.5, 4)), baseline("gelu", noisy(0.6, 5), latency=2.0)], **more
    )
