"""The settings of the controller; those under ``ppo`` carry stable-baselines3's names."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rlsearch.common.settings import Settings

_DERIVED = {
    "n_envs": "it is search.formulas_per_round, without the offspring",
    "n_steps": "it is language.max_length, so that one rollout is one round",
    "normalize_advantage": "learn_from decides it: elite advantages are scaled already, mean ones are normalised",
}


class PPOSettings(Settings):
    """Arguments of ``stable_baselines3.PPO``."""

    learning_rate: float = Field(3e-3, gt=0, description="step size of Adam")
    batch_size: int = Field(
        1024, ge=2, description="most tokens of one gradient step; the largest divisor of a rollout's tokens is taken"
    )
    n_epochs: int = Field(4, ge=1, description="passes over a round's tokens in one update")
    gamma: float = Field(1.0, gt=0, le=1, description="discount per token; 1, since the reward is the whole formula's")
    gae_lambda: float = Field(
        1.0, ge=0, le=1, description="lambda of generalised advantage estimation; only learn_from 'mean' uses it"
    )
    clip_range: float = Field(
        0.2, gt=0, description="PPO's clip range: how far from 1 a probability ratio still counts"
    )
    ent_coef: float = Field(0.05, ge=0, description="weight of the entropy bonus; higher explores longer")
    vf_coef: float = Field(0.5, ge=0, description="weight of the critic's loss")
    max_grad_norm: float = Field(0.5, gt=0, description="the gradient's norm is clipped to this")
    target_kl: float | None = Field(
        None, gt=0, description="an update ends early at 1.5 times this KL divergence; None: never"
    )
    net_arch: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of actor and critic")

    @model_validator(mode="before")
    @classmethod
    def _refuse_derived(cls, values: Any) -> Any:
        for name, reason in _DERIVED.items():
            if isinstance(values, dict) and name in values:
                raise ValueError(f"{name} is not a setting: {reason}")
        return values

    @field_validator("net_arch")
    @classmethod
    def _positive(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in widths):
            raise ValueError(f"layer widths must be positive, got {list(widths)}")
        return widths


class ControllerSettings(Settings):
    """How the policy learns, and how much evolution helps it."""

    learn_from: Literal["elite", "mean"] = Field(
        "elite", description="elite: only the best new formulas of a round; mean: all of them, which is plain PPO"
    )
    elite_fraction: float = Field(0.05, gt=0, lt=1, description="share of a round's new formulas that are the elite")
    offspring: float = Field(0.5, ge=0, lt=1, description="share of a round that are children of the best so far")
    parents: int = Field(32, ge=1, description="how many of the best functions so far have children")
    tournament: int = Field(2, ge=1, description="parents that compete for each child; more is greedier")
    written_per_judged: int = Field(
        1,
        ge=1,
        le=100,
        description="formulas written for each one that is judged; a surrogate model drops the others",
    )
    restart_every: int | None = Field(
        None,
        ge=1,
        description="rounds after which policy and parents start from scratch; the archive is kept; None: never",
    )
    overlap: bool = Field(
        False,
        description="learn and write while a round is being trained, so one round late; for a GPU that would wait",
    )
    ppo: PPOSettings = Field(PPOSettings(), description="arguments of stable-baselines3's PPO, by its names")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.learn_from == "mean" and self.written_per_judged > 1:
            raise ValueError(
                "written_per_judged drops formulas, which a mean over all of them cannot do without; "
                "set it to 1, or learn_from to 'elite'"
            )
        if self.overlap and (self.written_per_judged > 1 or self.restart_every):
            raise ValueError(
                "overlap writes a round before the last one is judged, which neither a surrogate nor a restart can do "
                "without; set written_per_judged to 1 and leave restart_every out, or set overlap to false"
            )
        return self
