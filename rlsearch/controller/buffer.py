"""A rollout buffer of whole episodes that learns from the elite of a round, or from all of it."""

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from rlsearch.controller.rounds import Episodes


class EpisodeBuffer(RolloutBuffer):
    """Holds one round: each column is one episode, from its first token to the last idle step.

    A rollout of stable-baselines3 fills it step by step, :meth:`hold` at once; what is held may be followed by episodes
    of others than the policy, which leave with the round.

    Idle steps, in which a complete formula takes padding, are dropped from what is learned: they carry no policy
    gradient, but would distort the loss's mean and the value fit.

    With an ``elite_fraction``, only the episodes are learned from whose formula is new and whose return reaches the
    ``1 - elite_fraction`` quantile of the new ones, with advantage ``(R - quantile) / std(elite)``: the risk-seeking
    policy gradient of Petersen et al. 2021 (arXiv 1912.04871), Section 3.2, in PPO's clipped form. Without one, GAE on
    all episodes.

    Args:
        pad_index: Index in the observation of the mask's entry for padding, which is 1 in idle steps.
        elite_fraction: Share of a round's new episodes to learn from; None for all episodes.

    Attributes:
        is_new: Which of the round's formulas are new, one flag per episode; by default the first of each sequence of
            actions. Best told by function and over the whole run: told by spelling, the policy learns to pad
            formulas, and told by round, it settles on one function.
        elite_threshold: The return that made an episode elite in the last round; NaN without an elite.
        entropy: Of the policy in the last round, in nats per token; of a round that it wrote before its last update,
            its cross-entropy with what it was.
    """

    def __init__(self, *args: Any, pad_index: int, elite_fraction: float | None, **kwargs: Any) -> None:
        self.pad_index = pad_index
        self.elite_fraction = elite_fraction
        self.elite_threshold = self.entropy = np.nan
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empties the buffer."""
        super().reset()
        self.is_new: NDArray[np.bool_] | None = None

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: NDArray[np.bool_]) -> None:
        """Fills in advantages and value targets; every episode must end with the rollout."""
        assert dones.all(), "a round ends with all its episodes"
        live = self.observations[..., self.pad_index] == 0  # [steps, episodes]
        own = slice(self.n_envs)
        self.entropy = float(-self.log_probs[:, own][live[:, own]].mean())
        episode_returns = self.rewards.sum(axis=0)
        if self.elite_fraction is None:
            # The reward belongs to the last token; with idle values at 0, GAE over the rest is that of the live steps.
            self.rewards[:] = 0
            self.rewards[live.sum(axis=0) - 1, np.arange(live.shape[1])] = episode_returns
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

    def hold(
        self, episodes: Episodes, returns: NDArray[np.floating[Any]], is_new: NDArray[np.bool_] | None = None
    ) -> None:
        """Takes a whole round at once.

        Args:
            episodes: One of the policy's per environment, and then those of others.
            returns: The reward of each episode.
            is_new: Which episodes may be elite.
        """
        self.reset()
        self.observations = episodes.observations.astype(self.observations.dtype, copy=False)
        self.actions = episodes.actions[..., None].astype(self.actions.dtype, copy=False)
        self.values, self.log_probs = episodes.values.copy(), episodes.log_probs
        self.rewards, self.advantages, self.returns, self.episode_starts = (
            np.zeros_like(episodes.values) for _ in range(4)
        )
        self.rewards[-1] = returns
        self.episode_starts[0] = 1
        self.is_new = is_new
        self.full = True

    def _new(self) -> NDArray[np.bool_]:
        """Which episodes may be elite; repeats would fill the elite, and then the policy."""
        if self.is_new is not None:
            return self.is_new
        first = np.zeros(self.actions.shape[1], dtype=np.bool_)
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
