"""The evaluations of a run: each is done once, and stored as soon as its population is done."""

from collections.abc import Callable, Generator, Iterable, Sequence

from rlsearch.common.progress import Events
from rlsearch.judging.archive import Archive
from rlsearch.proxies.base import Training
from rlsearch.rewards.staged import Evaluation, StagedReward

Key = tuple[str, str, int]
"""Of a training: fingerprint, proxy name and seed."""


class Ledger:
    """The evaluations of each function.

    A round that was killed is begun again, and some of its evaluations lie in the archive already. Each of those is
    taken at the point where it would have been trained, so everything that follows is as if nothing had happened.

    Args:
        reward: What evaluates formulas.
        archive: Where evaluations are stored.

    Attributes:
        trained: Trainings done or taken so far, those of references included.
    """

    def __init__(self, reward: StagedReward, archive: Archive) -> None:
        self.reward = reward
        self.archive = archive
        self.trained = 0
        self._of: dict[str, list[Evaluation]] = {}
        self._done_before: dict[Key, Evaluation] = {}

    def open_at(self, round_number: int, references: Iterable[Training] = ()) -> list[Evaluation]:
        """Evaluations of the rounds before this one. What the archive has besides is taken when it is wanted.

        Args:
            round_number: The round.
            references: Are wanted first. The archive may have one with a round: a function that was proposed before a
                later version of the package made it a reference.
        """
        wanted = {training.key for training in references}
        earlier: list[Evaluation] = []
        for number, evaluation in self.archive.evaluations():
            if 0 <= number < round_number and evaluation.training.key not in wanted:
                earlier.append(evaluation)
            else:
                self._done_before[evaluation.training.key] = evaluation
        return earlier

    @property
    def functions(self) -> Iterable[str]:
        """The fingerprints of all functions that have an evaluation."""
        return self._of.keys()

    def of(self, fingerprint: str) -> Sequence[Evaluation]:
        """All evaluations of a function, over proxies and seeds."""
        return self._of.get(fingerprint, ())

    def seeds(self, fingerprint: str) -> int:
        """From how many seeds a function was trained, on any proxy."""
        return len({evaluation.training.seed for evaluation in self.of(fingerprint)})

    def seeds_on(self, proxy_name: str, fingerprint: str) -> int:
        """From how many seeds a function was trained on one proxy."""
        return sum(evaluation.training.proxy == proxy_name for evaluation in self.of(fingerprint))

    def lacks(self, trainings: Iterable[Training]) -> list[Training]:
        """Those of ``trainings`` that have no evaluation."""
        lacking = []
        for training in trainings:
            keys = (evaluation.training.key for evaluation in self.of(training.formula.fingerprint))
            if training.key not in keys:
                lacking.append(training)
        return lacking

    def add(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes in evaluations that are stored already."""
        for evaluation in evaluations:
            self._of.setdefault(evaluation.training.formula.fingerprint, []).append(evaluation)

    def evaluate(
        self,
        round_number: int,
        wanted: Sequence[Training],
        meanwhile: Callable[[], None] = lambda: None,
        events: Events = Events(),
    ) -> list[Evaluation]:
        """Does what was not done before; one evaluation per training, in order.

        Args:
            round_number: The round that the evaluations are stored with; -1 for references.
            wanted: Trainings that no function has an evaluation of.
            meanwhile: Called once, when the trainings have begun.
            events: Told how many are done.
        """
        done = {t.key: self._done_before[t.key] for t in wanted if t.key in self._done_before}
        missing = [training for training in wanted if training.key not in done]

        def store(population: Sequence[Evaluation]) -> None:
            if population:
                self.archive.add_evaluations(round_number, population)
                done.update((evaluation.training.key, evaluation) for evaluation in population)
                events.on_progress("trainings", len(done), len(wanted))

        populations = iter(self.reward.evaluate(missing) if missing else ())
        try:
            store(next(populations, ()))
            meanwhile()
            for population in populations:
                store(population)
        finally:
            # Ends what workers do for a round that is given up.
            if isinstance(populations, Generator):
                populations.close()

        # Only now: of a round that is given up nothing is known.
        evaluations = [done[training.key] for training in wanted]
        self.trained += sum(evaluation.is_trained for evaluation in evaluations)
        self.add(evaluations)
        return evaluations
