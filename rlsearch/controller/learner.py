"""The learner: stock PPO that writes a round of formulas with its policy and is updated by what they are worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlsearch.controller.buffer import EpisodeBuffer
from rlsearch.controller.model import make_ppo, ppo_state, restore_policy, restore_ppo
from rlsearch.controller.rounds import Episodes, Lesson
from rlsearch.controller.settings import ControllerSettings
from rlsearch.errors import RlsearchError
from rlsearch.formula import Formula, FormulaBuilder, Grammar
from rlsearch.rewards.base import RewardResult
from rlsearch_envs.lockstep import LockstepVecEnv


class Learner:
    """Stock PPO with a masked policy and an episode buffer, driven round by round.

    A rollout and its update are apart here, so that a round can be judged together with formulas that the policy has
    not written, and learned from later: :meth:`roll_out` and :meth:`learn` are the two halves of PPO's own ``learn``.

    Args:
        settings: The controller.
        grammar: What can be written.
        count: Formulas of one rollout.
        seed: Of the policy's weights and of its random numbers.

    Attributes:
        ppo: The ``stable_baselines3.PPO``.
    """

    def __init__(self, settings: ControllerSettings, grammar: Grammar, count: int, seed: int) -> None:
        self.settings = settings
        self.grammar = grammar
        self.count = count
        self._env = LockstepVecEnv(grammar, _refuse, count)
        self.ppo = make_ppo(settings, self._env, seed)

    @property
    def buffer(self) -> EpisodeBuffer:
        """PPO's rollout buffer."""
        buffer = self.ppo.rollout_buffer
        assert isinstance(buffer, EpisodeBuffer)
        return buffer

    def begin_anew(self, seed: int) -> None:
        """Replaces PPO by an untrained one."""
        self.ppo = make_ppo(self.settings, self._env, seed)

    def sample(self, count: int, *, greedy: bool, seed: int) -> list[Formula]:
        """Writes formulas from a seed, to which torch's global random numbers are set."""
        torch.manual_seed(seed)
        return self.write(count, greedy=greedy)

    def write(self, count: int, *, greedy: bool = False) -> list[Formula]:
        """Writes formulas with the policy as it is; ``greedy`` takes the likeliest token each time."""
        builder = FormulaBuilder(self.grammar, count)
        while not builder.finished.all():
            observations = self._env.layout.observe(builder, builder.mask())
            actions, _ = self.ppo.policy.predict(observations, deterministic=greedy)
            builder.advance(actions)
        return [builder.formula(row) for row in range(count)]

    def roll_out(self) -> tuple[list[Formula], Episodes]:
        """Writes ``count`` formulas and keeps the steps, from the first token to the last idle step of each."""
        policy = self.ppo.policy
        policy.set_training_mode(False)
        builder = FormulaBuilder(self.grammar, self.count)
        steps = []
        for _ in range(self.grammar.max_length):
            observations = self._env.layout.observe(builder, builder.mask())
            with torch.no_grad():
                actions, values, log_probs = policy(torch.from_numpy(observations))
            builder.advance(actions.numpy())
            steps.append((observations, actions.numpy(), values.flatten().numpy(), log_probs.numpy()))
        formulas = [builder.formula(row) for row in range(self.count)]
        return formulas, Episodes(*(np.stack(arrays) for arrays in zip(*steps, strict=True)))

    def replay(self, ids: NDArray[np.int64]) -> Episodes:
        """The steps in which the policy as it is would have written formulas, given their token ids."""
        layout = self._env.layout
        builder = FormulaBuilder(self.grammar, len(ids))
        observations = np.stack([layout.observe(state, mask) for state, mask, _ in builder.follow(ids)])
        with torch.no_grad():
            values, log_probs, _ = self.ppo.policy.evaluate_actions(
                torch.from_numpy(observations).flatten(0, 1), torch.from_numpy(ids.T.copy()).flatten()
            )
        shape = observations.shape[:2]
        return Episodes(observations, ids.T, values.reshape(shape).numpy(), log_probs.reshape(shape).numpy())

    def learn(self, lesson: Lesson) -> None:
        """Updates the policy once by a round; what it has not just written counts as if it had.

        Raises:
            RlsearchError: If the policy is no longer finite.
        """
        own = lesson.rollout or self.replay(lesson.ids[: self.count])
        episodes = [own]
        if len(lesson.ids) > self.count:
            episodes.append(self.replay(lesson.ids[self.count :]))
        self.buffer.hold(Episodes.joined(episodes), lesson.values, lesson.new)
        # PPO asks the critic for what comes after the last step; nothing does, since every episode has ended.
        self.buffer.compute_returns_and_advantage(torch.zeros(self.count), np.ones(self.count, dtype=np.bool_))
        self.ppo.num_timesteps += self.count * self.grammar.max_length
        self._update()

    def _update(self) -> None:
        """PPO's own update, with a message where torch's would be about logits."""
        try:
            self.ppo.train()
        except ValueError:
            if self._is_finite():
                raise
        if not self._is_finite():
            rate = self.settings.ppo.learning_rate
            raise RlsearchError(
                f"the policy is no longer finite: PPO's update has diverged. Begin a new run with a lower "
                f"controller.ppo.learning_rate (here {rate:g}), or with other settings of controller.ppo"
            )

    def _is_finite(self) -> bool:
        return all(bool(weights.isfinite().all()) for weights in self.ppo.policy.parameters())

    def scalars(self) -> dict[str, float]:
        """The policy's entropy, the elite's threshold, and what PPO logs of its update; the latter is told once."""
        logger = self.ppo.logger
        excluded = logger.name_to_excluded
        logged = {k: float(v) for k, v in logger.name_to_value.items() if "tensorboard" not in excluded[k]}
        logger.name_to_value.clear()
        own = {"search/entropy": self.buffer.entropy, "search/elite_threshold": self.buffer.elite_threshold}
        if logged:
            logged["train/n_updates"] = self.ppo._n_updates
        return {**own, **logged, "time/total_timesteps": self.ppo.num_timesteps}

    def state(self) -> dict[str, Any]:
        """Policy, optimiser, counts and all random numbers."""
        return ppo_state(self.ppo)

    def restore(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` returned.

        Raises:
            RunError: If the state does not fit, for instance because it is of another vocabulary.
        """
        restore_ppo(self.ppo, state)

    def restore_policy(self, state: dict[str, Any]) -> None:
        """Puts the policy's weights back, and nothing else.

        Raises:
            RunError: If they do not fit.
        """
        restore_policy(self.ppo, state)


def _refuse(formulas: Sequence[Formula]) -> list[RewardResult]:
    """The reward of an environment that only tells PPO what observations and actions look like."""
    raise NotImplementedError("the search judges what its policy writes, the environment does not")
