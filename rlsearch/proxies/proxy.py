"""A proxy on a device: cuts trainings into populations, and gives them to the trainer that suits the device."""

import logging
from collections.abc import Sequence

import torch

from rlsearch.common.device import device_type, is_cpu
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Failure, Kind, Outcome, Trainer, Training, kind_of, letters_of
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.own.batching import completed
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.own.trainer import OwnTrainer
from rlsearch.proxies.own.training import OwnTraining, completed_training
from rlsearch.proxies.settings import ProxySettings, TrainingSettings, proxy_name
from rlsearch.proxies.trainers.population import PopulationTrainer, most_members

_LOGGER = logging.getLogger(__name__)

CPU_MEMBERS = 16
"""Members of a population of a user's own networks on a CPU; those of the package say their own number."""

NATIVE_MEMBERS = 4
"""Members that a worker gets at a time where it trains them one by one: few, so that all workers end together."""

MIN_GPU_MEMBERS = 16
"""A graph is captured for every size of a population, so sizes on a GPU are powers of two from this one on."""

HALVING_PAYS_ABOVE = 256
"""Above this size halving a population probably halves its time on a GPU (not measured)."""


class Proxy:
    """A proxy on a device.

    A member's score depends on its formula and seed only: members share nothing. On a CPU one process with a fixed
    number of threads gives the same bits again, whatever the population. On a GPU the library of products may choose
    another algorithm for another size of the population, which changes the last bits of a sum.

    Args:
        settings: The proxy. What a user's own leaves open is decided here.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Attributes:
        name: Stands for all that decides a score except formula and seed.
    """

    def __init__(self, settings: TrainingSettings, kernel: Kernel, device: str) -> None:
        if isinstance(settings, OwnTrainingSettings) and settings.source is None:
            settings = completed_training(settings)
        elif isinstance(settings, OwnProxySettings) and not settings.is_complete:
            settings = completed(settings, kernel, device)
        elif isinstance(settings, ProxySettings):
            settings = settings.completed()
        self.settings = settings
        self.kernel = kernel
        self.device = device
        self.name = proxy_name(settings, kernel.name, device_type(device))
        self._network = NETWORKS[settings.network] if isinstance(settings, ProxySettings) else None
        self._trainers: dict[tuple[Kind, int], Trainer] = {}
        self._max_members: int | None = settings.population
        if self._max_members is None and is_cpu(device):
            self._max_members = self._network.cpu_members if self._network else CPU_MEMBERS

    def populations(self, trainings: Sequence[Training], workers: int = 1) -> list[Sequence[Training]]:
        """Cuts trainings of this proxy into populations, each of formulas of one kind, and in order within a kind.

        Args:
            trainings: All of this proxy.
            workers: Processes that the populations are for.
        """
        of_kind: dict[Kind, list[Training]] = {}
        for training in trainings:
            of_kind.setdefault(self._kind(training.formula), []).append(training)
        cuts: list[Sequence[Training]] = []
        for kind, alike in of_kind.items():
            cuts += self._cut(kind, alike, workers)
        return cuts

    def _kind(self, formula: Formula) -> Kind:
        return kind_of(formula, gated=self._network is not None and self._network.gated)

    def _cut(self, kind: Kind, trainings: Sequence[Training], workers: int) -> list[Sequence[Training]]:
        size = self._size(len(trainings))
        if workers > 1 and self._trains_natively(kind):
            size = min(size, NATIVE_MEMBERS)
        cuts = []
        start = 0
        while start < len(trainings):
            left = len(trainings) - start
            taken = size if is_cpu(self.device) else self._size(left)
            cuts.append(trainings[start : start + taken])
            start += taken
        return cuts

    def train(self, population: Sequence[Training]) -> list[Outcome | Failure | None]:
        """Trains a population of formulas of one kind; where a GPU's memory does not hold it, in parts.

        Returns:
            What came of each member, or None where its training became non-finite.
        """
        outcomes: list[Outcome | Failure | None] = []
        while len(outcomes) < len(population):
            outcomes += self._train_first(population[len(outcomes) :])
        return outcomes

    def _train_first(self, population: Sequence[Training]) -> list[Outcome | Failure | None]:
        """Trains as many of the first members as fit; half as many after each time that memory runs out."""
        kind = self._kind(population[0].formula)
        while True:
            size = self._size(len(population))
            try:
                if (kind, size) not in self._trainers:
                    self._trainers[kind, size] = self._make_trainer(kind, size)
                return list(self._trainers[kind, size].train(population[:size]))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
            self._trainers.clear()
            torch.cuda.empty_cache()
            self._max_members = size // 2
            _LOGGER.warning("%s does not hold %d members of %s; trying %d", self.device, size, self.name, size // 2)

    def _size(self, wanted: int) -> int:
        """The size of the next population: constant on a CPU; on a GPU what is wanted and what its memory holds."""
        if self._max_members is None:
            assert isinstance(self.settings, ProxySettings)
            self._max_members = most_members(self.settings, self.device)
        if self.settings.population or is_cpu(self.device):
            return self._max_members
        size = 1 << (wanted - 1).bit_length()
        # Two populations are better than one of which a third is padding.
        if size > HALVING_PAYS_ABOVE and 4 * wanted <= 3 * size:
            size //= 2
        return min(self._max_members, max(MIN_GPU_MEMBERS, size))

    @property
    def is_native(self) -> bool:
        """Whether the native trainer trains it: with numba's kernel on a CPU, a network and a task that say it can.

        It clips no gradients, and trains no parameters of formulas.
        """
        if self._network is None or self.kernel.name != "numba" or not is_cpu(self.device):
            return False
        assert isinstance(self.settings, ProxySettings)
        return self._network.native and self.settings.task.native and self.settings.clip_norm is None

    def _trains_natively(self, kind: Kind) -> bool:
        """Whether the native trainer trains formulas of a kind: those without parameters."""
        return self.is_native and not letters_of(kind)

    def _make_trainer(self, kind: Kind, size: int) -> Trainer:
        if isinstance(self.settings, OwnProxySettings):
            return OwnTrainer(self.settings, self.kernel, self.device, size)
        if isinstance(self.settings, OwnTrainingSettings):
            return OwnTraining(self.settings, self.kernel, self.device)
        assert isinstance(self.settings, ProxySettings)
        if self._trains_natively(kind):
            from rlsearch.proxies.trainers.native import NativeTrainer  # numba is optional

            return NativeTrainer(self.settings)
        return PopulationTrainer(self.settings, self.kernel, self.device, size, kind)
