"""The population trainer: K candidates, each with its own formula and seed, trained as one batched network."""

import hashlib
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from joblib import Parallel, delayed
from torch import Tensor
from torch.nn import functional

from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.data import Dataset, Part, load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.settings import ProxySettings
from rlsearch.threads import one_thread

_PADDING = Formula.parse("relu(x)")  # fills the last population; cheap, and finite whatever happens
_SCORED_ROWS = 400  # per forward pass when scoring: what stays in cache; a multiple of 4 (see ProxySettings)


@dataclass(frozen=True, slots=True)
class Member:
    """One training: a formula from a seed, which decides initial weights and the order of the examples."""

    formula: Formula
    seed: int


class Proxy:
    """A proxy on a device.

    A member's score depends on its formula and seed only: members share nothing, K is constant (the last population
    is filled up), and every member's slice is aligned. One process with a fixed number of threads gives the same
    bits again.

    Args:
        settings: The proxy.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        workers: Processes that train populations side by side; they change the time taken and nothing else.

    Attributes:
        protocol: A name for everything that decides a score except formula and seed: dataset, network and a digest
            of all settings, kernel and device type.
    """

    def __init__(self, settings: ProxySettings, kernel: Kernel, device: str, workers: int = 1) -> None:
        self.settings = settings
        self.kernel = kernel
        self.device = device
        self.workers = workers
        text = f"{settings.model_dump_json()} {settings.sizes} {kernel.name} {torch.device(device).type}"
        digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
        self.protocol = f"{settings.dataset}-{settings.network}-{digest}"

    @cached_property
    def _dataset(self) -> Dataset:
        return load_dataset(self.settings).to(self.device)

    def train(self, members: Sequence[Member], part: str = "validation") -> Iterator[list[float | None]]:
        """Trains ``members`` in populations of ``settings.population``.

        Args:
            members: In the order in which they are to be trained.
            part: Which part of the dataset to score on; a search uses ``"validation"`` only.

        Yields:
            One list per population, in order: accuracy per member, or None where it became non-finite.
        """
        size = self.settings.population
        populations = [members[start : start + size] for start in range(0, len(members), size)]
        if self.workers == 1 or len(populations) < 2:
            for population in populations:
                yield self.train_population(population, part)
        else:
            jobs = (
                delayed(_train_in_worker)(self.settings, self.kernel, self.device, population, part)
                for population in populations
            )
            yield from Parallel(n_jobs=self.workers, batch_size=1, return_as="generator")(jobs)

    def train_population(self, population: Sequence[Member], part: str) -> list[float | None]:
        """Trains one population of at most ``settings.population`` members; see :meth:`train`."""
        padding = [Member(_PADDING, population[0].seed)] * (self.settings.population - len(population))
        return self._train([*population, *padding], part)[: len(population)]

    def _train(self, members: Sequence[Member], part: str) -> list[float | None]:
        settings, device = self.settings, self.device
        train, scored = self._dataset.train, getattr(self._dataset, part)
        generators = {member.seed: torch.Generator().manual_seed(member.seed) for member in members}
        # Members of one seed start alike, so each draws from its own copy of the seed's generator.
        network = NETWORKS[settings.network](
            settings,
            train.inputs.shape[1],
            [generators[member.seed].clone_state() for member in members],
            self.kernel.population([member.formula for member in members]),
        ).to(device)
        orders = {seed: self._order(generator, len(train.labels)) for seed, generator in generators.items()}
        order = torch.stack([orders[member.seed] for member in members], dim=1).to(device)  # [steps, K, batch]
        optimiser = _optimiser(settings, network.parameters())
        with one_thread(), _no_denormals():
            for rows in order:
                logits = network(functional.embedding(rows, train.inputs))
                # A sum over members: the gradient of each is that of its own mean loss, and NaN stays with its owner.
                loss = functional.cross_entropy(logits.transpose(1, 2), train.labels[rows], reduction="sum")
                optimiser.zero_grad()
                (loss / settings.batch_size).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            return _accuracy(network, scored, len(members))

    def _order(self, generator: torch.Generator, examples: int) -> Tensor:
        """Returns the rows of every batch, shape ``[steps, batch]``; examples that do not fill a batch are left out."""
        batch = self.settings.batch_size
        generator = generator.clone_state()
        generator.manual_seed(generator.initial_seed() ^ 0x5EED)  # a stream of its own, whatever the network drew
        epochs = [torch.randperm(examples, generator=generator) for _ in range(self.settings.epochs)]
        return torch.cat([epoch[: examples - examples % batch].reshape(-1, batch) for epoch in epochs])


def _train_in_worker(
    settings: ProxySettings, kernel: Kernel, device: str, population: Sequence[Member], part: str
) -> list[float | None]:
    # A terminal's Ctrl-C goes to workers too; the process that feeds them decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _worker_proxy(settings, type(kernel), device).train_population(population, part)


@lru_cache(maxsize=16)
def _worker_proxy(settings: ProxySettings, kernel: type[Kernel], device: str) -> Proxy:
    return Proxy(settings, kernel(), device)


def _optimiser(settings: ProxySettings, parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=0.9, fused=True)
    return torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)


@torch.no_grad()
def _accuracy(network: torch.nn.Module, part: Part, members: int) -> list[float | None]:
    """Returns each member's accuracy on ``part``, or None where a logit is not finite; one copy to the host."""
    correct = torch.zeros(members, device=part.labels.device)
    finite = torch.ones(members, dtype=torch.bool, device=part.labels.device)
    for start in range(0, len(part.labels), _SCORED_ROWS):
        inputs, labels = (t[start : start + _SCORED_ROWS] for t in (part.inputs, part.labels))
        logits = network(inputs.expand(members, *inputs.shape))
        correct += (logits.argmax(dim=-1) == labels).sum(dim=1)
        finite &= logits.isfinite().flatten(1).all(dim=1)
    counts = zip(correct.tolist(), finite.tolist(), strict=True)
    return [count / len(part.labels) if ok else None for count, ok in counts]


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Flushes denormal numbers to zero: a saturated activation full of them costs half as much again otherwise."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
