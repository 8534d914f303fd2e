"""Paired differences between functions and baselines, with an error rate that holds for all of them together.

Function and baseline are trained from the same seeds on the same data, so each seed gives one difference, free of what
both share. The differences are judged in two ways that fail differently: an interval, and a permutation test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_UNKNOWN = 0.1  # of the error rate: so rarely may a row's t be unknown, or it would widen every other interval


@dataclass(frozen=True, slots=True)
class Differences:
    """Mean paired differences, each array of shape ``[functions, baselines]``.

    Attributes:
        mean: Function minus baseline, over seeds.
        low: Lower end of the simultaneous interval; minus infinity where there are too few seeds to tell.
        high: Its upper end.
        p: Two-sided p-value, corrected for the number of pairs.
        confidence: That all the intervals hold at once.
    """

    mean: Floats
    low: Floats
    high: Floats
    p: Floats
    confidence: float

    @property
    def better(self) -> Bools:
        """Where interval and test both say that the function is better."""
        return (self.low > 0) & (self.p < 1 - self.confidence)

    @property
    def worse(self) -> Bools:
        """Where both say that it is worse."""
        return (self.high < 0) & (self.p < 1 - self.confidence)

    def of_functions(self, order: Sequence[int]) -> "Differences":
        """Returns the rows of these functions, in this order."""
        rows = np.array(order, dtype=np.intp)
        return Differences(self.mean[rows], self.low[rows], self.high[rows], self.p[rows], self.confidence)


def compare(
    scores: Floats,
    baselines: Floats,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    permutations: int = 99_999,
    seed: int = 0,
) -> Differences:
    """Compares every function with every baseline.

    Args:
        scores: Shape ``[functions, seeds]``, finite.
        baselines: Shape ``[baselines, seeds]``; column i of both was trained from the same seed on the same data.
        confidence: Of all intervals together.
        resamples: Of the bootstrap.
        permutations: Of the sign-flip test. Two to the number of seeds is exact, and is taken where it is not more.
        seed: Of both; the result depends on nothing else.
    """
    seeds = scores.shape[1]
    assert seeds == baselines.shape[1] >= 2
    pairs = (scores[:, None, :] - baselines[None, :, :]).reshape(-1, seeds)
    low, high = simultaneous_intervals(pairs, confidence, resamples, seed)
    p = holm(sign_flip_p(pairs, permutations, seed))
    mean, low, high, p = (a.reshape(len(scores), len(baselines)) for a in (pairs.mean(axis=1), low, high, p))
    return Differences(mean, low, high, p, confidence)


def simultaneous_intervals(
    differences: Floats, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Returns intervals for the mean of every row which all hold at once with probability ``confidence``.

    Bootstrap-t of the largest deviation: seeds are drawn with replacement, the same draw for all rows, so that the
    rows' correlation is kept; every row is studentised by its own standard error in the draw; and the quantile of
    the largest |t| is the half-width in standard errors. Where a draw has the same value throughout, its t is
    infinite. A row of which too many draws are such, for there are four seeds or fewer or most of its differences are
    equal, gets the whole line, which is honest, and leaves the others' intervals as they are. A row whose
    differences are all equal has no standard error, and an interval of no width.

    Source: Efron 1979 and Hall 1988 (bootstrap-t); Westfall and Young 1993, and Romano and Wolf 2005 (largest t).

    Args:
        differences: Shape ``[rows, seeds]``.
        confidence: Of all rows together.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        Lower and upper ends, shape ``[rows]``.
    """
    seeds = differences.shape[1]
    mean = differences.mean(axis=1)
    centred = differences - mean[:, None]
    # In units of the row's largest value: what rounding leaves of equal differences is then recognised as nothing.
    scale = np.maximum(np.abs(differences).max(axis=1, initial=0), np.finfo(float).tiny)
    varying = np.abs(centred).max(axis=1, initial=0) > 1e-9 * scale
    error = np.where(varying, centred.std(axis=1, ddof=1) / math.sqrt(seeds), 0.0)
    if not varying.any():
        return mean, mean.copy()
    draws = np.random.default_rng(seed).integers(0, seeds, (resamples, seeds))
    counts = np.stack([np.bincount(draw, minlength=seeds) for draw in draws]).astype(float)  # [resamples, seeds]
    place = min(math.ceil(confidence * (resamples + 1)), resamples)
    largest = np.zeros(resamples)
    unbounded = np.zeros(len(differences), dtype=np.bool_)
    units = centred[varying] / np.abs(centred[varying]).max(axis=1, keepdims=True)
    # Row by row: memory for resamples x seeds, whatever the number of pairs.
    for index, row in zip(np.flatnonzero(varying), units, strict=True):
        moved = counts @ row / seeds
        variance = np.maximum(counts @ row**2 / seeds - moved**2, 0) * seeds / (seeds - 1)
        known = variance > 1e-12
        if 1 - known.mean() > _UNKNOWN * (1 - confidence):
            unbounded[index] = True
            continue
        t = np.full(resamples, math.inf)
        t[known] = np.abs(moved[known]) / np.sqrt(variance[known] / seeds)
        np.maximum(largest, t, out=largest)
    quantile = np.partition(largest, place - 1)[place - 1]
    half = np.where(unbounded, math.inf, np.where(varying, quantile, 0.0) * error)
    return mean - half, mean + half


def sign_flip_p(differences: Floats, permutations: int = 99_999, seed: int = 0) -> Floats:
    """Returns the two-sided p-value of every row of ``differences``, shape ``[rows, seeds]``.

    If function and baseline are equally good, each seed's difference might as well have the other sign. All sign
    patterns are gone through where there are few; else random ones are drawn, and the observed one counts as drawn,
    so that p is never zero.

    Source: Fisher 1935; Phipson and Smyth 2010 for the p-value of random permutations.
    """
    if not len(differences):
        return np.zeros(0)
    tested = stats.permutation_test(
        (differences,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",  # of one sample: its signs
        vectorized=True,
        n_resamples=permutations,
        batch=max(1, 4_000_000 // differences.size),  # some tens of megabytes at a time
        axis=1,
        rng=np.random.default_rng(seed),
    )
    return np.asarray(tested.pvalue, dtype=np.float64)


def holm(p: Floats) -> Floats:
    """Returns p-values corrected for their number; below 0.05, at most one family in twenty has a false one.

    Source: Holm 1979.
    """
    from statsmodels.stats.multitest import multipletests  # brings pandas, and so takes a second

    return np.asarray(multipletests(p, method="holm")[1], dtype=np.float64) if p.size else p


def pareto_front(latency: Floats, score: Floats) -> Bools:
    """Returns which points no other point beats: none is as fast and as good, and better in one of the two.

    Args:
        latency: Shape ``[points]``; lower is better.
        score: Shape ``[points]``; higher is better. A NaN is never on the front.
    """
    better_or_equal = (latency[None, :] <= latency[:, None]) & (score[None, :] >= score[:, None])
    strictly = (latency[None, :] < latency[:, None]) | (score[None, :] > score[:, None])
    front: Bools = ~(better_or_equal & strictly).any(axis=1) & ~np.isnan(score)
    return front
