"""Many formulas side by side for stable-baselines3, judged in one call."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from rlsearch.errors import RewardError
from rlsearch.formula import Formula, FormulaBuilder, Grammar
from rlsearch.rewards.base import Reward, RewardResult
from rlsearch_envs.activation import illegal_action_message
from rlsearch_envs.observation import ObservationLayout


class LockstepVecEnv(VecEnv):
    """``num_envs`` episodes of :class:`~rlsearch_envs.activation.ActivationEnv` in lock-step.

    Every episode starts together and lasts ``grammar.max_length`` steps; a formula that is complete before takes
    padding until then. At the last step the reward is called once with all ``num_envs`` formulas, and every row is
    done. So one rollout of ``n_steps = grammar.max_length`` holds exactly ``num_envs`` whole episodes. The idle
    steps are the learner's to drop (:class:`rlsearch.controller.buffer.EpisodeBuffer` does).

    At the end each row's info holds what ActivationEnv's does, and ``episode`` (return ``r`` and number of tokens
    ``l``), from which stable-baselines3 makes ``rollout/ep_rew_mean``.

    Args:
        grammar: What can be written.
        reward: Judges ``num_envs`` complete formulas in one call.
        num_envs: Formulas per call.
    """

    def __init__(self, grammar: Grammar, reward: Reward, num_envs: int) -> None:
        self.grammar = grammar
        self.reward = reward
        self.layout = ObservationLayout.of(grammar)
        self.render_mode = None  # read by the base class
        super().__init__(num_envs, self.layout.space(), spaces.Discrete(self.layout.n_actions))
        self._builder = FormulaBuilder(grammar, num_envs)
        self._mask = self._builder.mask()
        self._steps = 0
        self._actions = np.zeros(num_envs, dtype=np.int64)

    def reset(self) -> NDArray[np.int64]:
        """Starts every row anew; returns observations of shape ``[num_envs, layout.size]``."""
        self._builder.reset()
        self._steps = 0
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._observe()

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Takes one token id per row.

        Raises:
            InvalidAction: If any of them is illegal; nothing is changed then.
        """
        actions = np.asarray(actions, dtype=np.int64)
        inside = (actions >= 0) & (actions < self.layout.n_actions)
        legal = inside & self._mask[np.arange(self.num_envs), np.where(inside, actions, 0)]
        if not legal.all():
            row = int(np.flatnonzero(~legal)[0])
            raise InvalidAction(
                f"row {row}: " + illegal_action_message(self._builder, self._mask, row, int(actions[row]))
            )
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Places the tokens; at the last step judges the formulas and starts anew."""
        self._builder.advance(self._actions)
        self._steps += 1
        if self._steps < self.grammar.max_length:
            none_done = np.zeros(self.num_envs, dtype=np.bool_)
            infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            return self._observe(), np.zeros(self.num_envs, dtype=np.float32), none_done, infos
        # All rows are complete: one call judges them.
        formulas = [self._builder.formula(row) for row in range(self.num_envs)]
        results = self.reward(formulas)
        if len(results) != self.num_envs:
            raise RewardError(f"the reward returned {len(results)} results for {self.num_envs} formulas")
        last = self._observe()
        infos = [
            self._final_info(row, formula, result, last[row])
            for row, (formula, result) in enumerate(zip(formulas, results, strict=True))
        ]
        rewards = np.array([result.value for result in results], dtype=np.float32)
        return self.reset(), rewards, np.ones(self.num_envs, dtype=np.bool_), infos

    def _final_info(
        self, row: int, formula: Formula, result: RewardResult, observation: NDArray[np.int64]
    ) -> dict[str, Any]:
        return {
            "formula": formula,
            "status": result.status.value,
            "score": result.score,
            "latency": result.latency,
            "episode": {"r": float(result.value), "l": int(self._builder.length[row])},
            "terminal_observation": observation,
            "TimeLimit.truncated": False,
        }

    def _observe(self) -> NDArray[np.int64]:
        self._mask = self._builder.mask()
        return self.layout.observe(self._builder, self._mask)

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal now, bool of shape ``[num_envs, n_actions]``."""
        return self._mask.copy()

    def close(self) -> None:
        """Does nothing: the rows are arrays."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute, which all rows share, once per row."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets the attribute for all rows, which share it.

        Raises:
            ValueError: If ``indices`` leaves rows out.
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("the rows of a LockstepVecEnv share their attributes; expected all of them")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """A method's result per row; the method returns one row each, as :meth:`action_masks` does."""
        results: Sequence[Any] = getattr(self, method_name)(*method_args, **method_kwargs)
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """False for each row: there are no single environments to wrap."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """No pictures; ActivationEnv renders."""
        return [None] * self.num_envs
