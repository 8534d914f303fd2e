"""What a reward is: a callable from formulas to results, and the staged form whose parts can be stored.

Import-light on purpose: the environment knows a reward by this module alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

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
    ILLEGAL = "illegal"
    """Not a formula: an action was taken that the mask forbids."""


class StatusValues(Settings):
    """The reward of a formula that has no score, by status.

    On the default reward's scale, where 0 is "as good as ReLU" and chance lies near -0.5, -1 is worse than anything
    that trains.
    """

    unfit: float = -1.0
    diverged: float = -1.0
    failed: float = -1.0
    illegal: float = -1.0

    def of(self, status: Status) -> float:
        """Returns the value configured for ``status``, which is not ``Status.OK``."""
        return float(getattr(self, status.value))


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What a reward says of one formula.

    Attributes:
        value: The reward. Read for status ok only; judging gives every other status its configured value.
        status: What became of the formula.
        score: Higher is better; validation accuracy for a classifier. None where nothing was trained.
        latency: Forward plus backward time as a ratio to ReLU. None where it is not known.
        message: Why the status is not ok, in words.
    """

    value: float
    status: Status = Status.OK
    score: float | None = None
    latency: float | None = None
    message: str = ""


class Reward(Protocol):
    """The public protocol: any callable of this form is a reward.

    It takes a sequence of formulas and returns one result each, in order. The same formula should get the same
    result again: results are stored by function and not asked for twice.
    """

    def __call__(self, formulas: Sequence[Formula], /) -> Sequence[RewardResult]:
        """Returns one result per formula."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One training that is wanted: of the proxy called ``protocol``, with ``formula``, from ``seed``."""

    formula: Formula
    protocol: str
    seed: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One training that was done.

    Attributes:
        request: What was asked for.
        status: How it ended.
        score: Validation accuracy; None unless the status is ok.
        latency: The formula's latency ratio, where the reward knows one.
        wall_seconds: Its share of the time that went by until its population was there, others being there already.
        value: The reward as returned, for a plain reward, which has no other parts.
        message: Why the status is not ok, in words.
    """

    request: Request
    status: Status
    score: float | None = None
    latency: float | None = None
    wall_seconds: float = 0.0
    value: float | None = None
    message: str = ""


@runtime_checkable
class StagedReward(Protocol):
    """A reward in two stages: evaluations, which are expensive and stored, and arithmetic on them, which is neither.

    Judging drives this form. A plain :class:`Reward` is adapted to it.

    Attributes:
        protocols: Names of the proxies; each stands for everything that decides a score except formula and seed.
        rescoring_protocols: Those by which the best are scored again: the same, or of a higher fidelity.
        references: Evaluations that others are relative to, for instance ReLU's.
        seeded: Whether another seed gives another score, so that scoring again says more.
    """

    @property
    def protocols(self) -> Sequence[str]:
        """Names of the proxies."""
        ...

    @property
    def rescoring_protocols(self) -> Sequence[str]:
        """Names of the proxies by which the best are scored again."""
        ...

    @property
    def references(self) -> Sequence[Request]:
        """What others are relative to."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether scoring again says more."""
        ...

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes the evaluations of ``references``, once, before anything is combined."""
        ...

    def evaluate(self, requests: Sequence[Request]) -> Iterator[Sequence[Evaluation]]:
        """Yields the evaluations of ``requests``, population by population, each as soon as it is done.

        What is done by other processes begins before the first of them, which may be empty.
        """
        ...

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """Returns the result of ``formula`` from all its evaluations, over every proxy and seed."""
        ...
