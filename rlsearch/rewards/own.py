"""A user's own reward, adapted to stages."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence

from rlsearch.formula import Formula
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import Reward, RewardResult, Status
from rlsearch.rewards.staged import Evaluation

_LOGGER = logging.getLogger(__name__)


class PlainReward:
    """A plain reward in stages: its one stage is the call. Failures of the reward become a status.

    Args:
        reward: A callable of formulas.
        name: Of the reward and its arguments; it stands where other rewards have the name of a proxy.
    """

    seeded = False

    def __init__(self, reward: Reward, name: str) -> None:
        self.reward = reward
        self.proxy_names = self.rescoring_proxy_names = (name,)
        self.references: tuple[Training, ...] = ()

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes nothing: a plain reward has no references."""

    def evaluate(self, trainings: Sequence[Training]) -> Iterator[list[Evaluation]]:
        """Calls the reward once; if that fails, once per formula, to find those that fail."""
        results, problem = self._call([training.formula for training in trainings])
        if results is not None:
            yield [self._evaluation(training, result) for training, result in zip(trainings, results, strict=True)]
            return
        for training in trainings:
            if len(trainings) > 1:
                results, problem = self._call([training.formula])
            (result,) = results or [RewardResult(math.nan, Status.FAILED, message=problem)]
            yield [self._evaluation(training, result)]

    def _call(self, formulas: list[Formula]) -> tuple[list[RewardResult] | None, str]:
        """The results; or None, and what was wrong with them."""
        try:
            results = list(self.reward(formulas))
        except Exception as error:
            # Whatever a user's code raises, the run goes on.
            return None, f"the reward raised {type(error).__name__}: {error}"
        if len(results) != len(formulas):
            return None, f"the reward returned {len(results)} result(s) for {len(formulas)} formula(s)"
        wrong = [r for r in results if not isinstance(r, RewardResult)]
        if wrong:
            return None, f"the reward returned a {type(wrong[0]).__name__}; expected RewardResult"
        return results, ""

    @staticmethod
    def _evaluation(training: Training, result: RewardResult) -> Evaluation:
        message = str(result.message)
        score = latency = None
        value = math.nan
        try:
            # Numbers of numpy and torch become Python's, which the archive takes.
            status = Status(result.status)
            score = None if result.score is None else float(result.score)
            latency = None if result.latency is None else float(result.latency)
            if status is Status.OK:
                value = float(result.value)
                if not math.isfinite(value):
                    raise ValueError("its value is not finite")
        except (TypeError, ValueError, RuntimeError) as error:
            status, value, message = Status.FAILED, math.nan, f"the reward returned {result}: {error}"
        if status is Status.FAILED:
            _LOGGER.warning("'%s' failed: %s", training.formula, message)
        return Evaluation(training, RewardResult(value, status, score, latency, message))

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """What the reward returned."""
        (evaluation,) = evaluations
        return evaluation.result
