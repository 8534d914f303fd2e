"""Judging a round: merged by function, looked up, evaluated, committed, and spread back over the round.

Common to every reward, so that a user's own gets archive, resume and de-duplication for nothing.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from types import NoneType

from rlsearch.common.progress import Events
from rlsearch.common.users_code import as_message
from rlsearch.errors import RewardError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive, Proposal
from rlsearch.judging.history import History, Judged
from rlsearch.judging.ledger import Ledger
from rlsearch.judging.settings import RescoringSettings
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import LARGEST, REWARDS, RewardResult, Status, StatusValues
from rlsearch.rewards.staged import Evaluation, StagedReward

MOST_FAILURES_IN_A_ROW = 8
"""After so many functions that failed, and none that did not, a run stops at the end of the round."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A stage of successive halving: what functions that reach it are trained with.

    Attributes:
        proxy_names: The proxies, of one fidelity.
        seeds: How many seeds of each.
    """

    proxy_names: tuple[str, ...]
    seeds: int


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What happened in one round.

    Attributes:
        round_number: From 0.
        formulas: What was proposed.
        results: What the controller was told, in the same order.
        fresh: Which slots had a function that was not known.
        candidates: New functions that were trained.
        evaluations: Trainings done, rescoring included.
        seconds: Time that judging took, and what was done meanwhile.
        rescored: Functions that were trained again because they lead, by fingerprint.
    """

    round_number: int
    formulas: tuple[Formula, ...]
    results: tuple[RewardResult, ...]
    fresh: tuple[bool, ...]
    candidates: int
    evaluations: int
    seconds: float
    rescored: tuple[str, ...] = ()

    def share(self, status: Status) -> float:
        """The share of the round's formulas with ``status``."""
        return sum(r.status is status for r in self.results) / len(self.results)


class Judge:
    """Judges rounds; to the environment it is a reward like any other.

    A run that was killed in a round begins that round again with the same proposals; see
    :class:`~rlsearch.judging.ledger.Ledger`.

    Args:
        reward: What evaluates formulas.
        archive: Where everything is stored.
        seeds: Gives the seed of a formula's i-th evaluation.
        seeds_per_formula: Seeds of a new function.
        rungs: The stages of successive halving, the first one that of new functions; None for a search without.
        status_values: The reward of a formula that has no score, by status.
        rescoring: How the best are scored again.
        first_round: The round to go on with; what the archive has of it and of later ones is not yet known.
        events: Told how many of the trainings of a round's new functions are done.

    Attributes:
        round: Number of the next round.
        report: What happened in the last round.
        history: Every function judged.
        ledger: Every evaluation of theirs.
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
        events: Events = Events(),
    ) -> None:
        self.reward = reward
        self.archive = archive
        self.seeds = seeds
        self.rungs = rungs or [Rung(tuple(reward.proxy_names), seeds_per_formula)]
        self.status_values = status_values
        self.rescoring = rescoring
        self.round = first_round
        self.events = events
        self.report: RoundReport | None = None
        self.history = History()
        self.ledger = Ledger(reward, archive)
        self.proposals = archive.proposals(first_round)
        self.candidates = 0
        self._references = {training.formula.fingerprint for training in reward.references}
        self._failures_in_a_row = 0
        # Functions of which more is known than the archive's table of functions says.
        self._changed: dict[str, None] = {}
        self._take_up()
        self._trained_before = self.ledger.trained

    @property
    def known(self) -> Mapping[str, Judged]:
        """Every function judged, by fingerprint, in the order in which they came."""
        return self.history.known

    @property
    def functions(self) -> int:
        """Different functions proposed so far."""
        unproposed = sum(self.known[f].last_round < 0 for f in self._references if f in self.known)
        return len(self.known) - unproposed

    def leaderboard(self, count: int) -> list[Judged]:
        """The ``count`` best functions, best first."""
        return self.history.leaderboard(count)

    def recent(self, count: int) -> list[Judged]:
        """The ``count`` functions judged last, the newest first; a reference counts when it has been proposed."""
        recent = self.history.recent(count + len(self._references))
        return [judged for judged in recent if judged.last_round >= 0 or not judged.is_reference][:count]

    def _take_up(self) -> None:
        """Reads the archive: the rounds before this one are known, this one's evaluations need not be done again."""
        earlier = self.ledger.open_at(self.round, self.reward.references)
        references = self.ledger.evaluate(-1, self.reward.references)
        try:
            self.reward.refer(references)
        except RewardError:
            self.archive.forget_failures(-1)
            raise
        self.ledger.add(earlier)

        # Functions in the order in which they came: a reward may yield its evaluations in another.
        spellings = list(self.archive.spellings(before_round=self.round))
        came = [evaluation.training.formula.fingerprint for evaluation in references]
        came += [fingerprint for fingerprint, _, _ in spellings]
        for fingerprint in dict.fromkeys([*came, *self.ledger.functions]):
            if evaluations := self.ledger.of(fingerprint):
                self._learn(evaluations[0].training.formula, fingerprint)
        self.candidates -= len(self._references)

        # A later spelling may be the best one of its function.
        for fingerprint, formula, last_round in spellings:
            if fingerprint in self.known:
                self._result(formula)
                self.known[fingerprint].last_round = max(self.known[fingerprint].last_round, last_round)
        self.archive.begin_at(self.round, self._entries(self.known))
        self._changed.clear()

    def __call__(
        self, formulas: Sequence[Formula], rung: int = 0, meanwhile: Callable[[], None] = lambda: None
    ) -> list[RewardResult]:
        """Judges the formulas of one round and stores them.

        Args:
            formulas: The round.
            rung: What they are trained with. On the first rung, what is known is not trained again.
            meanwhile: Called once, when the training of new functions has begun and nothing of the round is known.
        """
        started, candidates_before = time.perf_counter(), self.candidates

        # What there is to train: for each function that is new, or climbs a rung, the trainings that it lacks.
        first_of: dict[str, int] = {}
        for slot, formula in enumerate(formulas):
            if rung or formula.fingerprint not in self.known:
                first_of.setdefault(formula.fingerprint, slot)
        unknown = first_of.keys() - self.known.keys()
        wanted = self._missing([formulas[slot] for slot in first_of.values()], self.rungs[rung])

        # Trained and stored. From here on the functions are known.
        self._stop_if_all_fail(self.ledger.evaluate(self.round, wanted, meanwhile, self.events))
        for fingerprint, slot in first_of.items():
            self._learn(formulas[slot], fingerprint)
        rescored = self._rescore() if self._rescores_now() else []

        # Spread back over the round: each slot gets the result of its own spelling.
        results = [self._result(formula) for formula in formulas]
        for formula in formulas:
            self.known[formula.fingerprint].last_round = self.round
        fresh = [f.fingerprint in unknown and first_of[f.fingerprint] == slot for slot, f in enumerate(formulas)]
        proposals = [Proposal(f, new, r.status, r.value) for f, new, r in zip(formulas, fresh, results, strict=True)]
        self.archive.add_round(self.round, proposals, self._entries(self._changed))
        self._changed.clear()
        self.report = RoundReport(
            round_number=self.round,
            formulas=tuple(formulas),
            results=tuple(results),
            fresh=tuple(fresh),
            candidates=self.candidates - candidates_before,
            evaluations=self.ledger.trained - self._trained_before,
            seconds=time.perf_counter() - started,
            rescored=tuple(rescored),
        )
        self.round += 1
        self.proposals += len(formulas)
        self._trained_before = self.ledger.trained
        return results

    def train(self, formulas: Sequence[Formula], seeds: int) -> list[dict[str, float]]:
        """Trains formulas with parameters for the round that comes next, in which they are to be judged.

        Args:
            formulas: What is trained on every proxy.
            seeds: From how many seeds, at least as many as a new function.

        Returns:
            What the parameters of each have learned, by letter: the mean over proxies, seeds and places of the network;
            nothing where every training diverged.
        """
        rung = replace(self.rungs[0], seeds=max(seeds, self.rungs[0].seeds))
        self.ledger.evaluate(self.round, self._missing(formulas, rung), events=self.events)
        return [self._learned(formula) for formula in formulas]

    def _learned(self, formula: Formula) -> dict[str, float]:
        of_letter: dict[str, list[float]] = {}
        for evaluation in self.ledger.of(formula.fingerprint):
            for letter, numbers in evaluation.parameters.items():
                of_letter.setdefault(letter, []).append(fmean(numbers))
        return {letter: fmean(numbers) for letter, numbers in of_letter.items()}

    def _missing(self, formulas: Sequence[Formula], rung: Rung) -> list[Training]:
        """The trainings of a rung that have not been done, function by function, seed by seed."""
        missing = []
        for formula in formulas:
            for i in range(rung.seeds):
                trainings = [Training(formula, name, self.seeds(i)) for name in rung.proxy_names]
                missing += self.ledger.lacks(trainings)
        return missing

    def _entries(self, fingerprints: Mapping[str, object]) -> list[tuple[int, str, Judged]]:
        """What the archive's table of functions takes."""
        return [(self.history.number(f), f, self.known[f]) for f in fingerprints]

    def _rescores_now(self) -> bool:
        every = self.rescoring.every
        return self.reward.seeded and every > 0 and (self.round + 1) % every == 0

    def _rescore(self) -> list[str]:
        """Trains the leaders from one more seed; those that have had enough are left out.

        Returns:
            The fingerprints of those that were trained.
        """
        names = self.reward.rescoring_proxy_names
        # References keep their seeds: everything is relative to them, and ReLU itself stays at exactly 0.
        board = self.leaderboard(self.rescoring.best + len(self._references))
        leaders = [judged.formula.fingerprint for judged in board if not judged.is_reference][: self.rescoring.best]
        chosen = [f for f in leaders if self.ledger.seeds_on(names[0], f) < self.rescoring.max_seeds]

        wanted = []
        for fingerprint in chosen:
            formula = self.known[fingerprint].formula
            wanted += [Training(formula, name, self.seeds(self.ledger.seeds_on(name, fingerprint))) for name in names]
        self.ledger.evaluate(self.round, wanted)

        for fingerprint in chosen:
            judged = self.known[fingerprint]
            judged.result = self._combined(judged.formula)
            judged.seeds = self.ledger.seeds(fingerprint)
            self._note(fingerprint, judged)
        return chosen

    def _stop_if_all_fail(self, evaluations: Sequence[Evaluation]) -> None:
        """Stops the run where nothing but failures comes: then it is not the formulas that are to blame.

        Raises:
            RewardError: With the commonest message. The round is begun again when the run is resumed.
        """
        tried = [evaluation for evaluation in evaluations if evaluation.status is not Status.UNFIT]
        failed = [evaluation for evaluation in tried if evaluation.status is Status.FAILED]
        if len(failed) < len(tried):
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += len({evaluation.training.formula for evaluation in failed})
        if self._failures_in_a_row < MOST_FAILURES_IN_A_ROW:
            return
        self.archive.forget_failures(self.round)
        messages = Counter(evaluation.result.message for evaluation in failed)
        ((message, count),) = messages.most_common(1)
        raise RewardError(
            f"the last {self._failures_in_a_row} functions have all failed, so the search has stopped; "
            f"{count} of {len(failed)} with the message: {message}"
        )

    def _learn(self, formula: Formula, fingerprint: str) -> None:
        """Records a new function, or updates a known one after a higher rung."""
        judged = self.known.get(fingerprint)
        result = self._combined(judged.formula if judged else formula)
        if judged is None:
            judged = Judged(formula, result, is_reference=fingerprint in self._references)
            self.candidates += result.status.is_trained
        judged.result = result
        judged.seeds = self.ledger.seeds(fingerprint)
        # References have every training, but have climbed nothing.
        if not judged.is_reference:
            judged.rung = self._highest_rung(fingerprint)
        self._note(fingerprint, judged)

    def _highest_rung(self, fingerprint: str) -> int:
        """The highest rung all of whose trainings a function has."""
        highest = 0
        for i, rung in enumerate(self.rungs):
            if all(self.ledger.seeds_on(name, fingerprint) >= rung.seeds for name in rung.proxy_names):
                highest = i
        return highest

    def _result(self, formula: Formula) -> RewardResult:
        """The result of a known function in this spelling, which may be the best one yet."""
        fingerprint = formula.fingerprint
        judged = self.known[fingerprint]
        if formula == judged.formula:
            return judged.result
        result = self._combined(formula)
        if (result.value, -formula.size) > (judged.result.value, -judged.formula.size):
            judged.formula, judged.result = formula, result
            self._note(fingerprint, judged)
        return result

    def _note(self, fingerprint: str, judged: Judged) -> None:
        """Ranks a function anew, and has it stored with the round."""
        self.history.put(fingerprint, judged)
        self._changed[fingerprint] = None

    def _combined(self, formula: Formula) -> RewardResult:
        """What the reward makes of all evaluations of a spelling's function; ok means a finite reward.

        A result that is not ok gets the value that is configured for its status.
        """
        combined = self.reward.combine(formula, self.ledger.of(formula.fingerprint))
        try:
            result = _of_plain_numbers(combined)
            # Written so that NaN is refused.
            if result.status is Status.OK and not abs(result.value) <= LARGEST:
                raise ValueError(f"the reward is {result.value}; expected {REWARDS}")
        except (TypeError, ValueError, OverflowError) as error:
            result = RewardResult(math.nan, Status.FAILED, message=as_message(error))
        if result.status is Status.OK:
            return result
        value = self.status_values.of(result.status)
        return RewardResult(value, result.status, result.score, result.latency, result.message)


def _of_plain_numbers(result: RewardResult) -> RewardResult:
    """A user's own arithmetic may give numbers of numpy, which the archive does not take."""
    if type(result.value) is float and type(result.score) in (float, NoneType):
        return result
    score = None if result.score is None else float(result.score)
    latency = None if result.latency is None else float(result.latency)
    return replace(result, value=float(result.value), score=score, latency=latency)
