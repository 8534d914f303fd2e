"""What a search method is: it proposes a round of formulas, has them judged, and learns from the results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rlsearch.common.progress import Events
from rlsearch.errors import ConfigError
from rlsearch.formula import Formula, Grammar
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import RoundReport
from rlsearch.rewards.base import RewardResult


class Judging(Protocol):
    """What a search method sees of judging: the results of its rounds, and the functions judged so far.

    Attributes:
        round: Number of the next round, from 0.
        report: What happened in the last round.
    """

    round: int
    report: RoundReport | None

    @property
    def known(self) -> Mapping[str, Judged]:
        """Every function judged, by fingerprint, the oldest first."""
        ...

    def __call__(
        self, formulas: Sequence[Formula], rung: int = 0, meanwhile: Callable[[], None] = lambda: None
    ) -> list[RewardResult]:
        """Judges the formulas of one round, on the first rung or on a further one; calls ``meanwhile`` once."""
        ...

    def leaderboard(self, count: int) -> list[Judged]:
        """Returns the best functions, best first."""
        ...

    def recent(self, count: int) -> list[Judged]:
        """Returns the functions judged last, the newest first."""
        ...


class SearchMethod:
    """A way to search; the base of all.

    Whatever a method knows comes from the judging or from :meth:`state`, and its random numbers from seed and round,
    so that a resumed run goes on as if it had never stopped.

    Args:
        grammar: What can be written.
        formulas_per_round: Formulas judged in one call; a last round may be smaller.
        seed: Of everything random.
        warm_start: Formulas that open the first round.

    Raises:
        ConfigError: If a formula of the warm start cannot be written in the grammar.
    """

    def __init__(
        self, grammar: Grammar, formulas_per_round: int, seed: int, warm_start: Sequence[Formula] = ()
    ) -> None:
        self.grammar = grammar
        self.formulas_per_round = formulas_per_round
        self.seed = seed
        self.warm_start = tuple(warm_start)
        known = set(grammar.vocabulary.tokens)
        for formula in self.warm_start:
            if (
                not known.issuperset(formula.tokens)
                or not grammar.allows([grammar.vocabulary.encode(formula).tolist()])[0]
            ):
                raise ConfigError(f"the warm start '{formula}' cannot be written in the search's language")

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to propose."""
        return False

    def prepare(self, events: Events) -> None:
        """Does what comes before the first round; not called when a run is resumed.

        Args:
            events: Told how much is done and how much is wanted.
        """

    def run_round(self, judge: Judging) -> None:
        """Proposes a round, has it judged, and learns from it."""
        seeds = self.warm_start if judge.round == 0 else ()
        judge([*seeds, *self.propose(judge, max(0, self.formulas_per_round - len(seeds)))])

    def propose(self, judge: Judging, count: int) -> list[Formula]:
        """Returns ``count`` formulas; fewer only if there are no more."""
        raise NotImplementedError

    @property
    def rounds_left(self) -> int | None:
        """Rounds to come, where the method knows them; None where only the settings say when to end."""
        return None

    @property
    def counts(self) -> dict[str, int]:
        """What the method counts besides what judging does, by name."""
        return {}

    def scalars(self) -> dict[str, float]:
        """Returns what TensorBoard shows of the last round besides its results."""
        return {}

    def state(self) -> dict[str, Any]:
        """Returns what decides how the search goes on: tensors, numbers, texts, and lists and dicts of these."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` returned.

        Raises:
            RunError: If the state does not fit.
        """

    def _rng(self, round_number: int) -> np.random.Generator:
        """Returns the random numbers of a round."""
        return np.random.default_rng((self.seed, round_number))
