"""The PPO search: the policy writes, evolution and a surrogate help, and the policy learns from what was judged."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rlsearch.controller.gate import Choice, Gate
from rlsearch.controller.parents import Parents
from rlsearch.controller.rounds import Lesson, Written
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, Grammar
from rlsearch.judging.judge import Judge
from rlsearch.rewards.base import RewardResult
from rlsearch.search.base import SearchMethod, Setup

if TYPE_CHECKING:
    from rlsearch.controller.learner import Learner

RESTART_SEED_STEP = 1_000_003
"""What each restart adds to the seed of the policy; more than there are seeds of runs, so that no two are the same."""


class PPOSearch(SearchMethod):
    """Stock PPO with a masked policy and an elite buffer, helped by evolution and a surrogate.

    A share of each round are children of the best functions since the last restart. They are no samples of the
    policy; it learns from them as if they were, with the probability it would have written them with (neural-guided
    search, Mundhenk et al. 2021, arXiv 2111.00053, where the elite of a genetic search joins the policy's batch in
    the same way, and where each genetic search is short and starts from scratch).

    With a surrogate more formulas are written than judged; those it expects least of are dropped.

    A restart lets policy and parents start from scratch, while the archive, and so the leaderboard, keeps everything.

    With ``overlap``, the policy learns from the round before and writes the round after while a round is being
    trained; what it writes knows of all rounds but the last.

    Args:
        settings: The controller.
        grammar: What can be written.
        formulas_per_round: Formulas judged in one call, offspring included.
        seed: Of everything random.
        warm_start: Formulas that open the first round, and are learned from.

    Attributes:
        parents: Restarts, and the children of the best.
        gate: Which proposals are judged.
        learner: The policy, and how it learns.
    """

    name: ClassVar[str] = "ppo"
    section: ClassVar[str | None] = "controller"
    has_policy: ClassVar[bool] = True

    @classmethod
    def build(cls, setup: Setup) -> Self:
        """Makes the method of a run."""
        assert isinstance(setup.own, ControllerSettings)
        return cls(setup.own, setup.grammar, setup.search.formulas_per_round, setup.seed, setup.warm_start)

    @classmethod
    def works_ahead(cls, own: ControllerSettings) -> bool:
        """Whether rounds overlap."""
        return own.overlap

    def __init__(
        self,
        settings: ControllerSettings,
        grammar: Grammar,
        formulas_per_round: int,
        seed: int,
        warm_start: Sequence[Formula] = (),
    ) -> None:
        super().__init__(grammar, formulas_per_round, seed, warm_start)
        self.settings = settings
        # The policy writes two at least: PPO cannot learn from a single step.
        offspring = min(round(settings.offspring * formulas_per_round), formulas_per_round - 2)
        own = formulas_per_round - offspring
        self.parents = Parents(settings, grammar, offspring * settings.written_per_judged, self.warm_start)
        inputs = grammar.vocabulary.inputs
        self.gate = Gate(settings.written_per_judged, formulas_per_round, seed, inputs, self.warm_start)
        self.learner: Learner = self._make_learner(own * settings.written_per_judged)
        self._scalars: dict[str, float] = {}
        # Where rounds overlap: the round that was written ahead, and the one that is not learned from yet.
        self._ahead: Written | None = None
        self._unlearned: Lesson | None = None

    def _make_learner(self, count: int) -> "Learner":
        # Loads stable-baselines3, for which whoever only reads a run need not wait.
        from rlsearch.controller.learner import Learner

        return Learner(self.settings, self.grammar, count, self.seed)

    def run_round(self, judge: Judge) -> None:
        """Writes a round, joins the offspring, chooses what is judged, has it judged, and learns from it."""
        if self.parents.begin_round(judge):
            self.learner.begin_anew(self.seed + self.parents.restarts * RESTART_SEED_STEP)
        rng = self._rng(judge.round)
        written = self._ahead or self._write(judge.round, rng)
        choice = self.gate.choose(written.formulas, judge, rng)
        chosen = [written.formulas[i] for i in choice.judged]
        if self.settings.overlap:
            next_round = judge.round + 1
            results = judge(chosen, meanwhile=lambda: self._work_ahead(next_round))
            self._unlearned = self._take_in(judge, written, choice, results)
        else:
            results = judge(chosen)
            self.learner.learn(self._take_in(judge, written, choice, results))

    def begins_anew(self, round_number: int) -> bool:
        """Whether the policy starts from scratch in a round."""
        return self.parents.begins_anew(round_number)

    def _work_ahead(self, next_round: int) -> None:
        """While a round is being trained, updates on the previous one and writes the next."""
        if self._unlearned is not None:
            self.learner.learn(self._unlearned)
        self._ahead = self._write(next_round, self._rng(next_round))
        for formula in self._ahead.formulas:
            formula.fingerprint  # noqa: B018 - cached now, so that workers need not wait for it later

    def _write(self, round_number: int, rng: np.random.Generator) -> Written:
        """The policy's formulas of a round, joined by the offspring."""
        # What is written ahead is learned by a policy that has changed since: its steps are of no use then.
        if self.settings.overlap:
            own, rollout = self.learner.write(self.learner.count), None
        else:
            own, rollout = self.learner.roll_out()
        formulas = [*own, *self.parents.offspring(round_number, rng)]
        return Written(formulas, self._ids(formulas), rollout)

    def _ids(self, formulas: Sequence[Formula]) -> NDArray[np.int64]:
        """The token ids of formulas, padded; shape ``[formulas, max_length]``."""
        ids = np.zeros((len(formulas), self.grammar.max_length), dtype=np.int64)
        for row, formula in enumerate(formulas):
            ids[row, : formula.size] = self.grammar.vocabulary.encode(formula)
        return ids

    def _take_in(self, judge: Judge, written: Written, choice: Choice, results: Sequence[RewardResult]) -> Lesson:
        """Tells the parents of what was judged, and makes the lesson of the round."""
        new = np.zeros(len(written.formulas), dtype=np.bool_)
        new[choice.judged] = self.parents.take_in(judge, [written.formulas[i] for i in choice.judged])
        # The prediction of a dropped formula stands for its reward; it is never new, so no elite has it.
        values = choice.predicted.copy()
        values[choice.judged] = [result.value for result in results]
        own = self.learner.count
        assert judge.report is not None
        self._scalars = {
            "rollout/ep_rew_mean": float(np.mean(values[:own])),
            "rollout/ep_len_mean": float(np.mean([formula.size for formula in written.formulas[:own]])),
            **self.gate.surprise(choice, judge.report),
        }
        # A mean over others' formulas would not be the policy's.
        learned = list(range(own))
        if self.settings.learn_from == "elite":
            learned += [i for i in choice.judged if i >= own]
        return Lesson(written.ids[learned], values[learned], new[learned], written.rollout)

    def sample(self, count: int, *, greedy: bool = False, seed: int = 0) -> list[Formula]:
        """Writes formulas with the policy as it is.

        Args:
            count: How many.
            greedy: Whether to take the likeliest token each time; all formulas are then the same.
            seed: Of the sampling; sets torch's global random numbers.
        """
        return self.learner.sample(count, greedy=greedy, seed=seed)

    def probabilities(self, formulas: Sequence[Formula]) -> list[float]:
        """With which probability the policy as it is writes each formula, in this spelling."""
        log_probs = self.learner.replay(self._ids(formulas)).log_probs.sum(axis=0, dtype=np.float64)
        probabilities: list[float] = np.exp(log_probs).tolist()
        return probabilities

    def scalars(self) -> dict[str, float]:
        """The policy's entropy, what PPO says of its update, and how well the surrogate did."""
        scalars = {**self.learner.scalars(), "search/restarts": self.parents.restarts, **self._scalars}
        return {name: value for name, value in scalars.items() if not math.isnan(value)}

    def state(self) -> dict[str, Any]:
        """The state of PPO, and what is under way; parents and restarts follow from the archive."""
        state = self.learner.state()
        if self._ahead is not None:
            state["proposals"] = self._ahead.ids.tolist()
        if self._unlearned is not None:
            lesson = self._unlearned
            state["lesson"] = [lesson.ids.tolist(), lesson.values.tolist(), lesson.new.tolist()]
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything back to where it was.

        Raises:
            RunError: If the state does not fit, for instance because it is of another vocabulary.
        """
        self.learner.restore(state)
        self.parents.forget()
        self._ahead = self._unlearned = None
        if "proposals" in state:
            ids = np.array(state["proposals"])
            self._ahead = Written([self.grammar.vocabulary.decode(row) for row in ids], ids, None)
        if "lesson" in state:
            ids, values, new = (np.array(numbers) for numbers in state["lesson"])
            self._unlearned = Lesson(ids, values, new)

    def save_policy(self, path: Path) -> None:
        """Writes the policy, and how PPO was set, as stable-baselines3's ``PPO.load`` reads it."""
        self.learner.ppo.save(path)

    def restore_policy(self, state: dict[str, Any]) -> None:
        """Puts the policy's weights back, and nothing else.

        Raises:
            RunError: If they do not fit.
        """
        self.learner.restore_policy(state)
