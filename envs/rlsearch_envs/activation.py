"""The gymnasium environment: one formula is one episode."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import InvalidAction, ResetNeeded
from numpy.typing import NDArray

from rlsearch.common.targets import build_callable
from rlsearch.errors import ConfigError, RewardError
from rlsearch.formula import PAD, FormulaBuilder, Grammar
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards.base import Reward
from rlsearch_envs.curve import CurveReward
from rlsearch_envs.observation import ObservationLayout

Observation = NDArray[np.int64]


class ActivationEnv(gymnasium.Env[Observation, np.int64]):
    """Builds an activation function token by token, in prefix order.

    ## Description
    Each action appends one token (an operator, an input or a constant) to a prefix sequence. The episode ends when
    the sequence is a complete formula; the reward callable judges it then.

    ## Action Space
    ``Discrete(len(vocabulary) + 1)``: token ids. Id 0 is padding, which is never legal before the formula is
    complete. Which tokens are legal depends on the prefix; see Information.

    ## Observation Space
    A ``Box`` of int64: token ids so far, parent, sibling, open slots, length, action mask, laid out by
    :class:`~rlsearch_envs.observation.ObservationLayout`.

    ## Starting State
    The empty sequence with one open slot. There is no randomness: a seed changes nothing but ``action_space``.

    ## Rewards
    0 until the formula is complete, then the reward callable's value for it.

    ## Episode End
    Terminates when the formula is complete, which the mask guarantees within ``max_length`` steps, or at an illegal
    action (with ``illegal_action="end"``). Never truncates.

    ## Information
    ``action_mask``: int8 of shape ``[n_actions]``, as ``action_space.sample(mask=...)`` takes it; also
    :meth:`action_masks`, bool, as sb3-contrib's MaskablePPO takes it. ``illegal_action``: True after one. At the
    end, ``formula`` (a Formula), ``status``, ``score`` and ``latency``. Episode statistics (``info["episode"]``) are
    left to the usual wrappers, gymnasium's RecordEpisodeStatistics and stable-baselines3's Monitor, which insist on
    writing them.

    ## Arguments
    Live objects go to the constructor; through ``gymnasium.make``, whose arguments are deep-copied with the spec,
    pass ``language`` and ``make_reward`` as config or factory instead:

    >>> env = gymnasium.make(
    ...     "rlsearch_envs:rlsearch/Activation-v0",
    ...     language={"operators": ["mul", "sigmoid"], "constants": [1.0]},
    ...     make_reward={"target": "rlsearch_envs:CurveReward", "curve": "silu(x)"},
    ... )  # doctest: +SKIP

    Args:
        grammar: What can be written; by default that of ``LanguageSettings()``.
        reward: Judges the complete formula; by default ``CurveReward()``, closeness to GELU's curve.
        language: Instead of ``grammar``: a mapping of ``LanguageSettings``, or a factory that returns a Grammar.
        make_reward: Instead of ``reward``: ``{"target": "package.module:name", ...arguments}``, the target alone, or
            a factory that returns a reward.
        illegal_action: ``"end"`` ends the episode with ``illegal_reward``; ``"raise"`` raises.
        illegal_reward: The reward of an illegal action.
        render_mode: ``"ansi"`` returns the formula as it stands, ``"rgb_array"`` a picture of its curve.

    Raises:
        ConfigError: If an argument is wrong.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012  (gymnasium's attribute)

    def __init__(
        self,
        grammar: Grammar | None = None,
        reward: Reward | None = None,
        *,
        language: Mapping[str, Any] | Callable[[], Grammar] | None = None,
        make_reward: Mapping[str, Any] | str | Callable[[], Reward] | None = None,
        illegal_action: Literal["end", "raise"] = "end",
        illegal_reward: float = -1.0,
        render_mode: str | None = None,
    ) -> None:
        if illegal_action not in ("end", "raise"):
            raise ConfigError(f"illegal_action is {illegal_action!r}; expected 'end' or 'raise'")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode is {render_mode!r}; expected one of {self.metadata['render_modes']}")
        self.grammar = _grammar(grammar, language)
        self.reward = _reward(reward, make_reward)
        self.illegal_action = illegal_action
        self.illegal_reward = float(illegal_reward)
        self.render_mode = render_mode
        self.layout = ObservationLayout.of(self.grammar)
        self.observation_space = self.layout.space()  # type: ignore[assignment]
        self.action_space = spaces.Discrete(self.layout.n_actions)
        self._builder = FormulaBuilder(self.grammar, 1)
        self._mask = self._builder.mask()
        self._is_over = True

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal now, bool of shape ``[n_actions]``."""
        mask: NDArray[np.bool_] = self._mask[0].copy()
        return mask

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an empty formula."""
        super().reset(seed=seed)
        self._builder.reset()
        self._is_over = False
        return self._observe(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Appends the token ``action``.

        Raises:
            InvalidAction: If the action is illegal and ``illegal_action="raise"``.
            ResetNeeded: If the episode is over.
        """
        if self._is_over:
            raise ResetNeeded("the episode is over: call reset() before step()")
        if not (0 <= action < self.layout.n_actions and self._mask[0, action]):
            if self.illegal_action == "raise":
                raise InvalidAction(illegal_action_message(self._builder, self._mask, 0, int(action)))
            self._is_over = True
            return self._observe(), self.illegal_reward, True, False, self._info(illegal_action=True)
        self._builder.advance(np.array([action], dtype=np.int64))
        self._is_over = bool(self._builder.finished[0])
        observation = self._observe()
        if not self._is_over:
            return observation, 0.0, False, False, self._info()
        formula = self._builder.formula(0)
        results = self.reward([formula])
        if len(results) != 1:
            raise RewardError(f"the reward returned {len(results)} results for one formula, '{formula}'")
        result = results[0]
        info = self._info(formula=formula, status=result.status.value, score=result.score, latency=result.latency)
        return observation, float(result.value), True, False, info

    def render(self) -> str | NDArray[np.uint8] | None:
        """The formula as text, or its curve as an array of shape ``[height, width, 3]``."""
        if self.render_mode == "ansi":
            return self._builder.text(0)
        if self.render_mode == "rgb_array":
            from rlsearch_envs.drawing import draw_curve

            return draw_curve(self._builder)
        return None

    def _observe(self) -> Observation:
        self._mask = self._builder.mask()
        observation: Observation = self.layout.observe(self._builder, self._mask)[0]
        return observation

    def _info(self, **more: Any) -> dict[str, Any]:
        return {"action_mask": self._mask[0].astype(np.int8), "illegal_action": False, **more}


def illegal_action_message(builder: FormulaBuilder, mask: NDArray[np.bool_], row: int, action: int) -> str:
    """Says what was done and what would have been legal."""
    vocabulary = builder.grammar.vocabulary
    legal = ", ".join(f"{vocabulary.name(int(i))} ({i})" for i in np.flatnonzero(mask[row]))
    name = vocabulary.name(action) if PAD <= action <= len(vocabulary) else "no token"
    return f"action {action} ({name}) is illegal after '{builder.text(row)}'; legal are {legal}"


def _grammar(grammar: Grammar | None, language: Mapping[str, Any] | Callable[[], Grammar] | None) -> Grammar:
    if grammar is not None and language is not None:
        raise ConfigError("give either grammar or language, not both")
    if callable(language):
        grammar = language()
    elif language is not None:
        grammar = LanguageSettings.check(language).grammar()
    elif grammar is None:
        grammar = LanguageSettings().grammar()
    if not isinstance(grammar, Grammar):
        raise ConfigError(f"the language is a {type(grammar).__name__}; expected a Grammar")
    return grammar


def _reward(reward: Reward | None, make_reward: Mapping[str, Any] | str | Callable[[], Reward] | None) -> Reward:
    if reward is not None and make_reward is not None:
        raise ConfigError("give either reward or make_reward, not both")
    if callable(make_reward):
        reward = make_reward()
    elif make_reward is not None:
        reward = build_callable(make_reward, "formulas")
    elif reward is None:
        reward = CurveReward()
    if not callable(reward):
        raise ConfigError(f"the reward is a {type(reward).__name__}, which cannot be called with formulas")
    return reward
