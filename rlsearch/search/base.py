"""What a search method is: it proposes a round of formulas, has them judged, and learns from the results."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlsearch.errors import ConfigError
from rlsearch.formula import Formula, Grammar
from rlsearch.judging.judge import Judge


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

    def prepare(self, watch: Callable[[int, int], None], check_stop: Callable[[], None]) -> None:
        """Does what comes before the first round; not called when a run is resumed.

        Args:
            watch: Told how much is done and how much is wanted.
            check_stop: Called now and then; raises if it is time to stop.
        """

    def run_round(self, judge: Judge) -> None:
        """Proposes a round, has it judged, and learns from it."""
        seeds = self.warm_start if judge.round == 0 else ()
        judge([*seeds, *self.propose(judge, max(0, self.formulas_per_round - len(seeds)))])

    def propose(self, judge: Judge, count: int) -> list[Formula]:
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
