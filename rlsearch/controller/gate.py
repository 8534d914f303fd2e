"""The surrogate's gate: more formulas are written than judged, and those it expects least of are dropped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.judging.judge import Judge, RoundReport
from rlsearch.search.surrogate import Surrogate, rank_correlation

MIN_EXAMPLES_FOR_SURROGATE = 64
"""Functions from which the surrogate orders new ones with a rank correlation of about 0.6."""

EXPLORATION_SHARE = 0.1
"""Share of a round's functions that are drawn at random, so that the surrogate learns where it is wrong."""

UCB_STD = 1.0
"""Standard deviations added to a prediction; with none the search soon sees only what it knows."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which proposals of a round are judged.

    Attributes:
        judged: Their indices among the proposals, in order.
        predicted: The surrogate's reward for every proposal; 0 where it was not asked.
        skipped: New functions that are not judged.
    """

    judged: list[int]
    predicted: NDArray[np.float64]
    skipped: int = 0


class Gate:
    """Lets a round's most promising formulas through.

    Args:
        written_per_judged: Formulas proposed for each that is judged; with 1 everything is judged.
        formulas_per_round: New functions judged in one round, at most.
        seed: Of the surrogate.
        inputs: Names of the language's inputs.
        warm_start: Formulas that are never dropped in the first round.

    Attributes:
        surrogate: What predicts rewards.
    """

    def __init__(
        self,
        written_per_judged: int,
        formulas_per_round: int,
        seed: int,
        inputs: Sequence[str],
        warm_start: Sequence[Formula] = (),
    ) -> None:
        self.surrogate = Surrogate(inputs)
        self._is_open = written_per_judged == 1
        self._formulas_per_round = formulas_per_round
        self._seed = seed
        self._warm_start = {formula.fingerprint for formula in warm_start}

    def choose(self, proposals: Sequence[Formula], judge: Judge, rng: np.random.Generator) -> Choice:
        """Decides which proposals are judged.

        What is known costs nothing and is judged in any case, as is the warm start. Of the other new functions there
        are at most ``formulas_per_round``: those with the highest upper confidence bound (Srinivas et al. 2010, arXiv
        0912.3995), and a share drawn at random.
        """
        predicted = np.zeros(len(proposals))
        if self._is_open:
            return Choice(list(range(len(proposals))), predicted)
        seeds = self._warm_start if judge.round == 0 else set()
        certain = [i for i, f in enumerate(proposals) if f.fingerprint in judge.known or f.fingerprint in seeds]
        # Of the spellings of a new function the first one stands for it.
        first: dict[str, int] = {}
        for i in sorted(set(range(len(proposals))).difference(certain)):
            first.setdefault(proposals[i].fingerprint, i)
        unknown = rng.permutation(list(first.values())).tolist()
        # In their random order some are kept unseen; the rest follow, the most promising first.
        if len(judge.known) >= MIN_EXAMPLES_FOR_SURROGATE:
            self.surrogate.fit(judge.known.values(), self._seed)
            predicted, spread = self.surrogate.predict(proposals)
            hoped = predicted + UCB_STD * spread
            drawn = round(EXPLORATION_SHARE * self._formulas_per_round)
            unknown = [*unknown[:drawn], *sorted(unknown[drawn:], key=lambda i: -hoped[i])]
        kept = set(unknown[: self._formulas_per_round])
        return Choice(sorted([*certain, *kept]), predicted, len(unknown) - len(kept))

    def surprise(self, choice: Choice, report: RoundReport) -> dict[str, float]:
        """How well the surrogate ordered the round's new functions, by TensorBoard's names; nothing without one."""
        if self._is_open:
            return {}
        rows = zip(choice.predicted[choice.judged], report.results, report.fresh, strict=True)
        new = [(prediction, result.value) for prediction, result, is_new in rows if is_new]
        correlation = rank_correlation(*zip(*new, strict=True)) if new else math.nan
        return {"surrogate/rank_correlation": correlation, "surrogate/skipped": choice.skipped}
