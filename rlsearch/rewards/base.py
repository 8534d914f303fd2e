"""What a reward is: a callable from formulas to results.

Import-light on purpose: the environment knows a reward by this module alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

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

    On the default reward's scale, where 0 is "as good as ReLU" and chance lies near -0.5, -1 is worse than anything
    that trains. That is so of accuracies; of a task whose scores spread wider, set them lower.
    """

    unfit: float = Field(-1.0, description="screened out before any training")
    diverged: float = Field(-1.0, description="training became non-finite")
    failed: float = Field(-1.0, description="the reward raised or broke its contract")

    def of(self, status: Status) -> float:
        """The value configured for ``status``, which is not ``Status.OK``."""
        return float(getattr(self, status.value))


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What a reward says of one formula.

    Attributes:
        value: The reward. Read for status ok only; judging gives every other status its configured value.
        status: What became of the formula.
        score: Higher is better; accuracy on the validation part for a classifier. None where nothing was trained.
        latency: Forward plus backward time as a ratio to ReLU. None where it is not known.
        message: Why the status is not ok, in words.
        standard_error: Of the score, over seeds. None where it is not known, for instance from a single seed.
    """

    value: float
    status: Status = Status.OK
    score: float | None = None
    latency: float | None = None
    message: str = ""
    standard_error: float | None = None


class Reward(Protocol):
    """The public protocol: any callable of this form is a reward.

    It takes a sequence of formulas and returns one result each, in order. The same formula should get the same
    result again: results are stored by function and not asked for twice.
    """

    def __call__(self, formulas: Sequence[Formula], /) -> Sequence[RewardResult]:
        """Judges the formulas; one result each, in order."""
        ...
