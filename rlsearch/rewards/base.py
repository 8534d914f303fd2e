"""What a reward is: a callable from formulas to results.

Import-light on purpose: the environment knows a reward by this module alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self

from pydantic import Field

from rlsearch.common.settings import Settings
from rlsearch.formula.formula import Formula


class Status(StrEnum):
    """What became of a formula."""

    OK = "ok"
    UNFIT = "unfit"
    """Screened out before any training: not finite, constant, or too steep."""
    DIVERGED = "diverged"
    """Training became non-finite."""
    FAILED = "failed"
    """The reward raised or broke its contract."""

    @property
    def is_trained(self) -> bool:
        """Whether something was trained, to its end or until it diverged."""
        return self in (Status.OK, Status.DIVERGED)


class StatusValues(Settings):
    """The reward of a formula that has no score, by status.

    On the scale of accuracies, where 0 is "as good as ReLU" and chance lies near -0.5, -1 is worse than anything that
    trains; where gains are in spreads of the baselines, and cut at -3, -4 is.
    """

    unfit: float | None = Field(
        None, description="reward of a formula that was screened out; None: -1, or -4 where gains are in spreads"
    )
    diverged: float | None = Field(None, description="reward where training became non-finite; None: as for unfit")
    failed: float | None = Field(
        None, description="reward where your reward function raised, or returned something else; None: as for unfit"
    )

    def of(self, status: Status) -> float:
        """The value for ``status``, which is not ``Status.OK``."""
        value = getattr(self, status.value)
        return WORST_POINTS if value is None else float(value)

    def filled(self, worst: float) -> Self:
        """The same with ``worst`` where nothing is said."""
        return self.model_copy(update={name: worst for name, value in self if value is None})


LARGEST = 3.4028234663852886e38
"""The largest reward, either way: float32's largest number. What learns from rewards computes in float32."""

REWARDS = f"a number from -{LARGEST:.2g} to {LARGEST:.2g}"
"""What a reward has to be, for messages."""

WORST_POINTS, WORST_SPREADS = -1.0, -4.0
"""Worse than the reward of anything that trains, where gains are in points of accuracy, and where in spreads."""


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What a reward says of one formula.

    Attributes:
        value: The reward, within float32's range. Read for status ok only; judging gives every other status its
            configured value.
        status: What became of the formula.
        score: Higher is better; accuracy on the validation part for a classifier. None where nothing was trained.
        latency: Forward plus backward time as a ratio to ReLU. None where it is not known.
        message: Why the status is not ok, in words.
        standard_error: Of the score, over seeds. None where it is not known, for instance from a single seed.
        scores: Scores that it was made of, by name, such as one for each proxy of a panel.
        gains: What of it each of them gave, by the same names.
    """

    value: float
    status: Status = Status.OK
    score: float | None = None
    latency: float | None = None
    message: str = ""
    standard_error: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    gains: Mapping[str, float] = field(default_factory=dict, hash=False)


class Reward(Protocol):
    """The public protocol: any callable of this form is a reward.

    It takes a sequence of formulas and returns one result each, in order. The same formula should get the same
    result again: results are stored by function and not asked for twice. Global random numbers that it draws follow
    from the run's seed and the formulas.
    """

    def __call__(self, formulas: Sequence[Formula], /) -> Sequence[RewardResult]:
        """Judges the formulas; one result each, in order."""
        ...
