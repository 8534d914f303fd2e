"""A proxy on a device: cuts trainings into populations, and gives them to the trainer that suits the device."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from rlsearch.common.pool import beside
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Member, Trainer
from rlsearch.proxies.own.batching import decided
from rlsearch.proxies.own.trainer import OwnTrainer
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings, TrainingSettings
from rlsearch.proxies.trainers.population import PopulationTrainer, most_members

_LOGGER = logging.getLogger(__name__)

_VERSION = 3  # of all that decides a score besides the settings; scores of different ones are not compared
_CPU_MEMBERS = 16  # of a population; more leave the processor's cache
_NATIVE_MEMBERS = 4  # that a worker is given at a time where it trains one by one: so all workers end together
_FEWEST_MEMBERS = 16  # of a population on a GPU: a graph is captured for every size, so sizes are powers of two
_FILLING = 256  # members of which a GPU probably trains half as many in half of the time; not measured


class Proxy:
    """A proxy on a device.

    A member's score depends on its formula and seed only: members share nothing. On a CPU one process with a fixed
    number of threads gives the same bits again, whatever the population. On a GPU the library of products may choose
    another algorithm for another size of the population, which changes the last bits of a sum.

    Args:
        settings: The proxy. What a user's own leaves open is decided here.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        workers: Processes that train populations side by side; they change the time taken and nothing else.
        leaves_caller_free: Whether all training is done in workers, even if it is only one, so that the caller can do
            something else meanwhile.

    Attributes:
        protocol: A name for everything that decides a score except formula and seed: dataset, network and a digest
            of all settings, kernel and device type.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        kernel: Kernel,
        device: str,
        workers: int = 1,
        leaves_caller_free: bool = False,
    ) -> None:
        if isinstance(settings, OwnProxySettings) and not settings.is_decided:
            settings = decided(settings, kernel, device)
        self.settings = settings
        self.kernel = kernel
        self.device = device
        self.workers = workers
        self.leaves_caller_free = leaves_caller_free
        kind = torch.device(device).type
        text = f"{settings.identity} {kernel.name} {kind} {_VERSION}"
        digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
        self.protocol = f"{settings.name}-{digest}"
        self._trainers: dict[int, Trainer] = {}
        self._most: int | None = settings.population or (_CPU_MEMBERS if kind == "cpu" else None)

    def train(self, members: Sequence[Member], part: str = "validation") -> Iterator[list[float | None]]:
        """Trains ``members`` in populations; where workers do it, they begin before the first result is asked for.

        Args:
            members: In the order in which they are to be trained.
            part: Which part of the dataset to score on; a search uses ``"validation"`` only.

        Returns:
            One list per population, in order: accuracy per member, or None where it became non-finite.
        """
        if not members:
            return iter(())
        size = self._size(len(members))
        if not self.leaves_caller_free and (self.workers == 1 or len(members) <= size):
            return self._train_here(members, part)
        if _is_native(self.settings, self.kernel, self.device):
            size = min(size, _NATIVE_MEMBERS)
        populations = (members[start : start + size] for start in range(0, len(members), size))
        calls = ((self.settings, type(self.kernel), self.device, population, part) for population in populations)
        return beside(self.workers, _train_in_worker, calls)

    def _train_here(self, members: Sequence[Member], part: str) -> Iterator[list[float | None]]:
        done = 0
        while done < len(members):
            scores = self.train_population(members[done:], part)
            yield scores
            done += len(scores)

    def train_population(self, members: Sequence[Member], part: str) -> list[float | None]:
        """Trains the first population of ``members``; see :meth:`train`.

        Where a GPU's memory does not hold as many as were thought, half as many are tried.
        """
        while True:
            size = self._size(len(members))
            try:
                if size not in self._trainers:
                    self._trainers[size] = _trainer(self.settings, self.kernel, self.device, size)
                return self._trainers[size].train(members[:size], part)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
            self._trainers.clear()
            torch.cuda.empty_cache()
            self._most = size // 2
            _LOGGER.warning("%s does not hold %d members of %s; trying %d", self.device, size, self.protocol, size // 2)

    def _size(self, wanted: int) -> int:
        """Returns the size of a population: constant on a CPU, on a GPU what is wanted and its memory holds."""
        if self._most is None:
            assert isinstance(self.settings, ProxySettings)
            self._most = most_members(self.settings, self.device)
        if self.settings.population or torch.device(self.device).type == "cpu":
            return self._most
        size = 1 << (wanted - 1).bit_length()
        if size > _FILLING and 4 * wanted <= 3 * size:  # rather another population than one that is a third padding
            size //= 2
        return min(self._most, max(_FEWEST_MEMBERS, size))


def _trainer(settings: TrainingSettings, kernel: Kernel, device: str, size: int) -> Trainer:
    if isinstance(settings, OwnProxySettings):
        return OwnTrainer(settings, kernel, device, size)
    assert isinstance(settings, ProxySettings)
    if _is_native(settings, kernel, device):
        from rlsearch.proxies.trainers.native import NativeTrainer  # numba is optional

        return NativeTrainer(settings)
    return PopulationTrainer(settings, kernel, device, size)


def _is_native(settings: TrainingSettings, kernel: Kernel, device: str) -> bool:
    """Returns whether numba's kernel is used, which brings a trainer of its own."""
    return isinstance(settings, ProxySettings) and kernel.name == "numba" and torch.device(device).type == "cpu"


def _train_in_worker(
    settings: TrainingSettings, kernel: type[Kernel], device: str, population: Sequence[Member], part: str
) -> list[float | None]:
    proxy = _worker_proxy(settings, kernel, device)
    return [score for scores in proxy.train(population, part) for score in scores]  # a GPU may take it in parts


@lru_cache(maxsize=16)
def _worker_proxy(settings: TrainingSettings, kernel: type[Kernel], device: str) -> Proxy:
    return Proxy(settings, kernel(), device)
