"""The PPO search: the policy writes, evolution and a surrogate help, and the policy learns from what was judged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsearch.controller.buffer import EpisodeBuffer, Episodes
from rlsearch.controller.model import make_ppo, ppo_state, restore_policy, restore_ppo
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, FormulaBuilder, Grammar
from rlsearch.judging.history import Judged
from rlsearch.judging.leaderboard import Leaderboard
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.search.base import Judging, SearchMethod
from rlsearch.search.random import random_ids
from rlsearch.search.surrogate import Surrogate, rank_correlation
from rlsearch.search.variation import Variation, tournament
from rlsearch_envs.lockstep import LockstepVecEnv

_ENOUGH = 64  # functions from which the surrogate orders new ones with a rank correlation of about 0.6
_DRAWN = 0.1
_UNSURE = 1.0  # standard deviations added to a prediction; with none the search soon sees only what it knows
_RESTART_SEEDS = 1_000_003


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A round that was judged and is not learned yet.

    Attributes:
        ids: Token ids of its formulas, the policy's first, shape ``[formulas, max_length]``.
        values: Their rewards.
        new: Which were new to the search.
    """

    ids: NDArray[np.int64]
    values: list[float]
    new: NDArray[np.bool_]


class PPOSearch(SearchMethod):
    """Stock PPO with a masked policy and an elite buffer, helped by evolution and a surrogate.

    A share of each round are children of the best functions since the last restart. They are no samples of the
    policy; it learns from them as if they were, with the probability it would have written them with (neural-guided
    search, Mundhenk et al. 2021, arXiv 2111.00053, where the elite of a genetic search joins the policy's batch in
    the same way, and where each genetic search is short and begins anew).

    With a surrogate more formulas are written than judged; those it expects least of are dropped.

    A restart lets policy and parents begin anew, while the archive, and so the leaderboard, keeps everything.

    With ``overlap``, the policy learns from the round before and writes the round after while a round is being
    trained; what it writes knows of all rounds but the last.

    Args:
        settings: The controller.
        grammar: What can be written.
        formulas_per_round: Formulas judged in one call, offspring included.
        seed: Of everything random.
        warm_start: Formulas that open the first round, and are learned from.
    """

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
        self._variation = Variation(grammar)
        self._surrogate = Surrogate()
        self._scalars: dict[str, float] = {}
        # The policy writes two at least: PPO cannot learn from a single step.
        offspring = min(round(settings.offspring * formulas_per_round), formulas_per_round - 2)
        self._offspring = offspring * settings.written_per_judged
        written = (formulas_per_round - offspring) * settings.written_per_judged
        self.env = LockstepVecEnv(grammar, self._reward, written)
        self.ppo = make_ppo(settings, self.env, seed)
        self._skipped = 0
        self._judge: Judging | None = None
        self._restarts = 0
        self._since_restart: dict[str, Judged] | None = None
        self._board = Leaderboard(lambda fingerprint: (fingerprint,))
        self._tokens = set(grammar.vocabulary.tokens)
        self._proposals: tuple[list[Formula], NDArray[np.int64]] | None = None  # where rounds overlap, and their ids
        self._lesson: _Lesson | None = None

    @property
    def buffer(self) -> EpisodeBuffer:
        """The rollout buffer."""
        buffer = self.ppo.rollout_buffer
        assert isinstance(buffer, EpisodeBuffer)
        return buffer

    def run_round(self, judge: Judging) -> None:
        """One rollout of the policy, judged together with the offspring, and one update."""
        self._judge = judge
        every = self.settings.restart_every
        if every and judge.round and judge.round % every == 0:
            self._restarts = judge.round // every
            self._begin({})
            self.ppo = make_ppo(self.settings, self.env, self.seed + self._restarts * _RESTART_SEEDS)
        elif self._since_restart is None:  # the first round of a session
            self._restarts = judge.round // every if every else 0
            start = self._restarts * every if every else 0
            self._begin({key: j for key, j in judge.known.items() if j.last_round >= start})
        if self.settings.overlap:
            self._overlapped_round(judge)
        else:
            self.ppo.learn(self._steps, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]

    @property
    def _steps(self) -> int:
        return self.env.num_envs * self.grammar.max_length

    def _overlapped_round(self, judge: Judging) -> None:
        """Has judged what is written; meanwhile learns from the round before, and writes the next one."""
        formulas, ids = self._proposals or self._propose(judge.round)

        def meanwhile() -> None:
            if self._lesson:
                self._learn(self._lesson)
            self._proposals = self._propose(judge.round + 1)

        results = judge(formulas, meanwhile=meanwhile)
        self._lesson = _Lesson(ids, [result.value for result in results], self._take_in(judge, formulas))
        self._note_written(formulas, results)

    def _propose(self, round_number: int) -> tuple[list[Formula], NDArray[np.int64]]:
        formulas = [*self._write(self.env.num_envs), *self._others(round_number, self._rng(round_number))]
        for formula in formulas:
            formula.fingerprint  # noqa: B018 - cached now, so that workers need not wait for it later
        return formulas, self._ids(formulas)

    def _learn(self, lesson: _Lesson) -> None:
        """One update of PPO by a round that it has not just written."""
        own = self.env.num_envs
        self.buffer.hold(self._replay(lesson.ids[:own], lesson.values[:own]))
        self.buffer.is_new = lesson.new[:own]
        if self.settings.learn_from == "elite" and len(lesson.ids) > own:
            self.buffer.is_new = lesson.new
            self.buffer.others = self._replay(lesson.ids[own:], lesson.values[own:])
        self.buffer.compute_returns_and_advantage(torch.zeros(own), np.ones(own, dtype=np.bool_))
        self.ppo.num_timesteps += self._steps
        self.ppo.train()

    def _reward(self, written: Sequence[Formula]) -> list[RewardResult]:
        """Judges what the policy has written and the offspring in one call, and prepares the buffer to learn of it."""
        judge = self._judge
        assert judge is not None
        rng = self._rng(judge.round)
        proposals = [*written, *self._others(judge.round, rng)]
        chosen, predicted = self._choose(proposals, judge, rng)
        judged = [proposals[i] for i in chosen]
        results = [RewardResult(float(value)) for value in predicted]
        for i, result in zip(chosen, judge(judged), strict=True):
            results[i] = result
        new = np.zeros(len(proposals), dtype=np.bool_)
        new[chosen] = self._take_in(judge, judged)
        self._note_written(written, results)
        self._note_surprise(judge, predicted[chosen])
        learned = [i for i in chosen if i >= len(written)] if self.settings.learn_from == "elite" else []
        self.buffer.is_new = new[[*range(len(written)), *learned]]
        if learned:
            ids = self._ids([proposals[i] for i in learned])
            self.buffer.others = self._replay(ids, [results[i].value for i in learned])
        return results[: len(written)]

    def _take_in(self, judge: Judging, formulas: Sequence[Formula]) -> NDArray[np.bool_]:
        """Makes what was judged parents; returns which of it is new since the restart."""
        known, report = self._since_restart, judge.report
        assert known is not None
        assert report is not None
        new = np.zeros(len(formulas), dtype=np.bool_)
        for i, formula in enumerate(formulas):
            new[i] = formula.fingerprint not in known
            known[formula.fingerprint] = judge.known[formula.fingerprint]
        for fingerprint in {*(formula.fingerprint for formula in formulas), *report.rescored} & known.keys():
            self._rank(fingerprint)
        return new

    def _begin(self, known: dict[str, Judged]) -> None:
        """Takes the functions known so far as those that may become parents."""
        self._since_restart = known
        # Ties are broken by the fingerprint: after a resumption the known are in another order.
        self._board = Leaderboard(lambda key: (*(-number for number in known[key].rank), key))
        for fingerprint in known:
            self._rank(fingerprint)

    def _rank(self, fingerprint: str) -> None:
        """Notes the new rank of a function, if it can be a parent."""
        assert self._since_restart is not None
        judged = self._since_restart[fingerprint]
        if judged.result.status is Status.OK and self._tokens.issuperset(judged.formula.tokens):
            self._board.put(fingerprint)

    def _others(self, round_number: int, rng: np.random.Generator) -> list[Formula]:
        """Returns what a round has besides the policy's formulas: the warm start, and children of the best.

        Where there is no parent yet, formulas are random.
        """
        seeds = self.warm_start if round_number == 0 else ()
        count = max(0, self._offspring - len(seeds))
        if not count:
            return [*seeds]
        known = self._since_restart
        assert known is not None
        best_first = [known[fingerprint].formula for fingerprint in self._board.best(self.settings.parents)]
        if not best_first:
            drawn = random_ids(self.grammar, count, rng)
            return [*seeds, *(self.grammar.vocabulary.decode(row) for row in drawn)]
        parents, mates = (tournament(best_first, count, self.settings.tournament, rng) for _ in range(2))
        return [*seeds, *self._variation.children(parents, mates, rng)]

    def _choose(
        self, proposals: Sequence[Formula], judge: Judging, rng: np.random.Generator
    ) -> tuple[list[int], NDArray[np.float64]]:
        """Returns the indices of what is to be judged, and what the surrogate predicts for each proposal.

        What is known costs nothing and is judged in any case, as is the warm start. Of the other new functions there
        are at most ``formulas_per_round``: those with the highest upper confidence bound (Srinivas et al. 2010, arXiv
        0912.3995), and a tenth drawn at random so that the surrogate learns where it is wrong.
        """
        predicted = np.zeros(len(proposals))
        if self.settings.written_per_judged == 1:
            return list(range(len(proposals))), predicted
        seeds = {formula.fingerprint for formula in self.warm_start} if judge.round == 0 else set()
        certain = [i for i, f in enumerate(proposals) if f.fingerprint in judge.known or f.fingerprint in seeds]
        first: dict[str, int] = {}
        for i in sorted(set(range(len(proposals))).difference(certain)):
            first.setdefault(proposals[i].fingerprint, i)
        unknown = rng.permutation(list(first.values())).tolist()
        if len(judge.known) >= _ENOUGH:
            self._surrogate.fit(judge.known.values(), self.seed)
            predicted, spread = self._surrogate.predict(proposals)
            hoped = predicted + _UNSURE * spread
            drawn = round(_DRAWN * self.formulas_per_round)
            unknown = [*unknown[:drawn], *sorted(unknown[drawn:], key=lambda i: -hoped[i])]
        kept = set(unknown[: self.formulas_per_round])
        self._skipped = len(unknown) - len(kept)
        return sorted([*certain, *kept]), predicted

    def _note_written(self, written: Sequence[Formula], results: Sequence[RewardResult]) -> None:
        """Notes what stable-baselines3 says of a rollout; ``results`` may go on with those of others."""
        own = results[: self.env.num_envs]
        self._scalars = {
            "rollout/ep_rew_mean": float(np.mean([result.value for result in own])),
            "rollout/ep_len_mean": float(np.mean([formula.size for formula in written[: len(own)]])),
        }

    def _note_surprise(self, judge: Judging, predicted: NDArray[np.float64]) -> None:
        """Notes how well the surrogate ordered the round's new functions."""
        report = judge.report
        assert report is not None
        actual = [(p, r.value) for p, r, new in zip(predicted, report.results, report.fresh, strict=True) if new]
        if self.settings.written_per_judged > 1:
            correlation = rank_correlation(*zip(*actual, strict=True)) if actual else math.nan
            self._scalars |= {"surrogate/rank_correlation": correlation, "surrogate/skipped": self._skipped}

    def _replay(self, ids: NDArray[np.int64], values: Sequence[float]) -> Episodes:
        """Returns the episodes in which the policy would have written formulas, with its probabilities."""
        layout = self.env.layout
        builder = FormulaBuilder(self.grammar, len(ids))
        observations = np.stack([layout.observe(state, mask) for state, mask, _ in builder.follow(ids)])
        with torch.no_grad():
            value, log_prob, _ = self.ppo.policy.evaluate_actions(
                torch.from_numpy(observations).flatten(0, 1), torch.from_numpy(ids.T.copy()).flatten()
            )
        shape = observations.shape[:2]
        returns = np.asarray(values, dtype=np.float32)
        return Episodes(observations, ids.T, value.reshape(shape).numpy(), log_prob.reshape(shape).numpy(), returns)

    def sample(self, count: int, *, greedy: bool = False, seed: int = 0) -> list[Formula]:
        """Writes formulas with the policy as it is.

        Args:
            count: How many.
            greedy: Whether to take the likeliest token each time; all formulas are then the same.
            seed: Of the sampling; sets torch's global random numbers.
        """
        torch.manual_seed(seed)
        return self._write(count, greedy)

    def _write(self, count: int, greedy: bool = False) -> list[Formula]:
        builder = FormulaBuilder(self.grammar, count)
        while not builder.finished.all():
            observations = self.env.layout.observe(builder, builder.mask())
            actions, _ = self.ppo.policy.predict(observations, deterministic=greedy)
            builder.advance(actions)
        return [builder.formula(row) for row in range(count)]

    def scalars(self) -> dict[str, float]:
        """Returns the policy's entropy, what PPO says of its update, and how well the surrogate did."""
        logger = self.ppo.logger
        excluded = logger.name_to_excluded
        logged = {k: float(v) for k, v in logger.name_to_value.items() if "tensorboard" not in excluded[k]}
        logger.name_to_value.clear()
        scalars = {
            "search/entropy": self.buffer.entropy,
            "search/elite_threshold": self.buffer.elite_threshold,
            "search/restarts": self._restarts,
            **self._scalars,
            **logged,
        }
        return {name: value for name, value in scalars.items() if not math.isnan(value)}

    def state(self) -> dict[str, Any]:
        """Returns the state of PPO, and what is under way; parents and restarts follow from the archive."""
        state = ppo_state(self.ppo)
        if self._proposals:
            state["proposals"] = torch.from_numpy(self._proposals[1])
        if self._lesson:
            ids, new = (torch.from_numpy(array) for array in (self._lesson.ids, self._lesson.new))
            state["lesson"] = [ids, self._lesson.values, new]
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything back to where it was.

        Raises:
            RunError: If the state does not fit, for instance because it is of another vocabulary.
        """
        restore_ppo(self.ppo, state)
        self._since_restart = None
        self._proposals = self._lesson = None
        if "proposals" in state:
            written = state["proposals"].numpy()
            self._proposals = [self.grammar.vocabulary.decode(row) for row in written], written
        if "lesson" in state:
            ids, values, new = state["lesson"]
            self._lesson = _Lesson(ids.numpy(), values, new.numpy())

    def _ids(self, formulas: Sequence[Formula]) -> NDArray[np.int64]:
        """Returns the token ids of formulas, shape ``[formulas, max_length]``, filled up with 0."""
        ids = np.zeros((len(formulas), self.grammar.max_length), dtype=np.int64)
        for row, formula in enumerate(formulas):
            ids[row, : formula.size] = self.grammar.vocabulary.encode(formula)
        return ids

    def restore_policy(self, state: dict[str, Any]) -> None:
        """Puts the policy's weights back, and nothing else.

        Raises:
            RunError: If they do not fit.
        """
        restore_policy(self.ppo, state)
