"""Trainings outside a search: many proxies at once, side by side in worker processes, stored and never repeated."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.pool import beside
from rlsearch.common.progress import Watcher
from rlsearch.common.seeds import fresh_seed
from rlsearch.errors import InputError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings, TrainingSettings
from rlsearch.rewards.base import Status
from rlsearch.rewards.staged import Evaluation

_FIRST_SEED = 1000  # of the fresh ones; those below are results.evaluate's, by which a user may have chosen already
_FIRST_SELECTION_SEED = 4000
_MOST_SEEDS = 1000
_FRESH_DATA = 2**31  # plus a seed: a data set that no config names, since those count from 0
_UNUSED = 4  # examples of a part that is not scored; the fewest there can be
_POPULATION = 8  # members of one population share data set and rate; half of 16 would be padding, and is no faster


@dataclass(frozen=True, slots=True)
class Options:
    """How much is trained.

    Attributes:
        seeds: Fresh seeds of the final trainings, each with a data set of its own.
        rates: Factors on a proxy's learning rate, of which each function gets the best.
        selection_seeds: Fresh seeds by which it is chosen, on one data set of their own.
    """

    seeds: int = 20
    rates: tuple[float, ...] = (1 / 3, 1.0, 3.0)
    selection_seeds: int = 3

    def __post_init__(self) -> None:
        if not 2 <= self.seeds <= _MOST_SEEDS:
            raise InputError(f"expected 2 to {_MOST_SEEDS} seeds, got {self.seeds}")
        if not 1 <= self.selection_seeds <= _MOST_SEEDS:
            raise InputError(f"expected 1 to {_MOST_SEEDS} selection seeds, got {self.selection_seeds}")
        wrong = [factor for factor in self.rates if not 0 < factor < math.inf]
        if wrong or not self.rates:
            raise InputError(f"expected positive factors on the learning rate, got {wrong[0] if wrong else 'none'}")


@dataclass(frozen=True, slots=True)
class Training:
    """One training that is wanted.

    Attributes:
        formula: The activation.
        settings: The proxy, its data set and learning rate.
        seed: Of the weights and the order of the examples.
        part: Part of the data set to score on. Two parts of one proxy cannot be told apart in an archive, so all
            trainings of one proxy name the same.
    """

    formula: Formula
    settings: TrainingSettings
    seed: int
    part: str


@dataclass(frozen=True, slots=True)
class _Job:
    """What one worker does at a time: a population of one proxy."""

    settings: TrainingSettings
    members: tuple[Training, ...]
    part: str


class Trainings:
    """Trains what its archive does not have.

    Populations of all proxies go to the workers as one stream: with a proxy per data set and learning rate, one call
    per proxy would leave the workers waiting at the end of each.

    Args:
        archive: Where every population is stored as soon as it is done.
        kernel: Computes the activations.
        device: Where the proxies are trained.
        workers: Processes side by side.
        watch: Told of progress.
        check_stop: Called between populations; raises if it is time to stop.

    Attributes:
        trained: Trainings done, not counting those that the archive had.
    """

    def __init__(
        self,
        archive: Archive,
        kernel: Kernel,
        device: str,
        workers: int,
        watch: Watcher = lambda what, done, wanted: None,
        check_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.archive = archive
        self.kernel = kernel
        self.device = device
        self.workers = workers
        self.watch = watch
        self.check_stop = check_stop
        self.trained = 0
        self._known = {_key(evaluation.training): evaluation.score for _, evaluation in archive.evaluations()}
        self._protocols: dict[TrainingSettings, str] = {}

    def scores(self, wanted: Sequence[Training], what: str = "training") -> list[float | None]:
        """Returns the score of every training, in order; None where it diverged.

        Args:
            wanted: In the order in which they are to be done, best with all of one data set together.
            what: Told to the watcher.
        """
        keys = [_key(self._request(training)) for training in wanted]
        missing = {key: training for key, training in zip(keys, wanted, strict=True) if key not in self._known}
        jobs = _jobs(list(missing.values()), self.device)
        self._prepare(jobs)
        done = 0
        with closing(self._run(_train, jobs)) as results:
            for job, scores, seconds in results:
                self._store(job, scores, seconds)
                done += len(scores)
                self.watch(what, done, len(missing))
                self.check_stop()
        return [self._known[key] for key in keys]

    def _prepare(self, jobs: Sequence[_Job]) -> None:
        """Generates our own data sets side by side, each once, so that no worker waits for or repeats another's."""
        ours = [job.settings for job in jobs if isinstance(job.settings, ProxySettings)]
        proxies = {(settings.dataset, settings.data_seed, settings.sizes): settings for settings in ours}
        if self.workers == 1:
            return  # the first population of a data set makes it
        with closing(self._run(_load, list(proxies.values()))) as results:
            for done, _ in enumerate(results, start=1):
                self.watch("data sets", done, len(proxies))
                self.check_stop()

    def _run(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Generator[Any, None, None]:
        calls = [(argument, self.kernel, self.device) for argument in arguments]
        if self.workers == 1 or len(calls) < 2:
            return (function(*call) for call in calls)
        return beside(self.workers, function, calls, in_order=False)

    def _store(self, job: _Job, scores: list[float | None], seconds: float) -> None:
        evaluations = [
            Evaluation(
                Training(member.formula, self._protocol(job.settings), member.seed),
                Status.DIVERGED if score is None else Status.OK,
                score,
                wall_seconds=seconds / len(scores),
                message="training became non-finite" if score is None else "",
            )
            for member, score in zip(job.members, scores, strict=True)
        ]
        self.archive.add_evaluations(0, evaluations)
        self._known |= {_key(evaluation.training): evaluation.score for evaluation in evaluations}
        self.trained += len(evaluations)

    def _request(self, training: Training) -> Training:
        return Training(training.formula, self._protocol(training.settings), training.seed)

    def _protocol(self, settings: TrainingSettings) -> str:
        if settings not in self._protocols:
            self._protocols[settings] = Proxy(settings, self.kernel, self.device).protocol
        return self._protocols[settings]


def _key(request: Training) -> tuple[str, str, int]:
    return request.formula.fingerprint, request.protocol, request.seed


def _jobs(trainings: Sequence[Training], device: str) -> list[_Job]:
    """Returns the trainings as populations, those of one proxy together; on a GPU as large as they can be."""
    members: dict[tuple[TrainingSettings, str], list[Training]] = {}
    for training in trainings:
        members.setdefault((training.settings, training.part), []).append(
            Training(training.formula, "p", training.seed)
        )
    return [
        _Job(settings, tuple(group[start : start + size]), part)
        for (settings, part), group in members.items()
        for size in [settings.population or (_POPULATION if device == "cpu" else len(group))]
        for start in range(0, len(group), size)
    ]


def _train(job: _Job, kernel: Kernel, device: str) -> tuple[_Job, list[float | None], float]:
    started = time.perf_counter()
    proxy = Proxy(job.settings, kernel, device)
    scores = [score for population in proxy.train(job.members, job.part) for score in population]
    return job, scores, time.perf_counter() - started


def _load(settings: ProxySettings, kernel: Kernel, device: str) -> None:
    load_dataset(settings)


def chosen_rates(
    formulas: Sequence[Formula], proxy: TrainingSettings, run_seed: int, options: Options, trainings: Trainings
) -> list[float]:
    """Returns the learning rate that suits each formula, by validation on a data set that serves nothing else."""
    # The nearest to the config's own rate first: it wins a tie, and stands where every rate diverges.
    factors = sorted(set(options.rates), key=lambda factor: (abs(math.log(factor)), factor))
    rates = [proxy.learning_rate * factor for factor in factors]
    if len(rates) == 1:
        return rates * len(formulas)
    seeds = [fresh_seed(run_seed, _FIRST_SELECTION_SEED + i) for i in range(options.selection_seeds)]
    at = [_fresh(proxy, rate, seeds[0], trainings.device, test_size=_UNUSED) for rate in rates]
    wanted = [Training(f, settings, seed, "validation") for settings in at for f in formulas for seed in seeds]
    values = np.array(trainings.scores(wanted, "choosing rates"), dtype=np.float64)  # None becomes NaN
    means = values.reshape(len(rates), len(formulas), len(seeds)).mean(axis=2)
    return [rates[i] for i in np.where(np.isnan(means), -1.0, means).argmax(axis=0)]


def final_scores(
    formulas: Sequence[Formula],
    chosen: Sequence[tuple[TrainingSettings, Sequence[float]]],
    run_seed: int,
    seeds: int,
    trainings: Trainings,
) -> NDArray[np.float64]:
    """Returns the mean over proxies of every formula and seed, NaN where a training diverged.

    Args:
        formulas: What to train.
        chosen: Every proxy with the learning rate of each formula.
        run_seed: The config's seed.
        seeds: How many.
        trainings: Does it.

    Returns:
        Shape ``[formulas, seeds]``.
    """
    wanted = []
    for seed in (fresh_seed(run_seed, _FIRST_SEED + i) for i in range(seeds)):  # an interrupt leaves whole seeds
        for proxy, rates in chosen:
            at = {rate: _fresh(proxy, rate, seed, trainings.device, validation_size=_UNUSED) for rate in set(rates)}
            wanted += [Training(f, at[rate], seed, "test") for f, rate in zip(formulas, rates, strict=True)]
    values = np.array(trainings.scores(wanted, "final trainings"), dtype=np.float64)
    means: NDArray[np.float64] = values.reshape(seeds, len(chosen), len(formulas)).mean(axis=1).T
    return means


def _fresh(proxy: TrainingSettings, rate: float, seed: int, device: str, **sizes: int) -> TrainingSettings:
    """Returns the proxy with another learning rate on the data set of a fresh seed."""
    changes: dict[str, object] = {"learning_rate": rate, "data_seed": _FRESH_DATA + seed}
    if isinstance(proxy, ProxySettings):  # a user's own factory decides how much it makes
        changes |= sizes
        if device == "cpu":
            changes["population"] = min(proxy.population or _POPULATION, _POPULATION)
    return proxy.check(proxy.model_dump() | changes)
