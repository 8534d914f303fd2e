"""Refining: the constants of the leaders are trained, and what they have learned makes new formulas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlsearch.formula import Formula
from rlsearch.formula.simplify import shown, simplified
from rlsearch.formula.tuning import family, with_learned, with_parameters
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import Judge
from rlsearch.judging.mirrors import best_groups
from rlsearch.judging.settings import RefiningSettings
from rlsearch.rewards.base import Status

LOOKED_AT = 4
"""So many times the wanted number of leaders are looked at: many have no constant."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What became of the constants of one function.

    Attributes:
        before: The function.
        tuned: The same with parameters in the place of its constants.
        after: The function with what they have learned; None where every training diverged.
    """

    before: Judged
    tuned: Judged
    after: Judged | None

    @property
    def gain(self) -> float:
        """How much higher the reward is with the constants that were learned; NaN where one has no score."""
        if self.after is None or Status.OK not in (self.before.result.status, self.after.result.status):
            return math.nan
        return self.after.reward - self.before.reward

    def __repr__(self) -> str:
        after = shown(self.after.formula) if self.after else "nothing"
        return f"<{shown(self.before.formula)} became {after}: {self.gain:+.4f}>"


def refine_leaders(judge: Judge, settings: RefiningSettings) -> list[Refinement]:
    """Refines the leaders of a search, as a round of its own: what is trained is judged and stored like all else.

    A function whose constants were trained before, from whatever values, is not taken again.

    Args:
        judge: Of the search; its reward trains proxies.
        settings: How many leaders, and from how many seeds.

    Returns:
        One for each leader with constants; nothing is judged if there is none.
    """
    chosen = _chosen(judge, settings.best)
    if not chosen:
        return []
    tuned = [formula for _, formula in chosen]
    learned = judge.train(tuned, settings.seeds)
    refined = [simplified(with_learned(f, v)) if v else None for f, v in zip(tuned, learned, strict=True)]
    judge([*tuned, *(formula for formula in refined if formula is not None)])

    def judged(formula: Formula) -> Judged:
        return judge.known[formula.fingerprint]

    rows = []
    for (before, formula), after in zip(chosen, refined, strict=True):
        rows.append(Refinement(before, judged(formula), None if after is None else judged(after)))
    return rows


def _chosen(judge: Judge, count: int) -> list[tuple[Judged, Formula]]:
    """The best functions that have constants, each with its formula with parameters; best first."""
    seen = {family(known.formula) for known in judge.known.values() if known.formula.parameters}
    chosen = []
    for leader in _leaders(judge, LOOKED_AT * count):
        tuned = with_parameters(simplified(leader.formula))
        if tuned is not None and family(tuned) not in seen:
            seen.add(family(tuned))
            chosen.append((leader, tuned))
    return chosen[:count]


def _leaders(judge: Judge, count: int) -> Sequence[Judged]:
    # Mirror images have the same constants.
    return [group.best for group in best_groups(judge.history.found, count)]
