"""Exhaustive search: every function up to a size, or of a form, each once."""

from collections.abc import Sequence
from typing import ClassVar, Self

from rlsearch.formula import Formula, Grammar
from rlsearch.judging.judge import Judge
from rlsearch.search.base import SearchMethod, Setup
from rlsearch.search.enumeration import Enumeration
from rlsearch.search.settings import ExhaustiveSettings


class ExhaustiveSearch(SearchMethod):
    """Proposes every function once; see :class:`Enumeration`.

    Args:
        settings: The template, if any.
        grammar: What can be written.
        formulas_per_round: Functions judged in one call.
        seed: Is not used: nothing is random.
        warm_start: Formulas that open the first round.

    Raises:
        ConfigError: If the template is not a form.
    """

    name: ClassVar[str] = "exhaustive"
    section: ClassVar[str | None] = "exhaustive"

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Makes the method of a run."""
        assert isinstance(setup.own, ExhaustiveSettings)
        return cls(setup.own, setup.grammar, setup.search.formulas_per_round, setup.seed, setup.warm_start)

    def __init__(
        self,
        settings: ExhaustiveSettings,
        grammar: Grammar,
        formulas_per_round: int,
        seed: int,
        warm_start: Sequence[Formula] = (),
    ) -> None:
        super().__init__(grammar, formulas_per_round, seed, warm_start)
        self._enumeration = Enumeration(grammar, settings.template)
        self._formulas = iter(self._enumeration)
        self._given = 0
        self._next = next(self._formulas, None)

    @property
    def finished(self) -> bool:
        """Whether every function has been proposed."""
        return self._next is None

    def propose(self, judge: Judge, count: int) -> list[Formula]:
        """Takes the next functions."""
        return self._take(count)

    def _take(self, count: int) -> list[Formula]:
        """The next ``count`` functions, or all that are left."""
        taken: list[Formula] = []
        while self._next is not None and len(taken) < count:
            taken.append(self._next)
            # One ahead, to know whether this was the last.
            self._next = next(self._formulas, None)
        self._given += len(taken)
        return taken

    def scalars(self) -> dict[str, float]:
        """How far the enumeration is."""
        return {"exhaustive/size": self._enumeration.size, "exhaustive/untested": self._enumeration.untested}

    def state(self) -> dict[str, int]:
        """How many functions were proposed."""
        return {"given": self._given}

    def restore(self, state: dict[str, int]) -> None:
        """Enumerates again what was proposed before."""
        self._take(state["given"] - self._given)
