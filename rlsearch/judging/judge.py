"""Judging a round: merged by function, looked up, evaluated, committed, and spread back over the round.

Common to every reward, so that a user's own gets archive, resume and de-duplication for nothing.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive, Proposal
from rlsearch.judging.leaderboard import Leaderboard
from rlsearch.judging.settings import RescoringSettings
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.staged import Evaluation, StagedReward


@dataclass(frozen=True, slots=True)
class Rung:
    """A stage of successive halving: what a function is trained with that has come so far.

    Attributes:
        protocols: The proxies, of one fidelity.
        seeds: How many seeds of each.
    """

    protocols: tuple[str, ...]
    seeds: int


@dataclass(slots=True)
class Judged:
    """A function and all that is known of it.

    Attributes:
        formula: Its spelling with the highest reward.
        result: That spelling's result.
        evaluations: All of its evaluations, over proxies and seeds.
        last_round: The last round in which it was proposed; -1 for a reference that has not been.
        rung: The highest rung whose trainings it has.
    """

    formula: Formula
    result: RewardResult
    evaluations: list[Evaluation] = field(default_factory=list)
    last_round: int = -1
    rung: int = 0

    @property
    def seeds(self) -> int:
        """Number of seeds it was trained from, by any protocol."""
        return len({e.training.seed for e in self.evaluations})

    def seeds_of(self, protocol: str) -> int:
        """Returns the number of its evaluations by one protocol."""
        return sum(e.training.proxy == protocol for e in self.evaluations)

    @property
    def rank(self) -> tuple[int, float, int]:
        """Sorts by rung and reward; at a tie the shorter spelling is the better one, and then the earlier."""
        return (self.rung, self.result.value, -self.formula.size)


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What happened in one round.

    Attributes:
        round_number: From 0.
        formulas: What was proposed.
        results: What the controller was told, in the same order.
        fresh: Which slots had a function that was not known.
        evaluations: Trainings done, rescoring included.
        seconds: Time that judging took, and what was done meanwhile.
        rescored: Functions that were trained again because they lead, by fingerprint.
    """

    round_number: int
    formulas: tuple[Formula, ...]
    results: tuple[RewardResult, ...]
    fresh: tuple[bool, ...]
    evaluations: int
    seconds: float
    rescored: tuple[str, ...] = ()

    def share(self, status: Status) -> float:
        """Returns the share of the round's formulas with ``status``."""
        return sum(r.status is status for r in self.results) / len(self.results)


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
        rungs: The stages of successive halving, the first one that of new functions; None for a search without.
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
        rungs: Sequence[Rung] | None = None,
        status_values: StatusValues = StatusValues(),
        rescoring: RescoringSettings = RescoringSettings(),
        first_round: int = 0,
        on_progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> None:
        self.reward = reward
        self.archive = archive
        self.seeds = seeds
        self.rungs = rungs or [Rung(tuple(reward.proxy_names), seeds_per_formula)]
        self.status_values = status_values
        self.rescoring = rescoring
        self.round = first_round
        self.on_progress = on_progress
        self.report: RoundReport | None = None
        self.known: dict[str, Judged] = {}
        self._numbers: dict[str, int] = {}  # of the functions with a score, in the order in which they came
        self._board = Leaderboard(self._place)
        self._references = {request.formula.fingerprint for request in reward.references}
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
                self._done_before[_key(evaluation.training)] = evaluation
        references = self._evaluate(-1, self.reward.references)
        self.reward.refer(references)
        by_function: dict[str, list[Evaluation]] = {}
        for evaluation in (*references, *earlier):
            by_function.setdefault(evaluation.training.formula.fingerprint, []).append(evaluation)
        spellings = list(self.archive.spellings(before_round=self.round))
        # In the order in which they came: a reward may yield its evaluations in another.
        came = dict.fromkeys([*(e.training.formula.fingerprint for e in references), *(s[0] for s in spellings)])
        for fingerprint in came | dict.fromkeys(by_function):
            if evaluations := by_function.get(fingerprint):
                self._learn(evaluations[0].training.formula, fingerprint, evaluations)
        self.candidates -= len(self._references)
        for fingerprint, formula, last_round in spellings:
            if fingerprint in self.known:
                self._result(formula)
                self.known[fingerprint].last_round = max(self.known[fingerprint].last_round, last_round)

    def __call__(
        self, formulas: Sequence[Formula], rung: int = 0, meanwhile: Callable[[], None] = lambda: None
    ) -> list[RewardResult]:
        """Judges the formulas of one round and stores them.

        Args:
            formulas: The round.
            rung: What they are trained with. On the first rung, what is known is not trained again.
            meanwhile: Called once, when the training of new functions has begun and nothing of the round is known.
        """
        started, self._trained = time.perf_counter(), 0
        first_of: dict[str, int] = {}
        for slot, formula in enumerate(formulas):
            if rung or formula.fingerprint not in self.known:
                first_of.setdefault(formula.fingerprint, slot)
        found = {f: self.known[f].evaluations if f in self.known else [] for f in first_of}
        unknown = first_of.keys() - self.known.keys()
        there = {_key(evaluation.training) for evaluations in found.values() for evaluation in evaluations}
        requests = [
            request
            for slot in first_of.values()
            for i in range(self.rungs[rung].seeds)
            for protocol in self.rungs[rung].proxy_names
            if _key(request := Training(formulas[slot], protocol, self.seeds(i))) not in there
        ]
        for evaluation in self._evaluate(self.round, requests, meanwhile, self.on_progress):
            found[evaluation.training.formula.fingerprint].append(evaluation)
        for fingerprint, slot in first_of.items():
            self._learn(formulas[slot], fingerprint, found[fingerprint])
        rescored: list[Judged] = []
        if self.reward.seeded and self.rescoring.every and (self.round + 1) % self.rescoring.every == 0:
            rescored = self._rescore()

        results = [self._result(formula) for formula in formulas]
        for formula in formulas:
            self.known[formula.fingerprint].last_round = self.round
        fresh = [f.fingerprint in unknown and first_of[f.fingerprint] == slot for slot, f in enumerate(formulas)]
        self.archive.add_round(
            self.round,
            [Proposal(f, new, r.status, r.value) for f, new, r in zip(formulas, fresh, results, strict=True)],
        )
        seconds = time.perf_counter() - started
        self.report = RoundReport(
            self.round,
            tuple(formulas),
            tuple(results),
            tuple(fresh),
            self._trained,
            seconds,
            tuple(judged.formula.fingerprint for judged in rescored),
        )
        self.round += 1
        self.proposals += len(formulas)
        return results

    def leaderboard(self, count: int) -> list[Judged]:
        """Returns the ``count`` best functions, best first."""
        return [self.known[fingerprint] for fingerprint in self._board.best(count)]

    def _place(self, fingerprint: str) -> tuple[float, ...]:
        """Returns a function's key on the leaderboard; of two of one rank the earlier leads."""
        return (*(-number for number in self.known[fingerprint].rank), self._numbers[fingerprint])

    def _ranked(self, fingerprint: str) -> None:
        """Notes a function's new rank."""
        if self.known[fingerprint].result.status is Status.OK:
            self._numbers.setdefault(fingerprint, len(self._numbers))
            self._board.put(fingerprint)

    def recent(self, count: int) -> list[Judged]:
        """Returns the ``count`` functions judged last, the newest first."""
        return list(islice(reversed(self.known.values()), count))

    def _rescore(self) -> list[Judged]:
        protocols = self.reward.rescoring_proxy_names
        # References keep their seeds: everything is relative to them, and ReLU itself stays at exactly 0.
        chosen = [
            judged
            for judged in self.leaderboard(self.rescoring.best)
            if judged.seeds_of(protocols[0]) < self.rescoring.max_seeds
            and judged.formula.fingerprint not in self._references
        ]
        requests = [
            Training(judged.formula, protocol, self.seeds(judged.seeds_of(protocol)))
            for judged in chosen
            for protocol in protocols
        ]
        for evaluation in self._evaluate(self.round, requests):
            self.known[evaluation.training.formula.fingerprint].evaluations.append(evaluation)
        for judged in chosen:
            judged.result = self._checked(self.reward.combine(judged.formula, judged.evaluations))
            self._ranked(judged.formula.fingerprint)
        return chosen

    def _evaluate(
        self,
        round_number: int,
        requests: Sequence[Training],
        meanwhile: Callable[[], None] = lambda: None,
        on_progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> list[Evaluation]:
        """Returns one evaluation per request, stored population by population; those stored before are taken."""
        done = {_key(r): self._done_before[_key(r)] for r in requests if _key(r) in self._done_before}
        wanted = [request for request in requests if _key(request) not in done]

        def store(population: Sequence[Evaluation]) -> None:
            if population:
                self.archive.add_evaluations(round_number, population)
                done.update((_key(evaluation.training), evaluation) for evaluation in population)
                on_progress(len(done), len(requests))

        populations = iter(self.reward.evaluate(wanted) if wanted else ())
        try:
            store(next(populations, ()))
            meanwhile()
            for population in populations:
                store(population)
        finally:
            if isinstance(populations, Generator):
                populations.close()  # ends what workers do for it
        self._trained += sum(done[_key(r)].status in (Status.OK, Status.DIVERGED) for r in requests)
        return [done[_key(request)] for request in requests]

    def _learn(self, formula: Formula, fingerprint: str, evaluations: list[Evaluation]) -> None:
        """Takes in a function with all its evaluations, or what a further rung says of a known one."""
        judged = self.known.get(fingerprint)
        result = self._checked(self.reward.combine(judged.formula if judged else formula, evaluations))
        if judged is None:
            judged = self.known[fingerprint] = Judged(formula, result, evaluations)
            self.candidates += result.status in (Status.OK, Status.DIVERGED)
        judged.result = result
        if fingerprint not in self._references:  # which have every training, but have climbed nothing
            done = [all(judged.seeds_of(p) >= rung.seeds for p in rung.proxy_names) for rung in self.rungs]
            judged.rung = max((i for i, is_done in enumerate(done) if is_done), default=0)
        self._ranked(fingerprint)

    def _result(self, formula: Formula) -> RewardResult:
        """Returns the result of a known function in this spelling, which may be the best one yet."""
        judged = self.known[formula.fingerprint]
        if formula == judged.formula:
            return judged.result
        result = self._checked(self.reward.combine(formula, judged.evaluations))
        if (result.value, -formula.size) > (judged.result.value, -judged.formula.size):
            judged.formula, judged.result = formula, result
            self._ranked(formula.fingerprint)
        return result

    def _checked(self, result: RewardResult) -> RewardResult:
        """Gives a result that is not ok its configured value; ok means a finite reward."""
        if result.status is Status.OK:
            if math.isfinite(result.value):
                return result
            result = RewardResult(result.value, Status.FAILED, message=f"the reward is {result.value}")
        value = self.status_values.of(result.status)
        return RewardResult(value, result.status, result.score, result.latency, result.message)


def _key(request: Training) -> tuple[str, str, int]:
    return request.formula.fingerprint, request.protocol, request.seed
