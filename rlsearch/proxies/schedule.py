"""The one way to have trainings done: as populations of all proxies, in one stream, by whatever pool there is."""

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlsearch.common.pool import InProcess, Pool
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import Registered, TrainingSettings


@dataclass(frozen=True, slots=True)
class Trained:
    """A population that is done.

    Attributes:
        trainings: Its members.
        outcomes: One per member; None where its training became non-finite.
        seconds: What training them took, in the process that did it.
    """

    trainings: Sequence[Training]
    outcomes: list[Outcome | None]
    seconds: float

    @property
    def scores(self) -> list[float | None]:
        """The score of each member."""
        return [None if outcome is None else outcome.score for outcome in self.outcomes]


def train_populations(
    proxies: Mapping[str, Proxy], trainings: Sequence[Training], pool: Pool, *, in_order: bool = True
) -> Generator[Trained, None, None]:
    """Trains everything that is wanted, population by population.

    The populations of all proxies are one stream: with a stream per proxy, workers would wait at the end of each.

    Args:
        proxies: By name; they may be more than are wanted.
        trainings: What is wanted, in the order in which it is to be done within each proxy.
        pool: Does it. Worker processes begin with all of it at once, before the first result is asked for.
        in_order: Whether populations come proxy by proxy in the order of ``proxies``, or else as they are done.

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
    if isinstance(pool, InProcess):
        return pool.run(_train, populations)
    # A worker makes proxy and kernel itself, and keeps them; kernels of one class are equal. What was registered
    # outside of this package comes with the call: its module is imported there.
    calls = []
    for proxy, population in populations:
        registered = proxy.settings.registered
        calls.append((registered, proxy.settings, type(proxy.kernel), proxy.device, population))
    return pool.run(_train_in_worker, calls, in_order=in_order)


def _train(proxy: Proxy, population: Sequence[Training]) -> Trained:
    started = time.perf_counter()
    outcomes = proxy.train(population)
    return Trained(population, outcomes, time.perf_counter() - started)


def _train_in_worker(
    registered: Registered,
    settings: TrainingSettings,
    kernel: type[Kernel],
    device: str,
    population: Sequence[Training],
) -> Trained:
    return _train(_worker_proxy(registered, settings, kernel, device), population)


@lru_cache(maxsize=16)
def _worker_proxy(registered: Registered, settings: TrainingSettings, kernel: type[Kernel], device: str) -> Proxy:
    if registered is not None:
        dataset, network = registered
        DATASETS.add(dataset)
        NETWORKS.add(network)
    return Proxy(settings, kernel(), device)
