"""A user's own reward, adapted to stages."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence

from rlsearch.formula import Formula
from rlsearch.rewards.base import Evaluation, Request, Reward, RewardResult, Status

_log = logging.getLogger(__name__)


class PlainReward:
    """A plain reward in stages: its one stage is the call. Failures of the reward become a status.

    Args:
        reward: A callable of formulas, or None when results are only read back.
        protocol: Names the reward and its arguments.
    """

    seeded = False

    def __init__(self, reward: Reward | None, protocol: str) -> None:
        self.reward = reward
        self.protocols = self.rescoring_protocols = (protocol,)
        self.references: tuple[Request, ...] = ()

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes nothing: a plain reward has no references."""

    def evaluate(self, requests: Sequence[Request]) -> Iterator[list[Evaluation]]:
        """Calls the reward once; if that fails, once per formula, to find those that fail."""
        results, problem = self._call([request.formula for request in requests])
        if results is not None:
            yield [self._evaluation(request, result) for request, result in zip(requests, results, strict=True)]
            return
        for request in requests:
            if len(requests) > 1:
                results, problem = self._call([request.formula])
            (result,) = results or [RewardResult(math.nan, Status.FAILED, message=problem)]
            yield [self._evaluation(request, result)]

    def _call(self, formulas: list[Formula]) -> tuple[list[RewardResult] | None, str]:
        """Returns the results, or None and what was wrong with them."""
        assert self.reward is not None
        try:
            results = list(self.reward(formulas))
        except Exception as error:  # whatever a user's code raises, the run goes on
            return None, f"the reward raised {type(error).__name__}: {error}"
        if len(results) != len(formulas):
            return None, f"the reward returned {len(results)} result(s) for {len(formulas)} formula(s)"
        wrong = [r for r in results if not isinstance(r, RewardResult)]
        if wrong:
            return None, f"the reward returned a {type(wrong[0]).__name__}; expected RewardResult"
        return results, ""

    @staticmethod
    def _evaluation(request: Request, result: RewardResult) -> Evaluation:
        score = latency = value = None
        message = str(result.message)
        try:  # numpy's and torch's numbers become Python's, which the archive takes
            status = Status(result.status)
            score, latency = (None if number is None else float(number) for number in (result.score, result.latency))
            value = float(result.value) if status is Status.OK else None
            if value is not None and not math.isfinite(value):
                raise ValueError("its value is not finite")
        except (TypeError, ValueError, RuntimeError) as error:
            status, value, message = Status.FAILED, None, f"the reward returned {result}: {error}"
        if status is Status.FAILED:
            _log.warning("'%s' failed: %s", request.formula, message)
        return Evaluation(request, status, score, latency, 0.0, value, message)

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """Returns what the reward returned."""
        (evaluation,) = evaluations
        value = math.nan if evaluation.value is None else evaluation.value
        return RewardResult(value, evaluation.status, evaluation.score, evaluation.latency, evaluation.message)
