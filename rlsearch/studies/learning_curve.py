"""How much compute a baseline would need for the score of another function, read off its own measured curve.

The curve joins the measured points by lines over the logarithm of compute, and the last line goes on to twice the
largest budget. A power law ``loss(C) = E + A * C**-alpha``, as of scaling laws (Hoffmann et al. 2022, arXiv
2203.15556), is not fitted: it would go through any three points, noise included, and what it says beyond them hangs on
``E``, which they hardly determine. Lines are on the safe side there. Where returns of compute diminish, as by that law,
the curve bends towards its end and the line does not: it says that less compute is needed than really is, so a
function's speed-up is understated. Between two points the line says a little too much.
"""

import math
from dataclasses import dataclass

import numpy as np

from rlsearch.studies.methods import Estimate
from rlsearch.studies.paired import Floats

MOST_BEYOND = 2.0
"""So many times the largest budget is as far as a curve goes on."""

RESAMPLES = 10_000
"""Of the bootstrap; each end of a 95 % interval rests on 250 of them."""

ENDS = (0.025, 0.975)
"""The quantiles that a 95 % interval lies between."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A speed-up, or the least or most that it can be where the curve does not reach that far.

    Attributes:
        number: How many times.
        limit: ``">="`` or ``"<="`` where ``number`` is as far as the curve tells; else empty.
    """

    number: float
    limit: str = ""

    def __str__(self) -> str:
        """Such as ``"1.43"`` or ``">=2.00"``."""
        return f"{self.limit}{self.number:.2f}"


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """How many times the compute a baseline needs for a function's score, with its 95 % interval.

    Attributes:
        value: From the means over all seeds.
        low: The lower end.
        high: The upper end.
    """

    value: Factor
    low: Factor
    high: Factor

    @property
    def is_ahead(self) -> bool:
        """Whether the whole interval lies above 1: the function needs less."""
        return self.low.number > 1

    @property
    def is_behind(self) -> bool:
        """Whether the whole interval lies below 1."""
        return self.high.number < 1

    @property
    def cell(self) -> str:
        """For a column of a table: ``"1.43 (1.21-1.70)"``."""
        return f"{self.value} ({self.low}-{self.high})"


@dataclass(frozen=True, slots=True)
class SpeedUps:
    """What is read off a curve for one function.

    Attributes:
        difference: Its score minus that of the baseline at the largest budget.
        step_time: The time of one of its steps, as a ratio to the baseline's.
        at_equal_steps: How many times the steps the baseline needs for the same score.
        at_equal_time: How many times the time.
    """

    difference: Estimate
    step_time: Estimate
    at_equal_steps: SpeedUp
    at_equal_time: SpeedUp


def compute_needed(budgets: Floats, scores: Floats, wanted: Floats) -> Floats:
    """The compute at which a curve first reaches a score.

    Args:
        budgets: Compute, ascending, shape ``[budgets]``.
        scores: At each; higher is better; shape ``[curves, budgets]``.
        wanted: The score of each curve that is wanted, shape ``[curves]``.

    Returns:
        In the unit of ``budgets``, shape ``[curves]``. The smallest budget where even that one scores as much;
        :data:`MOST_BEYOND` times the largest one where the score is not reached before.
    """
    logs = np.log2(budgets)
    beyond = math.log2(MOST_BEYOND)
    slope = (scores[:, -1] - scores[:, -2]) / (logs[-1] - logs[-2])
    logs = np.append(logs, logs[-1] + beyond)
    scores = np.column_stack([scores, scores[:, -1] + beyond * slope])
    needed = np.full(len(scores), MOST_BEYOND * budgets[-1])

    # From the last line to the first: a curve that falls somewhere reaches a score several times, and first counts.
    for i in range(len(budgets) - 1, -1, -1):
        below, above = scores[:, i], scores[:, i + 1]
        is_here = (below < wanted) & (wanted <= above)
        share = (wanted - below)[is_here] / (above - below)[is_here]
        needed[is_here] = 2 ** (logs[i] + share * (logs[i + 1] - logs[i]))
    needed[wanted <= scores[:, 0]] = budgets[0]
    return needed


def speed_ups(budgets: Floats, baseline: Floats, scores: Floats, step_times: Floats, seed: int = 0) -> SpeedUps:
    """What the curve of a baseline says of one function, with percentile bootstrap intervals (Efron 1979).

    Seeds are drawn with replacement, the same draw for the function and for the baseline at all budgets, which share
    them. Rounds of timing are drawn beside them. Each interval is for one number by itself.

    Args:
        budgets: Compute of the baseline, ascending, the last of them that of the function; shape ``[budgets]``.
        baseline: Its scores, shape ``[budgets, seeds]``.
        scores: Of the function at the largest budget, from the same seeds, shape ``[seeds]``.
        step_times: Of one of its steps, as ratios to the baseline's, shape ``[rounds]``.
        seed: Of the draws; the result depends on nothing else.
    """
    rng = np.random.default_rng(seed)
    seeds, rounds = len(scores), len(step_times)
    # The first row of each is what was measured, and the others are draws from it.
    drawn = np.vstack([np.arange(seeds), rng.integers(0, seeds, (RESAMPLES, seeds))])
    timed = np.vstack([np.arange(rounds), rng.integers(0, rounds, (RESAMPLES, rounds))])
    curves, reached = baseline[:, drawn].mean(axis=2).T, scores[drawn].mean(axis=1)
    times = np.median(step_times[timed], axis=1)

    relative = budgets / budgets[-1]
    steps = compute_needed(relative, curves, reached)
    at_equal_steps = _speed_up(steps, _limits(steps, float(relative[0])))
    # A limit of the steps is one of the time too.
    limits = (at_equal_steps.value.limit, at_equal_steps.low.limit, at_equal_steps.high.limit)
    at_equal_time = _speed_up(steps / times, limits)
    return SpeedUps(_estimate(reached - curves[:, -1]), _estimate(times), at_equal_steps, at_equal_time)


def _ends(values: Floats) -> tuple[float, float, float]:
    """What was measured, which comes first, and the ends of the interval."""
    low, high = np.quantile(values[1:], ENDS).tolist()
    return float(values[0]), low, high


def _estimate(values: Floats) -> Estimate:
    return Estimate(*_ends(values))


def _limits(steps: Floats, least: float) -> tuple[str, str, str]:
    value, low, high = _ends(steps)
    return _limit(value, least), _limit(low, least), _limit(high, least)


def _limit(number: float, least: float) -> str:
    if number >= MOST_BEYOND:
        return ">="
    return "<=" if number <= least else ""


def _speed_up(values: Floats, limits: tuple[str, str, str]) -> SpeedUp:
    value, low, high = map(Factor, _ends(values), limits)
    return SpeedUp(value, low, high)
