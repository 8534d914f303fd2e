"""A user's own reward, adapted to stages."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from rlsearch.common.pool import Call, LokyPool, Lost
from rlsearch.common.settings import RewardTarget
from rlsearch.common.targets import build_callable, refresh
from rlsearch.common.users_code import FAILURES, as_message, seed_of, users_code, what_was_raised
from rlsearch.formula import Formula
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import LARGEST, REWARDS, Reward, RewardResult, Status
from rlsearch.rewards.staged import Evaluation

_LOGGER = logging.getLogger(__name__)


class PlainReward:
    """A plain reward in stages: its one stage is the call. Failures of the reward become a status.

    What the reward does to the process is undone after every call, and the global random numbers that it draws are its
    own; see :func:`~rlsearch.common.users_code.users_code`.

    Args:
        reward: A callable of formulas.
        name: Of the reward and its arguments; it stands where other rewards have the name of a proxy.
        run_seed: Decides with the formulas of a call what random numbers the reward draws.
    """

    seeded = False

    def __init__(self, reward: Reward, name: str, run_seed: int = 0) -> None:
        self.reward = reward
        self.run_seed = run_seed
        self.proxy_names = self.rescoring_proxy_names = (name,)
        self.references: tuple[Training, ...] = ()

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes nothing: a plain reward has no references."""

    def evaluate(self, trainings: Sequence[Training]) -> Iterator[list[Evaluation]]:
        """Calls the reward once; if that fails, once per formula, to find those that fail."""
        results, problem = self.call([training.formula for training in trainings])
        if results is not None:
            yield [self._evaluation(training, result) for training, result in zip(trainings, results, strict=True)]
            return
        for training in trainings:
            if len(trainings) > 1:
                results, problem = self.call([training.formula])
            (result,) = results or [RewardResult(math.nan, Status.FAILED, message=problem)]
            yield [self._evaluation(training, result)]

    def call(self, formulas: Sequence[Formula]) -> tuple[list[RewardResult] | None, str]:
        """The results; or None, and what was wrong with them."""
        seed = seed_of(str(self.run_seed), *(formula.fingerprint for formula in formulas))
        try:
            with users_code(seed):
                # A tuple: a reward that sorts or empties a list would give formulas the rewards of others.
                returned = self.reward(tuple(formulas))
                if callable(returned):
                    kind = type(returned).__name__
                    return None, f"the reward returned a {kind}, which is callable; was it made without its arguments?"
                results = list(returned)
        except FAILURES as error:
            # Whatever a user's code raises, the run goes on.
            return None, as_message(f"the reward raised {what_was_raised(error)}")
        if len(results) != len(formulas):
            return None, f"the reward returned {len(results)} result(s) for {len(formulas)} formula(s)"
        wrong = [r for r in results if not isinstance(r, RewardResult)]
        if wrong:
            return None, f"the reward returned a {type(wrong[0]).__name__}; expected RewardResult"
        return results, ""

    @staticmethod
    def _evaluation(training: Training, result: RewardResult) -> Evaluation:
        try:
            checked = _checked(result)
        except FAILURES as error:
            message = as_message(f"{as_message(error)}; the reward returned {as_message(result)}")
            checked = RewardResult(math.nan, Status.FAILED, message=message)
        if checked.status is Status.FAILED:
            _LOGGER.warning("'%s' failed: %s", training.formula, checked.message)
        return Evaluation(training, checked)

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """What the reward returned."""
        (evaluation,) = evaluations
        return evaluation.result


class IsolatedReward(PlainReward):
    """A plain reward that is called in a process of its own, which may hang or end without harm to the search.

    Args:
        settings: The reward, with a time limit.
        run_seed: As for a :class:`PlainReward`.
    """

    def __init__(self, settings: RewardTarget, run_seed: int) -> None:
        super().__init__(_never_called, name_of(settings), run_seed)
        self._settings = settings
        self._pool = LokyPool(1, leaves_caller_free=True)

    def call(self, formulas: Sequence[Formula]) -> tuple[list[RewardResult] | None, str]:
        """The results; or None, and what was wrong with them."""
        assert self._settings.time_limit is not None
        limit = self._settings.time_limit * len(formulas)
        call = Call((self._settings, self.run_seed, tuple(formulas)), limit, kind=self.proxy_names[0])
        (answer,) = self._pool.run(_call_in_worker, [call])
        if isinstance(answer, Lost):
            return None, f"the reward {answer.reason}"
        return answer  # type: ignore[no-any-return]


def _never_called(formulas: Sequence[Formula]) -> Sequence[RewardResult]:
    raise AssertionError("the reward is called in a worker")


def _call_in_worker(
    settings: RewardTarget, run_seed: int, formulas: Sequence[Formula]
) -> tuple[list[RewardResult] | None, str]:
    return _plain_reward(settings.model_dump_json(), run_seed).call(formulas)


@lru_cache(maxsize=4)
def _plain_reward(settings: str, run_seed: int) -> PlainReward:
    """A worker makes a reward once, and keeps it."""
    own = RewardTarget.model_validate_json(settings)
    return PlainReward(make_own(own, run_seed), name_of(own), run_seed)


def make_own(settings: RewardTarget, run_seed: int) -> Any:
    """Makes a user's own reward.

    Raises:
        ConfigError: If it cannot be found, or not be made with its arguments.
    """
    refresh([settings.target])
    with users_code(seed_of(str(run_seed), settings.target)):
        return build_callable({"target": settings.target, **settings.arguments}, "formulas")


def name_of(settings: RewardTarget) -> str:
    """The name of a reward and its arguments."""
    return f"{settings.target} {settings.arguments}" if settings.arguments else settings.target


def _checked(result: RewardResult) -> RewardResult:
    """The result with Python's numbers, which the archive takes, in the place of numpy's and torch's.

    Raises:
        ValueError: If a number is not one. Whatever conversion raises comes through.
    """
    status = Status(result.status)
    value = math.nan
    if status is Status.OK:
        value = float(result.value)
        # Written so that NaN is refused.
        if not abs(value) <= LARGEST:
            raise ValueError(f"its value is {value}; expected {REWARDS}")
    return RewardResult(
        value,
        status,
        _number("score", result.score),
        _number("latency", result.latency),
        as_message(result.message),
        _number("standard_error", result.standard_error),
        _numbers("scores", result.scores),
        _numbers("gains", result.gains),
    )


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"its {name} is {number}; expected a finite number, or None")
    return number


def _numbers(name: str, values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {}
    for key, value in values.items():
        number = _number(f"{name}[{key!r}]", value)
        if number is None:
            raise ValueError(f"its {name}[{key!r}] is None; expected a finite number")
        numbers[as_message(key)] = number
    return numbers
