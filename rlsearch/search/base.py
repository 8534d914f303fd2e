"""What a search method is: it proposes a round of formulas, has them judged, and learns from the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from rlsearch.common.progress import Events
from rlsearch.common.settings import Settings
from rlsearch.errors import ConfigError
from rlsearch.formula import Formula, Grammar
from rlsearch.judging.judge import Judge
from rlsearch.judging.settings import RescoringSettings
from rlsearch.rewards.settings import RewardSettings
from rlsearch.search.settings import RungSettings, SearchSettings

if TYPE_CHECKING:
    from rlsearch.kernels.latency import LatencyCosts


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a search method may be built from.

    Attributes:
        search: Its budget and warm start.
        own: The method's own section of the config; None if it has none.
        grammar: What can be written.
        seed: Of everything random.
        reward: The settings of the default reward; None for a reward of the user's own.
        costs: The latency of formulas, if the reward knows it.
    """

    search: SearchSettings
    own: Settings | None
    grammar: Grammar
    seed: int
    reward: RewardSettings | None = None
    costs: "LatencyCosts | None" = None

    @property
    def warm_start(self) -> list[Formula]:
        """Formulas that open the first round."""
        return [Formula.parse(text) for text in self.search.warm_start]


class SearchMethod:
    """A way to search; the base of all.

    Whatever a method knows comes from the judge or from :meth:`state`, and its random numbers from seed and round,
    so that a resumed run goes on as if it had never stopped.

    What a method needs of a run it says itself, in the attributes and class methods below. Their argument ``own`` is
    the section of the config that the method names.

    Args:
        grammar: What can be written.
        formulas_per_round: Formulas judged in one call; a last round may be smaller.
        seed: Of everything random.
        warm_start: Formulas that open the first round.

    Attributes:
        name: What ``search.method`` calls it.
        section: Name of its own section of the config; None if it has none.
        has_policy: Whether it can :meth:`sample`.
        is_comparable: Whether it can be compared with others at an equal number of trained functions.
        is_rescored: Whether the leading functions are trained again after a round.
        fixed_length: What decides how long a search is, where rounds and candidates do not; such a search cannot be
            made longer.

    Raises:
        ConfigError: If a formula of the warm start cannot be written in the grammar.
    """

    name: ClassVar[str]
    section: ClassVar[str | None] = None
    has_policy: ClassVar[bool] = False
    is_comparable: ClassVar[bool] = True
    is_rescored: ClassVar[bool] = True
    fixed_length: ClassVar[str | None] = None

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Makes the method of a run.

        Raises:
            ConfigError: If it cannot search with this setup.
        """
        return cls(setup.grammar, setup.search.formulas_per_round, setup.seed, setup.warm_start)

    @classmethod
    def budget(cls, search: SearchSettings, own: Any) -> SearchSettings:
        """The settings of the search with the number of rounds decided.

        Raises:
            ConfigError: If the method cannot keep to the budget.
        """
        return search

    @classmethod
    def describe_budget(cls, search: SearchSettings, own: Any) -> str:
        """What a search costs at most, in words."""
        budget = f"up to {search.rounds * search.formulas_per_round:,} formulas judged in {search.rounds:,} rounds"
        return budget if search.candidates is None else f"{budget}, {search.candidates:,} of them trained"

    @classmethod
    def fidelities(cls, own: Any, rescoring: RescoringSettings) -> list[float]:
        """How long proxies are trained, in shares of their epochs: new functions first, the longest last."""
        return [1.0, float(rescoring.epochs_factor)]

    @classmethod
    def rungs(cls, own: Any) -> tuple[RungSettings, ...] | None:
        """The stages of successive halving; None where new functions are trained once, for all of the epochs."""
        return None

    @classmethod
    def works_ahead(cls, own: Any) -> bool:
        """Whether the method has work of its own to do while a round is being trained."""
        return False

    @classmethod
    def check_reward(cls, own: Any, reward: RewardSettings | None) -> None:
        """Checks that the method can search with a reward; None is a reward of the user's own.

        Raises:
            ConfigError: If it cannot.
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

    def begins_anew(self, round_number: int) -> bool:
        """Whether the method forgets what it has learned at the beginning of a round, which must then be its own."""
        return False

    def run_round(self, judge: Judge) -> None:
        """Proposes a round, has it judged, and learns from it."""
        seeds = self.warm_start if judge.round == 0 else ()
        judge([*seeds, *self.propose(judge, max(0, self.formulas_per_round - len(seeds)))])

    def propose(self, judge: Judge, count: int) -> list[Formula]:
        """Proposes ``count`` formulas; fewer only if there are no more."""
        raise NotImplementedError

    @property
    def rounds_left(self) -> int | None:
        """Rounds to come, where the method knows them; None where only the settings say when to end."""
        return None

    @property
    def counts(self) -> dict[str, int]:
        """What the method counts besides what the judge does, by name."""
        return {}

    def scalars(self) -> dict[str, float]:
        """What TensorBoard shows of the last round besides its results."""
        return {}

    def state(self) -> dict[str, Any]:
        """What decides how the search goes on: tensors, numbers, texts, and lists and dicts of these."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` returned.

        Raises:
            RunError: If the state does not fit.
        """

    def restore_policy(self, state: dict[str, Any]) -> None:
        """Puts back, of what :meth:`state` returned, only what :meth:`sample` needs.

        Raises:
            RunError: If it does not fit.
        """
        raise NotImplementedError

    def sample(self, count: int, *, greedy: bool = False, seed: int = 0) -> list[Formula]:
        """Writes formulas with what was learned; methods with ``has_policy`` can.

        Args:
            count: How many.
            greedy: Whether to take the likeliest token each time; all formulas are then the same.
            seed: Of the sampling.
        """
        raise NotImplementedError

    def probabilities(self, formulas: Sequence[Formula]) -> list[float]:
        """With which probability each formula is written; methods with ``has_policy`` can say it."""
        raise NotImplementedError

    def save_policy(self, path: Path) -> None:
        """Writes the policy as a file of stable-baselines3; methods with ``has_policy`` can.

        Raises:
            OSError: If it cannot be written.
        """
        raise NotImplementedError

    def _rng(self, round_number: int) -> np.random.Generator:
        """The random numbers of a round."""
        return np.random.default_rng((self.seed, round_number))
