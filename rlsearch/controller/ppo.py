"""The PPO search: the policy writes, evolution and a surrogate help, and the policy learns from what was judged."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsearch.controller.buffer import EpisodeBuffer, Episodes
from rlsearch.controller.model import make_ppo, ppo_state, restore_policy, restore_ppo
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, FormulaBuilder, Grammar
from rlsearch.judging import Judged
from rlsearch.leaderboard import Leaderboard
from rlsearch.rewards.protocol import RewardResult, Status
from rlsearch.search.base import Judging, SearchMethod
from rlsearch.search.surrogate import Surrogate, rank_correlation
from rlsearch.search.variation import Variation, tournament
from rlsearch.search.walks import random_ids
from rlsearch_envs.lockstep import LockstepVecEnv

_ENOUGH = 64  # functions from which the surrogate orders new ones with a rank correlation of about 0.6
_DRAWN = 0.1
_UNSURE = 1.0  # standard deviations added to a prediction; with none the search soon sees only what it knows
_RESTART_SEEDS = 1_000_003


class PPOSearch(SearchMethod):
    """Stock PPO with a masked policy and an elite buffer, helped by evolution and a surrogate.

    A share of each round are children of the best functions since the last restart. They are no samples of the
    policy; it learns from them as if they were, with the probability it would have written them with (neural-guided
    search, Mundhenk et al. 2021, arXiv 2111.00053, where the elite of a genetic search joins the policy's batch in
    the same way, and where each genetic search is short and begins anew).

    With a surrogate more formulas are written than judged; those it expects least of are dropped.

    A restart lets policy and parents begin anew, while the archive, and so the leaderboard, keeps everything.

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
        self._surrogate_scalars: dict[str, float] = {}
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
        steps = self.env.num_envs * self.grammar.max_length
        self.ppo.learn(steps, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]

    def _reward(self, written: Sequence[Formula]) -> list[RewardResult]:
        """Judges what the policy has written and the offspring in one call, and prepares the buffer to learn of it."""
        judge, known = self._judge, self._since_restart
        assert judge is not None
        assert known is not None
        rng = self._rng(judge)
        seeds = self.warm_start if judge.round == 0 else ()
        children = self._children(known, max(0, self._offspring - len(seeds)), rng)
        proposals = [*written, *seeds, *children]
        chosen, predicted = self._choose(proposals, {formula.fingerprint for formula in seeds}, judge, rng)
        judged = [proposals[i] for i in chosen]
        results = [RewardResult(float(value)) for value in predicted]
        new = np.zeros(len(proposals), dtype=np.bool_)
        for i, formula, result in zip(chosen, judged, judge(judged), strict=True):
            results[i] = result
            new[i] = formula.fingerprint not in known
            known[formula.fingerprint] = judge.known[formula.fingerprint]
        report = judge.report
        assert report is not None
        for fingerprint in {*(formula.fingerprint for formula in judged), *report.rescored} & known.keys():
            self._rank(fingerprint)
        self._note_surprise(judge, predicted[chosen])
        learned = [i for i in chosen if i >= len(written)] if self.settings.learn_from == "elite" else []
        self.buffer.is_new = new[[*range(len(written)), *learned]]
        if learned:
            self.buffer.others = self._replay([proposals[i] for i in learned], [results[i].value for i in learned])
        return results[: len(written)]

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

    def _children(self, known: dict[str, Judged], count: int, rng: np.random.Generator) -> list[Formula]:
        """Returns children of the best; random formulas where there is no parent yet."""
        if not count:
            return []
        best_first = [known[fingerprint].formula for fingerprint in self._board.best(self.settings.parents)]
        if not best_first:
            return [self.grammar.vocabulary.decode(row) for row in random_ids(self.grammar, count, rng)]
        parents, mates = (tournament(best_first, count, self.settings.tournament, rng) for _ in range(2))
        return self._variation.children(parents, mates, rng)

    def _choose(
        self, proposals: Sequence[Formula], seeds: set[str], judge: Judging, rng: np.random.Generator
    ) -> tuple[list[int], NDArray[np.float64]]:
        """Returns the indices of what is to be judged, and what the surrogate predicts for each proposal.

        What is known costs nothing and is judged in any case, as are the ``seeds``. Of the other new functions there
        are at most ``formulas_per_round``: those with the highest upper confidence bound (Srinivas et al. 2010, arXiv
        0912.3995), and a tenth drawn at random so that the surrogate learns where it is wrong.
        """
        predicted = np.zeros(len(proposals))
        if self.settings.written_per_judged == 1:
            return list(range(len(proposals))), predicted
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

    def _note_surprise(self, judge: Judging, predicted: NDArray[np.float64]) -> None:
        """Notes how well the surrogate ordered the round's new functions."""
        report = judge.report
        assert report is not None
        actual = [(p, r.value) for p, r, new in zip(predicted, report.results, report.fresh, strict=True) if new]
        self._surrogate_scalars = {}
        if self.settings.written_per_judged > 1:
            correlation = rank_correlation(*zip(*actual, strict=True)) if actual else math.nan
            self._surrogate_scalars = {"surrogate/rank_correlation": correlation, "surrogate/skipped": self._skipped}

    def _replay(self, formulas: Sequence[Formula], values: Sequence[float]) -> Episodes:
        """Returns the episodes in which the policy would have written ``formulas``, with its probabilities."""
        ids = np.zeros((len(formulas), self.grammar.max_length), dtype=np.int64)
        for row, formula in enumerate(formulas):
            ids[row, : formula.size] = self.grammar.vocabulary.encode(formula)
        layout = self.env.layout
        builder = FormulaBuilder(self.grammar, len(formulas))
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
        statistics = self.ppo.ep_info_buffer or [{"r": math.nan, "l": math.nan}]
        scalars = {
            "search/entropy": self.buffer.entropy,
            "search/elite_threshold": self.buffer.elite_threshold,
            "search/restarts": self._restarts,
            "rollout/ep_rew_mean": float(np.mean([info["r"] for info in statistics])),
            "rollout/ep_len_mean": float(np.mean([info["l"] for info in statistics])),
            **self._surrogate_scalars,
            **logged,
        }
        return {name: value for name, value in scalars.items() if not math.isnan(value)}

    def state(self) -> dict[str, Any]:
        """Returns the state of PPO; parents and restarts follow from the archive and the round."""
        return ppo_state(self.ppo)

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything back to where it was.

        Raises:
            RunError: If the state does not fit, for instance because it is of another vocabulary.
        """
        restore_ppo(self.ppo, state)
        self._since_restart = None

    def restore_policy(self, state: dict[str, Any]) -> None:
        """Puts the policy's weights back, and nothing else.

        Raises:
            RunError: If they do not fit.
        """
        restore_policy(self.ppo, state)
