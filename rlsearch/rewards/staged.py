"""The staged form of a reward, whose parts can be stored: trainings, and arithmetic on what they gave."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rlsearch.formula import Formula
from rlsearch.proxies.base import Failure, Outcome, Training
from rlsearch.rewards.base import RewardResult, Status


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One training that was done.

    Attributes:
        training: What was asked for.
        result: What became of it. Its value is the reward as returned by a plain reward, which has no other parts; a
            training of a proxy has none of its own, and there it is NaN.
        wall_seconds: Its share of the time that its population took.
        outside: The score on inputs outside the range of training, which is a part of ``score``; None where there is
            none.
        parameters: What the formula's parameters were at the end, as an :class:`~rlsearch.proxies.base.Outcome` has it.
    """

    training: Training
    result: RewardResult
    wall_seconds: float = 0.0
    outside: float | None = None
    parameters: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.result.status

    @property
    def score(self) -> float | None:
        """The score; None unless the status is ok."""
        return self.result.score

    @property
    def is_trained(self) -> bool:
        """Whether something was trained, to its end or until it diverged."""
        return self.status.is_trained

    @classmethod
    def of_outcome(
        cls,
        training: Training,
        outcome: Outcome | Failure | None,
        latency: float | None = None,
        wall_seconds: float = 0.0,
    ) -> "Evaluation":
        """The evaluation of a training from what its trainer returned; None where it became non-finite."""
        if isinstance(outcome, Failure):
            return cls(training, RewardResult(math.nan, Status.FAILED, None, latency, outcome.message), wall_seconds)
        if outcome is None:
            result = RewardResult(math.nan, Status.DIVERGED, None, latency, "training became non-finite")
            return cls(training, result, wall_seconds)
        result = RewardResult(math.nan, Status.OK, outcome.score, latency)
        return cls(training, result, wall_seconds, outcome.outside, outcome.parameters)


@runtime_checkable
class StagedReward(Protocol):
    """A reward in two stages: evaluations, which are expensive and stored, and arithmetic on them, which is neither.

    Judging drives this form. A plain :class:`~rlsearch.rewards.base.Reward` is adapted to it.

    Attributes:
        proxy_names: What a new function is trained on; each name stands for everything that decides a score except
            formula and seed.
        rescoring_proxy_names: What the best are trained on again: the same, or of a higher fidelity.
        references: Trainings that others are relative to, for instance ReLU's.
        seeded: Whether another seed gives another score, so that scoring again says more.
    """

    @property
    def proxy_names(self) -> Sequence[str]:
        """What a new function is trained on."""
        ...

    @property
    def rescoring_proxy_names(self) -> Sequence[str]:
        """What the best are trained on again."""
        ...

    @property
    def references(self) -> Sequence[Training]:
        """What others are relative to."""
        ...

    @property
    def seeded(self) -> bool:
        """Whether scoring again says more."""
        ...

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes the evaluations of ``references``, once, before anything is combined."""
        ...

    def evaluate(self, trainings: Sequence[Training]) -> Iterator[Sequence[Evaluation]]:
        """Yields the evaluations of ``trainings``, population by population, each as soon as it is done.

        By the time of the first population, which may be empty, worker processes have begun with the others.
        """
        ...

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """The result of ``formula`` from all its evaluations, over every proxy and seed."""
        ...
