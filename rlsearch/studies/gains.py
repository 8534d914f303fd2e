"""Scores from fresh seeds as gains, in the one unit that proxies of different kinds share: spreads of the baselines.

It is the unit of the search's reward (see :mod:`rlsearch.rewards.scale`), measured anew on the fresh trainings. There
each seed may have a data set of its own, some of them harder than others. So a gain is counted over the reference's
score of the same seed, and only the spread comes from means over seeds.

Scores of a single proxy need no such unit: they are reported in their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlsearch.errors import RewardError
from rlsearch.formula import Formula
from rlsearch.proxies.tasks import GAIN, Words
from rlsearch.rewards.base import RewardResult
from rlsearch.rewards.scale import MOST_SPREADS, combined
from rlsearch.rewards.settings import RewardSettings, function
from rlsearch.studies.paired import Floats


def is_panel(reward: RewardSettings) -> bool:
    """Whether functions are compared by gains, because there are several proxies."""
    return len(reward.proxies) > 1


def words_of_scores(reward: RewardSettings) -> Words:
    """What is compared: gains on a panel, or scores on the single proxy."""
    return GAIN if is_panel(reward) else reward.proxies[0].task


def searched_score(result: RewardResult, reward: RewardSettings) -> tuple[float | None, float | None]:
    """What the search saw of a function, and its standard error, in the unit in which functions are compared."""
    if reward.in_spreads and not is_panel(reward):
        # The search's own score is the gain, and so is the error.
        return result.scores.get(reward.names[0]), None
    return result.score, result.standard_error


@dataclass(frozen=True, eq=False, slots=True)
class Gains:
    """What functions gain over the reference. NaN where a training diverged.

    Attributes:
        of_proxies: In spreads, cut at :data:`~rlsearch.rewards.scale.MOST_SPREADS`; ``[functions, proxies, seeds]``.
        combined: Over the proxies, as the reward does it; ``[functions, seeds]``.
        spreads: The distance between the best and the worst baseline on each proxy, each a mean over seeds; in the
            unit of the proxy's score, ``[proxies]``.
        noise: How much the difference between a baseline and the reference varies from seed to seed: its standard
            deviation, ``[proxies]``; NaN from a single seed.
    """

    of_proxies: Floats
    combined: Floats
    spreads: Floats
    noise: Floats

    @classmethod
    def of(cls, scores: Floats, formulas: Sequence[Formula], reward: RewardSettings) -> "Gains":
        """Counts gains.

        Args:
            scores: Shape ``[functions, proxies, seeds]``, NaN where a training diverged.
            formulas: The functions. Those of ``reward.scale_functions`` are among them.
            reward: Has the reference, the baselines, and how gains on several proxies become one.

        Raises:
            RewardError: If the reference itself diverged, or all of the baselines: there is no unit then.
        """
        places = {formula.fingerprint: i for i, formula in enumerate(formulas)}
        reference = places[function(reward.reference).fingerprint]
        baselines = {places[function(text).fingerprint] for text in reward.baselines}
        for i, name in enumerate(reward.names):
            if np.isnan(scores[reference, i]).any():
                raise RewardError(
                    f"{reward.reference} diverges on {name} from some seeds, so gains cannot be counted from it; "
                    "lower the learning_rate, or take another reference"
                )
            if np.isnan(scores[sorted(baselines), i]).any(axis=1).all():
                raise RewardError(
                    f"all of the baselines {', '.join(reward.baselines)} diverge on {name} from some seeds, so there "
                    "is no unit for gains; lower the learning_rate, or take others"
                )
        differences = scores - scores[reference]
        spreads = _range(differences[sorted(baselines)].mean(axis=2))
        noise = _noise(differences[sorted(baselines - {reference})])

        cut = np.clip(in_spreads(differences, spreads[:, None]), -MOST_SPREADS, MOST_SPREADS)
        return cls(cut, _combined(cut, reward.combine), spreads, noise)


def in_spreads(differences: Floats, spreads: Floats) -> Floats:
    """Differences of scores as shares of the spreads; 0 where there is no spread, for nothing can be told there."""
    # An infinite difference without a spread is not a number, and no warning either.
    with np.errstate(invalid="ignore"):
        return differences / np.where(spreads > 0, spreads, np.inf)


def _range(means: Floats) -> Floats:
    """The distance between the best and the worst on each proxy, of means ``[baselines, proxies]``.

    A baseline that diverged has no mean, and is left out.
    """
    highest: Floats = np.nanmax(means, axis=0)
    lowest: Floats = np.nanmin(means, axis=0)
    return highest - lowest


def _noise(differences: Floats) -> Floats:
    """The standard deviation between seeds, of differences ``[baselines, proxies, seeds]``: pooled over baselines."""
    if differences.shape[2] < 2:
        return np.full(differences.shape[1], np.nan)
    variances = differences.var(axis=2, ddof=1)
    known = ~np.isnan(variances)
    pooled: Floats = np.where(known, variances, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.sqrt(pooled)


def _combined(gains: Floats, how: str) -> Floats:
    """Gains ``[functions, proxies, seeds]`` combined over proxies; NaN where one is."""
    functions, _, seeds = gains.shape
    result = np.full((functions, seeds), np.nan)
    for i, j in zip(*np.nonzero(~np.isnan(gains).any(axis=1)), strict=True):
        result[i, j] = combined(gains[i, :, j].tolist(), how)
    return result
