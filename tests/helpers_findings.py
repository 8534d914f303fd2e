"""Findings made up for tests."""

import numpy as np

from rlsearch.proxies.tasks import CLASSIFICATION, GAIN, Classification
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.rates import ChosenRate

NATS = Classification(name="next token", score="minus cross-entropy", unit="nats", gain="nats lower", scale="nats")
"""The words of a second task, whose scores are losses with the sign changed."""

BETWEEN = ChosenRate(0.01, ((0.003, 0.4), (0.01, 0.5), (0.03, 0.3)))
"""A learning rate with one on either side that is worse."""

AT_AN_END = ChosenRate(0.03, ((0.003, 0.4), (0.01, 0.5), (0.03, 0.6)))

TITLES = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU"}


def finding(formula, scores, name="", latency=1.0, spread=(0.9, 1.2), **more):
    """A finding; its learning rate lies between two others unless told otherwise."""
    fields = {"searched": None, "rates": (BETWEEN,), "drops": (0.1, 0.2)} | more
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
        finding("x * atan(x)", noisy(0.65, 2), searched=0.66, latency=1.8, rates=(ChosenRate(0.03),)),
        finding("exp(x)", [np.nan, *noisy(0.5, 3)[1:]], searched=0.5),
    ]
    return findings_of(
        formulas, [baseline("relu", noisy(0.5, 4)), baseline("gelu", noisy(0.6, 5), latency=2.0)], **more
    )


def panel(**more):
    """A panel of two proxies: as a whole, and on each of them by name; the baselines lie 2 and 0.5 apart."""
    base = noisy(0.5, 0)
    found = {}
    for name, words, spread in (("spots-mlp", CLASSIFICATION, 2.0), ("chars-mlp", NATS, 0.5)):
        found[name] = findings_of(
            [
                finding("x * x", base + noisy(0.2 * spread, 1), gain=1.25, outside=0.375, drops=(0.25, np.inf)),
                finding("sin(x)", base + noisy(-0.2 * spread, 2), gain=-0.5),
            ],
            [baseline("relu", base, gain=0.0), baseline("gelu", base + 0.1 * spread, gain=0.5)],
            words=words,
            proxy=name,
            spread=spread,
        )
    whole = findings_of(
        [
            finding("x * x", base + noisy(0.2, 1), searched=0.7, rates=(BETWEEN, AT_AN_END), drops=(0.5, np.inf)),
            finding("sin(x)", base + noisy(-0.2, 2), rates=(BETWEEN, BETWEEN)),
        ],
        [baseline("relu", base, rates=(BETWEEN, BETWEEN)), baseline("gelu", base + 0.1, rates=(BETWEEN, BETWEEN))],
        words=GAIN,
        spread=1.0,
        **more,
    )
    return whole, found
