"""Mining: every formula screened, the cheapest fit functions trained, and of those ever fewer for ever longer."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rlsearch.common.progress import Events
from rlsearch.errors import ConfigError
from rlsearch.formula import Formula, Grammar
from rlsearch.judging.judge import Judge
from rlsearch.judging.settings import RescoringSettings
from rlsearch.rewards.base import Status
from rlsearch.rewards.settings import RewardSettings, ScreeningSettings, epochs_at
from rlsearch.search.base import SearchMethod, Setup
from rlsearch.search.settings import MiningSettings, RungSettings, SearchSettings

if TYPE_CHECKING:
    from rlsearch.kernels.latency import LatencyCosts
    from rlsearch.search.mining.engine import Mined

_LOGGER = logging.getLogger(__name__)


class MiningSearch(SearchMethod):
    """Screens every formula before the first round, and then climbs the rungs, a round at a time.

    Args:
        settings: Template, rungs and memory.
        screening: Which formulas are not worth training.
        costs: The latency of formulas, by which the cheapest are trained.
        grammar: What can be written.
        formulas_per_round: Functions judged in one call.
        seed: Is not used: nothing is random.
        warm_start: Formulas that enter the first rung before all others.

    Raises:
        ConfigError: If the template is not a form.
    """

    name: ClassVar[str] = "mining"
    section: ClassVar[str | None] = "mining"
    is_comparable: ClassVar[bool] = False
    is_rescored: ClassVar[bool] = False  # the rungs are that
    fixed_length: ClassVar[str | None] = "its rungs"

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Makes the method of a run.

        Raises:
            ConfigError: If the reward has no proxies, or the template is not a form.
        """
        assert isinstance(setup.own, MiningSettings)
        cls.check_reward(setup.own, setup.reward)
        assert setup.reward is not None
        assert setup.costs is not None
        per_round, seed = setup.search.formulas_per_round, setup.seed
        screening, costs = setup.reward.screening, setup.costs
        return cls(setup.own, screening, costs, setup.grammar, per_round, seed, setup.warm_start)

    @classmethod
    def budget(cls, search: SearchSettings, own: MiningSettings) -> SearchSettings:
        """The search with as many rounds as the rungs take.

        Raises:
            ConfigError: If there is a number of candidates.
        """
        if search.candidates is not None:
            raise ConfigError(
                f"search.candidates = {search.candidates} does not go with mining; how many functions it trains is "
                "said by mining.rungs"
            )
        return search.model_copy(update={"rounds": own.rounds(search.formulas_per_round)})

    @classmethod
    def describe_budget(cls, search: SearchSettings, own: MiningSettings) -> str:
        """How many functions are trained on every rung."""
        trained = " functions, then ".join(str(rung.functions) for rung in own.rungs)
        return f"up to {trained} functions on {len(own.rungs)} rungs"

    @classmethod
    def fidelities(cls, own: MiningSettings, rescoring: RescoringSettings) -> list[float]:
        """How long the rungs train, each length once."""
        return list(dict.fromkeys(rung.epochs for rung in own.rungs))

    @classmethod
    def rungs(cls, own: MiningSettings) -> tuple[RungSettings, ...]:
        """The rungs as they were set."""
        return own.rungs

    @classmethod
    def check_reward(cls, own: MiningSettings, reward: RewardSettings | None) -> None:
        """Checks that there are proxies, and that every rung trains for longer or from more seeds than the one before.

        Raises:
            ConfigError: If not.
        """
        if reward is None:
            raise ConfigError("mining trains proxies for ever longer, and a reward of your own has none to train")
        epochs = [[epochs_at(proxy, rung.epochs) for proxy in reward.proxies] for rung in own.rungs]
        for (number, before), (_, after) in pairwise(enumerate(own.rungs)):
            # Whole epochs are trained, so that two shares may come to the same number of them.
            if epochs[number] == epochs[number + 1] and after.seeds <= before.seeds:
                shown = ", ".join(map(str, dict.fromkeys(epochs[number])))
                raise ConfigError(
                    f"mining.rungs.{number + 1} (epochs {after.epochs:g}, seeds {after.seeds}) would train nothing "
                    f"that mining.rungs.{number} (epochs {before.epochs:g}, seeds {before.seeds}) has not: "
                    f"both come to {shown} epoch(s) of the proxies; leave one out, or give the proxies more epochs"
                )

    def __init__(
        self,
        settings: MiningSettings,
        screening: ScreeningSettings,
        costs: "LatencyCosts",
        grammar: Grammar,
        formulas_per_round: int,
        seed: int,
        warm_start: Sequence[Formula] = (),
    ) -> None:
        from rlsearch.search.mining.table import check_minable

        super().__init__(grammar, formulas_per_round, seed, warm_start)
        check_minable(grammar, settings.template)
        self.settings = settings
        self.screening = screening
        self.costs = costs
        self._counts: dict[str, int] = {}
        self._enter(0, [])

    @property
    def finished(self) -> bool:
        """Whether the last rung is done."""
        return self._rung == len(self.settings.rungs)

    @property
    def rounds_left(self) -> int:
        """Rounds to come, if every function of a rung gets a score."""
        here = len(self._entered)
        sizes = [here - self._done, *(min(here, rung.functions) for rung in self.settings.rungs[self._rung + 1 :])]
        return sum(-(-size // self.formulas_per_round) for size in sizes)

    @property
    def counts(self) -> dict[str, int]:
        """Formulas tested, functions among them, and how many of those are fit."""
        return self._counts

    def prepare(self, events: Events) -> None:
        """Screens.

        Raises:
            ConfigError: If no formula is fit, or none was reached with the memory there is.
        """
        from rlsearch.search.mining.engine import mine

        wanted = self.settings.rungs[0].functions
        mined = mine(
            self.grammar,
            self.settings.template,
            self.screening,
            self.costs,
            wanted,
            events=events,
            memory_bytes=int(self.settings.memory_gib * 2**30),
        )
        if not mined.complete:
            self._say_incomplete(mined)
        self._counts = {"tested": mined.tested, "unique": mined.unique, "fit": mined.fit}
        by_function: dict[str, Formula] = {}
        for formula in (*self.warm_start, *mined.formulas):
            by_function.setdefault(formula.fingerprint, formula)
        self._enter(0, list(by_function.values())[:wanted])
        if not self._entered:
            raise ConfigError(f"of {mined.tested} formulas none is fit; widen the language or the screening")

    def _say_incomplete(self, mined: "Mined") -> None:
        """Warns that memory ended screening; raises a ConfigError if nothing was found until then."""
        found = "the longest ones are there in part"
        smaller = f"lower language.max_length ({self.grammar.max_length} now)"
        if self.settings.template is not None:
            found = "the template is filled in part"
            smaller = "give a shorter template, or fewer operators or constants"
        ended = f"screening ended after {mined.tested} formulas, for want of memory"
        remedy = f"raise mining.memory_gib ({self.settings.memory_gib:g} now), or {smaller}"
        if not mined.formulas:
            raise ConfigError(f"{ended}, before it reached one that is fit; {remedy}")
        _LOGGER.warning("%s: %s; %s", ended, found, remedy)

    def run_round(self, judge: Judge) -> None:
        """Judges the next functions of the rung; after the last of them, the best enter the next rung."""
        formulas = self._entered[self._done : self._done + self.formulas_per_round]
        judge(formulas, self._rung)
        self._done += len(formulas)
        if self._done < len(self._entered):
            return
        further = self.settings.rungs[self._rung + 1 :]
        chosen: list[Formula] = []
        if further:
            chosen = self._best_first(judge)[: further[0].functions]
            if not chosen:
                _LOGGER.warning("none of the functions of the rung has a score")
        self._enter(self._rung + 1 if chosen else len(self.settings.rungs), chosen)

    def _best_first(self, judge: Judge) -> list[Formula]:
        """The functions of the rung that have a score, in the order of the leaderboard.

        A reference may be among them, which has climbed nothing by itself: so rungs are not asked for.
        """
        trained = [judge.known[formula.fingerprint] for formula in self._entered]
        scored = [judged for judged in trained if judged.result.status is Status.OK]
        scored.sort(
            key=lambda judged: (
                -judged.result.value,
                judged.formula.size,
                judge.history.number(judged.formula.fingerprint),
            )
        )
        return [judged.formula for judged in scored]

    def _enter(self, rung: int, formulas: list[Formula]) -> None:
        """Begins a rung with the functions that have come so far."""
        self._rung, self._done, self._entered = rung, 0, formulas
        self._texts = [formula.spelling for formula in formulas]  # once a rung, since every checkpoint has them

    def scalars(self) -> dict[str, float]:
        """The counts of screening, and the rung."""
        return {"mining/rung": self._rung, **{f"mining/{name}": count for name, count in self.counts.items()}}

    def state(self) -> dict[str, Any]:
        """Counts, rung and the functions that entered it: what screening found is not looked for again."""
        return {"counts": self._counts, "entered": self._texts, "rung": self._rung, "done": self._done}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` gave."""
        self._counts = dict(state["counts"])
        self._enter(int(state["rung"]), [Formula.parse(text) for text in state["entered"]])
        self._done = int(state["done"])
