"""How much better a score is than the reference's, in a unit that proxies of different kinds share."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_SPREADS = 3.0
"""Gains are cut here on both sides, so that one catastrophe, or one stroke of luck, does not decide a panel."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of one proxy.

    Points and nats do not add up; what a score gains over the reference's, as a share of the distance between the best
    and the worst of the baselines on the same proxy, does.

    Attributes:
        reference: The reference's score, a mean over seeds.
        spread: The distance between the best and the worst baseline, each a mean over seeds; at least ``noise``, or
            luck would pass for gain.
        noise: Standard deviation between seeds, of one function.
    """

    reference: float
    spread: float
    noise: float

    @classmethod
    def of(cls, reference: Sequence[float], baselines: Mapping[str, Sequence[float]]) -> "Scale":
        """The scale that the trainings of the reference and the baselines make.

        Args:
            reference: Its scores, one per seed.
            baselines: Those of each, by name; one that diverged everywhere has none, and is left out.
        """
        trained = [scores for scores in baselines.values() if scores]
        means = [statistics.fmean(scores) for scores in trained]
        variances = [statistics.variance(scores) for scores in trained if len(scores) > 1]
        noise = math.sqrt(statistics.fmean(variances)) if variances else 0.0
        spread = max(means) - min(means)
        return cls(statistics.fmean(reference), max(spread, noise), noise)

    def gain(self, score: float) -> float:
        """What a score gains over the reference, in spreads, cut at :data:`MOST_SPREADS`."""
        if not self.spread:
            return 0.0
        return max(-MOST_SPREADS, min(MOST_SPREADS, (score - self.reference) / self.spread))


def combined(gains: Sequence[float], how: str) -> float:
    """One number of the gains on all proxies.

    Args:
        gains: In spreads, at least one.
        how: ``mean``; ``worst``; or ``softmin``, which lies between the two: minus the logarithm of the mean of
            ``exp(-gain)``. A gain that is one spread lower than another weighs ``e`` times as much.
    """
    if how == "worst":
        return min(gains)
    if how == "softmin":
        # Gains are cut, so nothing overflows.
        return -math.log(math.fsum(math.exp(-gain) for gain in gains) / len(gains))
    return math.fsum(gains) / len(gains)
