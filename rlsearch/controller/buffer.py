"""A rollout buffer of whole episodes that learns from the elite of a round, or from all of it."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples


class EpisodeBuffer(RolloutBuffer):
    """Holds one round: each column is one episode, from its first token to the last idle step.

    Idle steps, in which a complete formula takes padding, are dropped from what is learned: they carry no policy
    gradient, but would distort the loss's mean and the value fit.

    With an ``elite_fraction``, only the episodes are learned from whose formula is new and whose return reaches the
    ``1 - elite_fraction`` quantile of the new ones, with advantage ``(R - quantile) / std(elite)``: the risk-seeking
    policy gradient of Petersen et al. 2021 (arXiv 1912.04871), Section 3.2, in PPO's clipped form. Without one, GAE on
    all episodes.

    Args:
        pad_index: Index in the observation of the mask's entry for padding, which is 1 in idle steps.
        elite_fraction: Share of a round's new episodes to learn from; None for all episodes.
        is_new: Returns which of the round's formulas are new, one flag per episode; by default the first of each
            sequence of actions in the round is. Best told by function and over the whole run: told by spelling, the
            policy learns to pad formulas, and told by round, it settles on one function.
    """

    def __init__(
        self,
        *args: Any,
        pad_index: int,
        elite_fraction: float | None,
        is_new: Callable[[], Sequence[bool]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.pad_index = pad_index
        self.elite_fraction = elite_fraction
        self.is_new = is_new
        self.elite_threshold = np.nan
        super().__init__(*args, **kwargs)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: NDArray[np.bool_]) -> None:
        """Fills in advantages and value targets; every episode must end with the rollout."""
        assert dones.all(), "a round ends with all its episodes"
        live = self.observations[..., self.pad_index] == 0  # [steps, episodes]
        episode_returns = self.rewards.sum(axis=0)
        if self.elite_fraction is None:
            # The reward belongs to the last token; with idle values at 0, GAE over the rest is that of the live steps.
            self.rewards[:] = 0
            self.rewards[live.sum(axis=0) - 1, np.arange(self.n_envs)] = episode_returns
            self.values[~live] = 0
            super().compute_returns_and_advantage(torch.zeros_like(last_values), dones)
            self._learned = live
            return
        new = self._new()
        self.returns[:] = episode_returns
        if not new.any():
            # Nothing to learn from: with no advantage, the entropy bonus alone makes the policy explore again.
            self.elite_threshold = float(episode_returns.max())
            self.advantages[:] = 0
            self._learned = live
            return
        # An actual return, so that the elite holds its threshold and its spread is 0 only if its advantages are.
        threshold = np.quantile(episode_returns[new], 1 - self.elite_fraction, method="lower")
        self.elite_threshold = float(threshold)
        elite = new & (episode_returns >= threshold)
        spread = float(episode_returns[elite].std())
        self.advantages[:] = np.where(elite, (episode_returns - threshold) / max(spread, 1e-8), 0)
        self._learned = live & elite

    def _new(self) -> NDArray[np.bool_]:
        """Returns which episodes may be elite; repeats would fill the elite, and then the policy."""
        if self.is_new is not None:
            return np.asarray(self.is_new(), dtype=np.bool_)
        first = np.zeros(self.n_envs, dtype=np.bool_)
        first[np.unique(self.actions[..., 0], axis=1, return_index=True)[1]] = True
        return first

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yields the steps to learn from, shuffled, in batches; the last one may be smaller."""
        if not self.generator_ready:
            for name in ("observations", "actions", "values", "log_probs", "advantages", "returns"):
                setattr(self, name, self.swap_and_flatten(getattr(self, name)))
            self.generator_ready = True
        steps = np.random.permutation(np.flatnonzero(self._learned.T))
        batch_size = batch_size or len(steps)
        for start in range(0, len(steps), batch_size):
            yield self._get_samples(steps[start : start + batch_size])
