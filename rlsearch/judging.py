"""Judging a round: merged by function, looked up, evaluated, committed, and spread back over the round.

Common to every reward. A user's own reward is adapted to stages here, and so gets archive, resume and
de-duplication for nothing.
"""

import heapq
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from pydantic import Field

from rlsearch.formula import Formula
from rlsearch.rewards.protocol import (
    Evaluation,
    Request,
    Reward,
    RewardResult,
    StagedReward,
    Status,
    StatusValues,
)
from rlsearch.settings import Settings
from rlsearch.storage.archive import Archive, Proposal

_log = logging.getLogger(__name__)


class RescoringSettings(Settings):
    """How the best functions are trained again, before the round's results steer the policy."""

    every: int = Field(1, ge=0, description="rounds between two rescorings; 0 for none")
    best: int = Field(8, ge=1, description="functions that are rescored")
    max_seeds: int = Field(8, ge=2, le=1000, description="seeds of a function after which it is known well enough")
    epochs_factor: int = Field(
        1, ge=1, description="how much longer they are trained; the longer training alone counts"
    )


@dataclass(slots=True)
class Judged:
    """A function and all that is known of it.

    Attributes:
        formula: Its spelling with the highest reward.
        result: That spelling's result.
        evaluations: All of its evaluations, over proxies and seeds.
        last_round: The last round in which it was proposed; -1 for a reference that has not been.
    """

    formula: Formula
    result: RewardResult
    evaluations: list[Evaluation] = field(default_factory=list)
    last_round: int = -1

    @property
    def seeds(self) -> int:
        """Number of seeds it was trained from, by any protocol."""
        return len({e.request.seed for e in self.evaluations})

    def seeds_of(self, protocol: str) -> int:
        """Returns the number of its evaluations by one protocol."""
        return sum(e.request.protocol == protocol for e in self.evaluations)

    @property
    def rank(self) -> tuple[float, int]:
        """Sorts by reward; at a tie the shorter spelling is the better one, and then the earlier."""
        return (self.result.value, -self.formula.size)


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What happened in one round.

    Attributes:
        round_number: From 0.
        formulas: What was proposed.
        results: What the controller was told, in the same order.
        fresh: Which slots had a function that was not known.
        evaluations: Trainings done, rescoring included.
        seconds: Time that judging took.
    """

    round_number: int
    formulas: tuple[Formula, ...]
    results: tuple[RewardResult, ...]
    fresh: tuple[bool, ...]
    evaluations: int
    seconds: float

    def share(self, status: Status) -> float:
        """Returns the share of the round's formulas with ``status``."""
        return sum(r.status is status for r in self.results) / len(self.results)


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


class Judge:
    """Judges rounds; to the environment it is a reward like any other.

    A run that was killed in a round begins that round again with the same proposals. What the archive holds of the
    round is then taken instead of trained, at the point where it would have been trained, so everything that follows
    is as if nothing had happened.

    Args:
        reward: What evaluates formulas.
        archive: Where everything is stored.
        seeds: Gives the seed of a formula's i-th evaluation.
        seeds_per_formula: Seeds of a new function.
        status_values: The reward of a formula that has no score, by status.
        rescoring: How the best are scored again.
        first_round: The round to go on with; what the archive has of it and of later ones is not yet known.
        on_progress: Called with the number of evaluations done of those wanted for this round's new functions.

    Attributes:
        round: Number of the next round.
        report: What happened in the last round.
        known: Every function judged, by fingerprint, in the order in which they came.
        proposals: Formulas judged, repeats included.
        candidates: Functions that the search has trained; what is unfit, or a reference, costs nothing.
    """

    def __init__(
        self,
        reward: StagedReward,
        archive: Archive,
        seeds: Callable[[int], int],
        *,
        seeds_per_formula: int = 1,
        status_values: StatusValues = StatusValues(),
        rescoring: RescoringSettings = RescoringSettings(),
        first_round: int = 0,
        on_progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> None:
        self.reward = reward
        self.archive = archive
        self.seeds = seeds
        self.seeds_per_formula = seeds_per_formula
        self.status_values = status_values
        self.rescoring = rescoring
        self.round = first_round
        self.on_progress = on_progress
        self.report: RoundReport | None = None
        self.known: dict[str, Judged] = {}
        self.proposals = archive.proposals(first_round)
        self.candidates = 0
        self._done_before: dict[tuple[str, str, int], Evaluation] = {}
        self._trained = 0
        self._take_up()

    def _take_up(self) -> None:
        """Reads the archive: the rounds before this one are known, this one's evaluations need not be done again."""
        earlier: list[Evaluation] = []
        for number, evaluation in self.archive.evaluations():
            if 0 <= number < self.round:
                earlier.append(evaluation)
            else:
                self._done_before[_key(evaluation.request)] = evaluation
        references = self._evaluate(-1, self.reward.references)
        self.reward.refer(references)
        by_function: dict[str, list[Evaluation]] = {}
        for evaluation in (*references, *earlier):
            by_function.setdefault(evaluation.request.formula.fingerprint, []).append(evaluation)
        spellings = list(self.archive.spellings(before_round=self.round))
        # In the order in which they came: a reward may yield its evaluations in another.
        came = dict.fromkeys([*(e.request.formula.fingerprint for e in references), *(s[0] for s in spellings)])
        for fingerprint in came | dict.fromkeys(by_function):
            if evaluations := by_function.get(fingerprint):
                self._learn(evaluations[0].request.formula, fingerprint, evaluations)
        self.candidates -= len({request.formula.fingerprint for request in self.reward.references})
        for fingerprint, formula, last_round in spellings:
            if fingerprint in self.known:
                self._result(formula)
                self.known[fingerprint].last_round = max(self.known[fingerprint].last_round, last_round)

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        """Judges the formulas of one round and stores them."""
        started, self._trained = time.perf_counter(), 0
        first_of: dict[str, int] = {}
        for slot, formula in enumerate(formulas):
            if formula.fingerprint not in self.known:
                first_of.setdefault(formula.fingerprint, slot)
        requests = [
            Request(formulas[slot], protocol, self.seeds(i))
            for slot in first_of.values()
            for i in range(self.seeds_per_formula)
            for protocol in self.reward.protocols
        ]
        found: dict[str, list[Evaluation]] = {fingerprint: [] for fingerprint in first_of}
        for evaluation in self._evaluate(self.round, requests, watched=True):
            found[evaluation.request.formula.fingerprint].append(evaluation)
        for fingerprint, slot in first_of.items():
            self._learn(formulas[slot], fingerprint, found[fingerprint])
        if self.reward.seeded and self.rescoring.every and (self.round + 1) % self.rescoring.every == 0:
            self._rescore()

        results = [self._result(formula) for formula in formulas]
        for formula in formulas:
            self.known[formula.fingerprint].last_round = self.round
        fresh = [first_of.get(formula.fingerprint) == slot for slot, formula in enumerate(formulas)]
        self.archive.add_round(
            self.round,
            [Proposal(f, new, r.status, r.value) for f, new, r in zip(formulas, fresh, results, strict=True)],
        )
        seconds = time.perf_counter() - started
        self.report = RoundReport(self.round, tuple(formulas), tuple(results), tuple(fresh), self._trained, seconds)
        self.round += 1
        self.proposals += len(formulas)
        return results

    def leaderboard(self, count: int) -> list[Judged]:
        """Returns the ``count`` best functions, best first."""
        ok = (judged for judged in self.known.values() if judged.result.status is Status.OK)
        return heapq.nlargest(count, ok, key=lambda judged: judged.rank)

    def recent(self, count: int) -> list[Judged]:
        """Returns the ``count`` functions judged last, the newest first."""
        return list(islice(reversed(self.known.values()), count))

    def _rescore(self) -> None:
        protocols = self.reward.rescoring_protocols
        # References keep their seeds: everything is relative to them, and ReLU itself stays at exactly 0.
        references = {request.formula.fingerprint for request in self.reward.references}
        chosen = [
            judged
            for judged in self.leaderboard(self.rescoring.best)
            if judged.seeds_of(protocols[0]) < self.rescoring.max_seeds and judged.formula.fingerprint not in references
        ]
        requests = [
            Request(judged.formula, protocol, self.seeds(judged.seeds_of(protocol)))
            for judged in chosen
            for protocol in protocols
        ]
        for evaluation in self._evaluate(self.round, requests):
            self.known[evaluation.request.formula.fingerprint].evaluations.append(evaluation)
        for judged in chosen:
            judged.result = self._checked(self.reward.combine(judged.formula, judged.evaluations))

    def _evaluate(self, round_number: int, requests: Sequence[Request], watched: bool = False) -> list[Evaluation]:
        """Returns one evaluation per request, stored population by population; those stored before are taken."""
        done = {_key(r): self._done_before[_key(r)] for r in requests if _key(r) in self._done_before}
        wanted = [request for request in requests if _key(request) not in done]
        for population in self.reward.evaluate(wanted) if wanted else ():
            self.archive.add_evaluations(round_number, population)
            done |= {_key(evaluation.request): evaluation for evaluation in population}
            if watched:
                self.on_progress(len(done), len(requests))
        self._trained += sum(done[_key(r)].status in (Status.OK, Status.DIVERGED) for r in requests)
        return [done[_key(request)] for request in requests]

    def _learn(self, formula: Formula, fingerprint: str, evaluations: list[Evaluation]) -> None:
        result = self._checked(self.reward.combine(formula, evaluations))
        self.known[fingerprint] = Judged(formula, result, evaluations)
        self.candidates += result.status in (Status.OK, Status.DIVERGED)

    def _result(self, formula: Formula) -> RewardResult:
        """Returns the result of a known function in this spelling, which may be the best one yet."""
        judged = self.known[formula.fingerprint]
        if formula == judged.formula:
            return judged.result
        result = self._checked(self.reward.combine(formula, judged.evaluations))
        if (result.value, -formula.size) > (judged.result.value, -judged.formula.size):
            judged.formula, judged.result = formula, result
        return result

    def _checked(self, result: RewardResult) -> RewardResult:
        """Gives a result that is not ok its configured value; ok means a finite reward."""
        if result.status is Status.OK:
            if math.isfinite(result.value):
                return result
            result = RewardResult(result.value, Status.FAILED, message=f"the reward is {result.value}")
        value = self.status_values.of(result.status)
        return RewardResult(value, result.status, result.score, result.latency, result.message)


def _key(request: Request) -> tuple[str, str, int]:
    return request.formula.fingerprint, request.protocol, request.seed
