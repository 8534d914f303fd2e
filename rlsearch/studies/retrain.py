"""Trainings outside a search: formulas trained again from fresh seeds, each training stored and never repeated."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.device import is_cpu
from rlsearch.common.pool import Call, Pool
from rlsearch.common.progress import Events
from rlsearch.common.seeds import FIRST_FINAL_SEED, MAX_FINAL_SEEDS, MAX_SELECTION_SEEDS, fresh_data_seed, fresh_seed
from rlsearch.errors import InputError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import limit_after, train_populations
from rlsearch.proxies.settings import ProxySettings, TrainingSettings
from rlsearch.rewards.staged import Evaluation

MIN_PART_SIZE = 4
"""Examples of a part that is not scored; the fewest there can be."""

MAX_MEMBERS_ON_CPU = 8
"""Of a population, whose members share data set and learning rate: of 16, half would be padding."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is trained.

    Attributes:
        seeds: Fresh seeds of the final trainings, each with a data set of its own.
        rates: Factors on a proxy's learning rate, of which each function gets the best; a proxy that names its own
            learning rates has those instead.
        selection_seeds: Fresh seeds by which it is chosen, on one data set of their own.
    """

    seeds: int = 20
    rates: tuple[float, ...] = (1 / 3, 1.0, 3.0)
    selection_seeds: int = 3

    def __post_init__(self) -> None:
        if not 2 <= self.seeds <= MAX_FINAL_SEEDS:
            raise InputError(f"expected 2 to {MAX_FINAL_SEEDS} seeds, got {self.seeds}")
        if not 1 <= self.selection_seeds <= MAX_SELECTION_SEEDS:
            raise InputError(f"expected 1 to {MAX_SELECTION_SEEDS} selection seeds, got {self.selection_seeds}")
        wrong = [factor for factor in self.rates if not 0 < factor < math.inf]
        if wrong or not self.rates:
            raise InputError(f"expected positive factors on the learning rate, got {wrong[0] if wrong else 'none'}")


class Retraining:
    """Trains what its archive does not have.

    Args:
        archive: Where every population is stored as soon as it is done.
        kernel: Computes the activations.
        device: Where the proxies are trained.
        pool: Trains.
        events: Told how many trainings are done; it may stop the work between populations.
        time_limit: Seconds for one training; None: as :func:`~rlsearch.proxies.schedule.limit_after` says of what
            trainings of the same network and data have taken.

    Attributes:
        trained: Trainings done, not counting those that the archive had.
    """

    def __init__(
        self,
        archive: Archive,
        kernel: Kernel,
        device: str,
        pool: Pool,
        events: Events = Events(),
        time_limit: float | None = None,
    ) -> None:
        self.archive = archive
        self.kernel = kernel
        self.device = device
        self.pool = pool
        self.events = events
        self.time_limit = time_limit
        # The longest training by network and data, whatever the learning rate and the seed of the data.
        self._seconds: dict[str, float] = {}
        self.trained = 0
        self._proxies: dict[TrainingSettings, Proxy] = {}
        self._known = {evaluation.training.key: _outcome(evaluation) for _, evaluation in archive.evaluations()}

    def proxy_name(self, settings: TrainingSettings) -> str:
        """The name by which trainings ask for a proxy."""
        if settings not in self._proxies:
            self._proxies[settings] = Proxy(settings, self.kernel, self.device)
        return self._proxies[settings].name

    def scores(self, wanted: Sequence[Training], what: str = "training") -> list[float | None]:
        """The score of every training; as :meth:`outcomes`."""
        return [None if outcome is None else outcome.score for outcome in self.outcomes(wanted, what)]

    def outcomes(self, wanted: Sequence[Training], what: str = "training") -> list[Outcome | None]:
        """What every training gave, in order; None where it diverged.

        Args:
            wanted: In the order in which they are to be done, best with all of one data set together. Their proxies'
                names are those of :meth:`proxy_name`.
            what: Told to the listener.
        """
        # What is missing, each once, and the proxies that it takes.
        missing = {training.key: training for training in wanted if training.key not in self._known}
        by_name = {proxy.name: proxy for proxy in self._proxies.values()}
        needed = dict.fromkeys(training.proxy for training in missing.values())
        proxies = {name: by_name[name] for name in needed}
        self._make_data_sets(list(proxies.values()))

        # Each population is stored as soon as it is done, so that a stop loses none.
        done = 0
        limits = {name: limit for name, proxy in proxies.items() if (limit := self._limit(proxy)) is not None}
        populations = train_populations(proxies, list(missing.values()), self.pool, in_order=False, limits=limits)
        with closing(populations):
            for population in populations:
                seconds = population.seconds / len(population.outcomes)
                title = proxies[population.trainings[0].proxy].settings.name
                self._seconds[title] = max(seconds, self._seconds.get(title, 0.0))
                evaluations = [
                    Evaluation.of_outcome(training, outcome, wall_seconds=seconds)
                    for training, outcome in zip(population.trainings, population.outcomes, strict=True)
                ]
                self.archive.add_evaluations(0, evaluations)
                self._known |= {evaluation.training.key: _outcome(evaluation) for evaluation in evaluations}
                self.trained += len(evaluations)
                done += len(evaluations)
                self.events.on_progress(what, done, len(missing))
        return [self._known[training.key] for training in wanted]

    def _limit(self, proxy: Proxy) -> float | None:
        """Seconds for one training of a proxy; None where nothing is known yet."""
        if self.time_limit is not None:
            return self.time_limit
        seconds = self._seconds.get(proxy.settings.name)
        return None if seconds is None else limit_after(seconds)

    def _make_data_sets(self, proxies: Sequence[Proxy]) -> None:
        """Generates our own data sets side by side, each once, so that no worker waits for or repeats another's."""
        # A single worker makes each with its first population.
        if self.pool.workers == 1:
            return
        by_data: dict[tuple[object, ...], ProxySettings] = {}
        for proxy in proxies:
            settings = proxy.settings
            if isinstance(settings, ProxySettings):
                by_data[settings.dataset, settings.data_seed, settings.sizes] = settings
        calls = [Call((settings,)) for settings in by_data.values()]
        with closing(self.pool.run(_load, calls, in_order=False)) as results:
            for done, _ in enumerate(results, start=1):
                self.events.on_progress("data sets", done, len(calls))


def _outcome(evaluation: Evaluation) -> Outcome | None:
    if evaluation.score is None:
        return None
    return Outcome(evaluation.score, evaluation.outside, evaluation.parameters)


def _load(settings: ProxySettings) -> None:
    load_dataset(settings)


@dataclass(frozen=True, eq=False, slots=True)
class FreshScores:
    """What final trainings gave, on the test part.

    Attributes:
        scores: Shape ``[functions, proxies, seeds]``; NaN where a training diverged.
        outside: The part of them that is from inputs outside the range of training, in the same shape; NaN where
            there is none.
    """

    scores: NDArray[np.float64]
    outside: NDArray[np.float64]


def final_scores(
    formulas: Sequence[Formula],
    rates: Sequence[tuple[TrainingSettings, Sequence[float]]],
    run_seed: int,
    seeds: int,
    retraining: Retraining,
) -> FreshScores:
    """The scores of every formula on every proxy from every seed.

    Args:
        formulas: What to train.
        rates: Every proxy with the learning rate of each formula.
        run_seed: The config's seed.
        seeds: How many.
        retraining: Does it.
    """
    wanted = []
    # Seed by seed, so that an interrupt leaves whole seeds.
    for seed in (fresh_seed(run_seed, FIRST_FINAL_SEED + i) for i in range(seeds)):
        for proxy, of_formulas in rates:
            names = {}
            for rate in set(of_formulas):
                settings = on_fresh_data(proxy, rate, seed, retraining.device, validation_size=MIN_PART_SIZE)
                names[rate] = retraining.proxy_name(settings)
            wanted += [Training(f, names[rate], seed, "test") for f, rate in zip(formulas, of_formulas, strict=True)]
    outcomes = retraining.outcomes(wanted, "final trainings")

    def by_function(values: list[float | None]) -> NDArray[np.float64]:
        # None becomes NaN.
        whole = np.array(values, dtype=np.float64).reshape(seeds, len(rates), len(formulas))
        return np.ascontiguousarray(whole.transpose(2, 1, 0))

    return FreshScores(
        by_function([None if outcome is None else outcome.score for outcome in outcomes]),
        by_function([None if outcome is None else outcome.outside for outcome in outcomes]),
    )


def on_fresh_data(proxy: TrainingSettings, rate: float, seed: int, device: str, **sizes: int) -> TrainingSettings:
    """The proxy at one learning rate, on the data set of a fresh seed.

    Args:
        proxy: The proxy.
        rate: Its learning rate.
        seed: Of the data set.
        device: Where it is trained.
        sizes: Of parts that serve nothing here, if the proxy's own data set is not a user's.
    """
    changes: dict[str, object] = {"learning_rate": rate, "learning_rates": (), "data_seed": fresh_data_seed(seed)}
    # A user's own factory decides by itself how much it makes.
    if isinstance(proxy, ProxySettings):
        changes |= sizes
        if is_cpu(device):
            changes["population"] = min(proxy.population or MAX_MEMBERS_ON_CPU, MAX_MEMBERS_ON_CPU)
    return proxy.check(proxy.model_dump() | changes)
