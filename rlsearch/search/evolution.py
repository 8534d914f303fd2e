"""Regularised evolution (Real et al. 2019, arXiv 1802.01548): tournaments among the functions judged last."""

from collections.abc import Sequence
from typing import ClassVar, Self

from rlsearch.formula import Formula, Grammar
from rlsearch.judging.judge import Judge
from rlsearch.search.base import SearchMethod, Setup
from rlsearch.search.random import random_ids
from rlsearch.search.settings import EvolutionSettings
from rlsearch.search.variation import Variation, tournament


class EvolutionSearch(SearchMethod):
    """Proposes children of the winners of tournaments.

    The population is what was judged last, each function once: the oldest leaves as a new one comes, however good it
    was. So no lucky score stays for ever, and the archive is all the state there is.

    Args:
        settings: Population, tournament.
        grammar: What can be written.
        formulas_per_round: Children of one generation.
        seed: Of everything random.
        warm_start: Formulas that open the first round.
    """

    name: ClassVar[str] = "evolution"
    section: ClassVar[str | None] = "evolution"

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Makes the method of a run."""
        assert isinstance(setup.own, EvolutionSettings)
        return cls(setup.own, setup.grammar, setup.search.formulas_per_round, setup.seed, setup.warm_start)

    def __init__(
        self,
        settings: EvolutionSettings,
        grammar: Grammar,
        formulas_per_round: int,
        seed: int,
        warm_start: Sequence[Formula] = (),
    ) -> None:
        super().__init__(grammar, formulas_per_round, seed, warm_start)
        self.settings = settings
        self._variation = Variation(grammar)

    def propose(self, judge: Judge, count: int) -> list[Formula]:
        """Breeds children; draws random formulas until the population is full."""
        rng = self._rng(judge.round)
        known = set(self.grammar.vocabulary.tokens)
        population = [j for j in judge.recent(self.settings.population) if known.issuperset(j.formula.tokens)]
        if len(population) < self.settings.population:
            return [self.grammar.vocabulary.decode(row) for row in random_ids(self.grammar, count, rng)]
        best_first = [j.formula for j in sorted(population, key=lambda j: j.rank, reverse=True)]
        parents = tournament(best_first, count, self.settings.tournament, rng)
        mates = tournament(best_first, count, self.settings.tournament, rng)
        return self._variation.children(parents, mates, rng)
