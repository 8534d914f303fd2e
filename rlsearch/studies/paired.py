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

MAX_UNKNOWN_SHARE = 0.1
"""Of the error rate. A row whose t is unknown in more draws than this gets no interval: it would widen all others."""


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
        """The rows of these functions, in this order."""
        rows = np.array(order, dtype=np.intp)
        return Differences(self.mean[rows], self.low[rows], self.high[rows], self.p[rows], self.confidence)


def paired_differences(
    scores: Floats,
    baselines: Floats,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    permutations: int = 99_999,
    seed: int = 0,
) -> Differences:
    """Compares every function with every baseline, seed by seed.

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
    table = (len(scores), len(baselines))
    return Differences(
        pairs.mean(axis=1).reshape(table), low.reshape(table), high.reshape(table), p.reshape(table), confidence
    )


def simultaneous_intervals(
    differences: Floats, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Intervals for the mean of every row, which all hold at once with probability ``confidence``.

    Bootstrap-t of the largest deviation. Seeds are drawn with replacement, the same draw for all rows, so that the
    rows' correlation is kept. In each draw every row is divided by its own standard error. The quantile of the
    largest |t| is the half-width in standard errors.

    Where a draw has the same value throughout, its t is infinite. Too many draws are such where there are four seeds
    or fewer, or where most of a row's differences are equal. Such a row gets the whole line, which is honest, and
    leaves the others' intervals as they are. A row whose differences are all equal has no standard error, and an
    interval of no width.

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
    if not varying.any():
        return mean, mean.copy()

    # Row by row: memory for resamples x seeds, whatever the number of pairs.
    draws = np.random.default_rng(seed).integers(0, seeds, (resamples, seeds))
    counts = np.stack([np.bincount(draw, minlength=seeds) for draw in draws]).astype(float)  # [resamples, seeds]
    largest = np.zeros(resamples)
    unbounded = np.zeros(len(differences), dtype=np.bool_)
    units = centred[varying] / np.abs(centred[varying]).max(axis=1, keepdims=True)
    for index, row in zip(np.flatnonzero(varying), units, strict=True):
        t = _absolute_t(row, counts)
        if 1 - np.isfinite(t).mean() > MAX_UNKNOWN_SHARE * (1 - confidence):
            unbounded[index] = True
        else:
            np.maximum(largest, t, out=largest)

    # The smallest order statistic that covers ``confidence``, the observed sample counted as one more draw.
    place = min(math.ceil(confidence * (resamples + 1)), resamples)
    quantile = np.partition(largest, place - 1)[place - 1]
    error = centred.std(axis=1, ddof=1) / math.sqrt(seeds)
    half = np.zeros(len(differences))
    half[varying] = quantile * error[varying]
    half[unbounded] = math.inf
    return mean - half, mean + half


def _absolute_t(row: Floats, counts: Floats) -> Floats:
    """The |t| of one row in every draw; infinite where a draw has the same value throughout.

    Args:
        row: Deviations from the row's mean, the largest of them 1; shape ``[seeds]``.
        counts: How often each seed was drawn, shape ``[resamples, seeds]``.
    """
    seeds = len(row)
    moved = counts @ row / seeds
    variance = np.maximum(counts @ row**2 / seeds - moved**2, 0) * seeds / (seeds - 1)
    known = variance > 1e-12
    t = np.full(len(counts), math.inf)
    t[known] = np.abs(moved[known]) / np.sqrt(variance[known] / seeds)
    return t


def sign_flip_p(differences: Floats, permutations: int = 99_999, seed: int = 0) -> Floats:
    """The two-sided p-value of every row of ``differences``, shape ``[rows, seeds]``.

    If function and baseline are equally good, each seed's difference might as well have the other sign. All sign
    patterns are tried where there are few. Otherwise random ones are drawn, and the observed one counts as drawn, so
    that p is never zero.

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
    """P-values corrected for their number: below 0.05, at most one family in twenty has a false one.

    Step down: the smallest of n is multiplied by n, the next by n - 1, and so on; none may fall below the one before.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    order = np.argsort(p)
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected


def pareto_front(latency: Floats, score: Floats) -> Bools:
    """Which points no other point beats: none is as fast and as good, and better in one of the two.

    Args:
        latency: Shape ``[points]``; lower is better.
        score: Shape ``[points]``; higher is better. A NaN is never on the front.
    """
    better_or_equal = (latency[None, :] <= latency[:, None]) & (score[None, :] >= score[:, None])
    strictly = (latency[None, :] < latency[:, None]) | (score[None, :] > score[:, None])
    front: Bools = ~(better_or_equal & strictly).any(axis=1) & ~np.isnan(score)
    return front
