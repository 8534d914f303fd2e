"""The one way to have trainings done: as populations of all proxies, in one stream, by whatever pool there is."""

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlsearch.common.pool import Call, InProcess, Lost, Pool
from rlsearch.errors import RewardError
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Failure, Outcome, Training
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import Registered, TrainingSettings

LIMIT_FACTOR = 20
"""A training may take so many times what others of its proxy take, unless the settings say a limit."""

LEAST_LIMIT = 60.0
"""Seconds: no limit that follows from other trainings is shorter, since machines have other things to do."""


def limit_after(seconds: float) -> float:
    """The time limit of a training, where others of its proxy took so many seconds."""
    return max(LEAST_LIMIT, LIMIT_FACTOR * seconds)


@dataclass(frozen=True, slots=True)
class Trained:
    """A population that is done.

    Attributes:
        trainings: Its members.
        outcomes: One per member; None where its training became non-finite.
        seconds: What training them took, in the process that did it.
    """

    trainings: Sequence[Training]
    outcomes: Sequence[Outcome | Failure | None]
    seconds: float

    @property
    def scores(self) -> list[float | None]:
        """The score of each member."""
        return [outcome.score if isinstance(outcome, Outcome) else None for outcome in self.outcomes]


def train_populations(
    proxies: Mapping[str, Proxy],
    trainings: Sequence[Training],
    pool: Pool,
    *,
    in_order: bool = True,
    limits: Mapping[str, float] | None = None,
) -> Generator[Trained, None, None]:
    """Trains everything that is wanted, population by population.

    The populations of all proxies are one stream: with a stream per proxy, workers would wait at the end of each.

    Args:
        proxies: By name; they may be more than are wanted.
        trainings: What is wanted, in the order in which it is to be done within each proxy.
        pool: Does it. Worker processes begin with all of it at once, before the first result is asked for.
        in_order: Whether populations come proxy by proxy in the order of ``proxies``, or else as they are done.
        limits: Seconds for one training, by the name of the proxy; none where it does not say. Worker processes are
            held to them, this process is not.

    Returns:
        The populations; close it to end early.
    """
    of_proxy: dict[str, list[Training]] = {name: [] for name in proxies}
    for training in trainings:
        of_proxy[training.proxy].append(training)
    populations: list[tuple[Proxy, Sequence[Training]]] = []
    for name, wanted in of_proxy.items():
        populations += [(proxies[name], cut) for cut in proxies[name].populations(wanted, pool.workers)]
    # Handing a single population over would only cost time.
    if len(populations) < 2 and not pool.leaves_caller_free:
        pool = InProcess()
    return _Work(pool, in_order, limits or {}).results(populations)


_TRIES = 2
"""How often a member whose process ends is trained: memory may have been short because of others."""

_Population = tuple[Proxy, Sequence[Training]]


@dataclass(frozen=True, slots=True)
class _Raised:
    """Stands for a population in whose training a user's code raised."""

    population: Sequence[Training]
    message: str


@dataclass(frozen=True, slots=True)
class _Work:
    """Trains populations by a pool. What is lost is trained again in halves, until it is known who is to blame.

    Attributes:
        pool: Trains.
        in_order: Whether populations come in their order.
        limits: Seconds for one training, by the name of the proxy.
    """

    pool: Pool
    in_order: bool
    limits: Mapping[str, float]

    def results(self, populations: Sequence[_Population], tries: int = 1) -> Generator[Trained, None, None]:
        """Begins all populations now, and yields them as they are done."""
        results = self._results(populations, tries)
        next(results)
        return results  # type: ignore[return-value]

    def _results(self, populations: Sequence[_Population], tries: int) -> Generator[Trained | None, None, None]:
        proxies = {proxy.name: proxy for proxy, _ in populations}
        function = _train if isinstance(self.pool, InProcess) else _train_in_worker
        calls = [self._call(*population) for population in populations]
        answers = self.pool.run(function, calls, in_order=self.in_order)
        try:
            # Tells ``results`` that all have begun.
            yield None
            for answer in answers:
                if isinstance(answer, Trained):
                    yield answer
                    continue
                lost, reason, may_try_again = _what_is_lost(answer)
                yield from self._again(proxies[lost[0].proxy], lost, reason, tries if may_try_again else _TRIES)
        finally:
            # Ends what workers do for a caller that stops early.
            answers.close()

    def _again(
        self, proxy: Proxy, population: Sequence[Training], reason: str, tries: int
    ) -> Generator[Trained, None, None]:
        """Trains what is left of a population that gave nothing."""
        if len(population) > 1:
            half = len(population) // 2
            yield from self.results([(proxy, population[:half]), (proxy, population[half:])])
        elif tries < _TRIES:
            yield from self.results([(proxy, population)], tries + 1)
        else:
            yield Trained(population, [Failure(reason)], 0.0)

    def _call(self, proxy: Proxy, population: Sequence[Training]) -> Call:
        limit = self.limits.get(proxy.name)
        limit = None if limit is None else limit * len(population)
        if isinstance(self.pool, InProcess):
            return Call((proxy, population))
        # A worker makes proxy and kernel itself, and keeps them; kernels of one class are equal. What was registered
        # outside of this package comes with the call: its module is imported there.
        settings = proxy.settings
        arguments = (settings.registered, settings, type(proxy.kernel), proxy.device, population)
        return Call(arguments, limit, proxy.name)


def _what_is_lost(answer: Lost | _Raised) -> tuple[Sequence[Training], str, bool]:
    """The population that gave nothing, why, and whether a single member may be tried once more."""
    if isinstance(answer, _Raised):
        return answer.population, answer.message, False
    population: Sequence[Training] = answer.call.arguments[-1]
    return population, f"the training {answer.reason}", answer.in_time


def _train(proxy: Proxy, population: Sequence[Training]) -> Trained | _Raised:
    started = time.perf_counter()
    try:
        outcomes = proxy.train(population)
    except RewardError as error:
        return _Raised(population, str(error))
    return Trained(population, outcomes, time.perf_counter() - started)


def _train_in_worker(
    registered: Registered,
    settings: TrainingSettings,
    kernel: type[Kernel],
    device: str,
    population: Sequence[Training],
) -> Trained | _Raised:
    return _train(_worker_proxy(registered, settings, kernel, device), population)


@lru_cache(maxsize=16)
def _worker_proxy(registered: Registered, settings: TrainingSettings, kernel: type[Kernel], device: str) -> Proxy:
    if registered is not None:
        dataset, network = registered
        DATASETS.add(dataset)
        NETWORKS.add(network)
    return Proxy(settings, kernel(), device)
