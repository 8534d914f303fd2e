"""Who has children: the best functions since the last restart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, Grammar
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import Judge
from rlsearch.judging.leaderboard import Leaderboard
from rlsearch.rewards.base import Status
from rlsearch.search.random import random_ids
from rlsearch.search.variation import Variation, tournament


class Parents:
    """The functions judged since the last restart, and the children of the best of them.

    All of it follows from the archive and the number of the round, so a checkpoint has nothing of it.

    Args:
        settings: The controller.
        grammar: What can be written.
        children: Children in one round.
        warm_start: Formulas that come first in the first round, in the place of children.

    Attributes:
        restarts: How often the search began anew.
        variation: Makes the children.
    """

    def __init__(
        self, settings: ControllerSettings, grammar: Grammar, children: int, warm_start: Sequence[Formula] = ()
    ) -> None:
        self.settings = settings
        self.grammar = grammar
        self.variation = Variation(grammar)
        self.restarts = 0
        self._children = children
        self._taken_in = -1
        self._warm_start = tuple(warm_start)
        self._tokens = set(grammar.vocabulary.tokens)
        self._known: dict[str, Judged] | None = None
        self._board = Leaderboard(lambda fingerprint: (fingerprint,))

    def begin_round(self, judge: Judge) -> bool:
        """Makes ready for the judge's next round.

        Returns:
            Whether that round is a restart, from which the policy must start from scratch too.
        """
        # A round that was none of the policy's, such as one of refinement: what it has judged is known.
        if self._known is not None and judge.report is not None and judge.report.round_number != self._taken_in:
            self.take_in(judge, judge.report.formulas)
        every = self.settings.restart_every
        if every and self.begins_anew(judge.round):
            self.restarts = judge.round // every
            self._begin({})
            return True
        # The first round of a session: what the archive knows since the last restart may have children.
        if self._known is None:
            self.restarts = judge.round // every if every else 0
            start = self.restarts * (every or 0)
            self._begin({key: judged for key, judged in judge.known.items() if judged.last_round >= start})
        return False

    def begins_anew(self, round_number: int) -> bool:
        """Whether a round is a restart."""
        every = self.settings.restart_every
        return every is not None and round_number > 0 and round_number % every == 0

    def forget(self) -> None:
        """Leaves it to the next round to take up what is known."""
        self._known = None

    def offspring(self, round_number: int, rng: np.random.Generator) -> list[Formula]:
        """The formulas of a round that the policy has not written: the warm start, and children of the best.

        Where there is no parent yet, formulas are random.
        """
        seeds = self._warm_start if round_number == 0 else ()
        count = max(0, self._children - len(seeds))
        if not count:
            return [*seeds]
        assert self._known is not None
        best_first = [self._known[fingerprint].formula for fingerprint in self._board.best(self.settings.parents)]
        if not best_first:
            drawn = random_ids(self.grammar, count, rng)
            return [*seeds, *(self.grammar.vocabulary.decode(row) for row in drawn)]
        parents = tournament(best_first, count, self.settings.tournament, rng)
        mates = tournament(best_first, count, self.settings.tournament, rng)
        return [*seeds, *self.variation.children(parents, mates, rng)]

    def take_in(self, judge: Judge, formulas: Sequence[Formula]) -> NDArray[np.bool_]:
        """Makes the formulas of the judge's last round parents.

        Returns:
            Which of them are new since the restart, one flag per formula.
        """
        known, report = self._known, judge.report
        assert known is not None
        assert report is not None
        self._taken_in = report.round_number
        new = np.zeros(len(formulas), dtype=np.bool_)
        for i, formula in enumerate(formulas):
            new[i] = formula.fingerprint not in known
            known[formula.fingerprint] = judge.known[formula.fingerprint]
        # Besides the round's own, those that were trained again have another rank.
        changed = {*(formula.fingerprint for formula in formulas), *report.rescored}
        for fingerprint in changed & known.keys():
            self._rank(fingerprint)
        return new

    def _begin(self, known: dict[str, Judged]) -> None:
        """Takes ``known`` as the functions that may have children."""
        self._known = known
        # Ties are broken by the fingerprint: after a resumption the known are in another order.
        self._board = Leaderboard(lambda key: (*(-number for number in known[key].rank), key))
        for fingerprint in known:
            self._rank(fingerprint)

    def _rank(self, fingerprint: str) -> None:
        """Puts a function in its place on the board, if it has a score and the language can write it."""
        assert self._known is not None
        judged = self._known[fingerprint]
        if judged.result.status is Status.OK and self._tokens.issuperset(judged.formula.tokens):
            self._board.put(fingerprint)
