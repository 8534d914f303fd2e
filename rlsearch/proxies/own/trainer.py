"""Trains a user's own network with the members of a population: as one network by vmap, or one after the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rlsearch.common.device import is_cpu
from rlsearch.common.threads import no_denormals, one_thread
from rlsearch.common.users_code import FAILURES, users_code, what_was_raised
from rlsearch.errors import RewardError, RlsearchError
from rlsearch.formula import RELU, Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data.parts import Part
from rlsearch.proxies.own.factories import (
    SharedActivation,
    build_network,
    load_own_dataset,
    precision_of,
    source_digest,
)
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.tasks import OwnTask
from rlsearch.proxies.starts import batches, rates, scored_after
from rlsearch.proxies.trainers.population import (
    counted,
    current_device,
    make_optimiser,
    outcomes,
    padded,
    rate_dtype,
)

_DROPOUT_STREAM = 0xD20
"""Makes of a seed that of the numbers that are drawn in training."""


class Networks(Protocol):
    """K networks, each with its own weights, buffers and activation.

    Attributes:
        parameters: By name, of shape ``[K, ...]`` or, for one network, as they are.
    """

    parameters: dict[str, Any]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Maps ``[K, batch, ...]`` to logits ``[K, batch, ..., classes]``."""
        ...

    def clip(self, norm: float) -> None:
        """Cuts each member's gradient to a length, over all its weights and no other member's."""
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """Interrupts training: dropout stops, and normalisation takes what it has gathered."""
        ...


def activation_alone(formula: Formula, kernel: Kernel) -> SharedActivation:
    """A formula as the activation of one network, for inputs of any shape."""
    compute = kernel.population([formula])
    return SharedActivation(lambda x: compute(x.unsqueeze(0)).squeeze(0))


class Alone:
    """One network as it is; K is 1."""

    def __init__(self, settings: OwnProxySettings, member: Training, kernel: Kernel, device: torch.device) -> None:
        activation = activation_alone(member.formula, kernel)
        self._network = build_network(settings, member.seed, activation).to(device)
        self._precision = precision_of(settings, device)
        self.parameters: dict[str, Any] = dict(self._network.named_parameters())

    @property
    def buffers(self) -> dict[str, Tensor]:
        """As they are now; a network may put others in their place."""
        return dict(self._network.named_buffers())

    def __call__(self, inputs: Tensor) -> Tensor:
        """Maps ``[1, batch, ...]`` to logits ``[1, batch, ..., classes]``."""
        with self._precision():
            logits: Tensor = self._network(inputs.squeeze(0)).unsqueeze(0)
        return logits.float()

    def clip(self, norm: float) -> None:
        """See :meth:`Networks.clip`."""
        nn.utils.clip_grad_norm_(self.parameters.values(), norm)

    def evaluating(self) -> AbstractContextManager[None]:
        """See :meth:`Networks.evaluating`."""
        return _evaluating(self._network)


class Together:
    """K networks as one, by ``torch.func.vmap``; all their activations are one call of the kernel."""

    def __init__(
        self, settings: OwnProxySettings, members: Sequence[Training], kernel: Kernel, device: torch.device
    ) -> None:
        population = kernel.population([member.formula for member in members])
        activation = SharedActivation(lambda x: _AllMembers.apply(x, population))  # type: ignore[no-untyped-call]
        # Members of one seed begin alike, so each seed is drawn once.
        drawn = {seed: build_network(settings, seed, activation) for seed in {member.seed for member in members}}
        self._network = drawn[members[0].seed]
        parameters, buffers = stack_module_state([drawn[member.seed] for member in members])
        self.parameters: dict[str, Any] = {
            name: stacked.detach().to(device).requires_grad_(stacked.requires_grad)
            for name, stacked in parameters.items()
        }
        self.buffers = {name: stacked.to(device) for name, stacked in buffers.items()}
        # What is neither parameter nor buffer, if the network knows its device.
        self._network.to(device)
        # "same": members of one seed draw what each would draw alone.
        self._forward = vmap(self._member, randomness="same")
        self._precision = precision_of(settings, device)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Maps ``[K, batch, ...]`` to logits ``[K, batch, ..., classes]``."""
        with self._precision():
            logits: Tensor = self._forward(self.parameters, self.buffers, inputs)
        return logits.float()

    def clip(self, norm: float) -> None:
        """See :meth:`Networks.clip`."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        # Of a scalar parameter the members' gradients have one dimension, [K].
        squares = torch.stack([g.reshape(len(g), -1).square().sum(dim=1) for g in gradients])
        # As torch.nn.utils.clip_grad_norm_ does for one network.
        factors = (norm / (squares.sum(dim=0).sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def evaluating(self) -> AbstractContextManager[None]:
        """See :meth:`Networks.evaluating`."""
        return _evaluating(self._network)

    def _member(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Any:
        return functional_call(self._network, (parameters, buffers), (inputs,))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    # A user may have frozen some of its modules.
    trained = [module for module in network.modules() if module.training]
    network.eval()
    yield
    for module in trained:
        module.training = True


class _AllMembers(torch.autograd.Function):
    """Calls a population's activation from within vmap, where a tensor stands for one member's part of it."""

    @staticmethod
    def forward(x: Tensor, population: Callable[[Tensor], Tensor]) -> Tensor:
        raise NotImplementedError("the activation of something that is the same for all members")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, population: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
        return population(x.movedim(in_dims[0], 0)), 0


class OwnTrainer:
    """Trains a user's own network; a :class:`~rlsearch.proxies.base.Trainer`.

    Dropout and whatever else draws from torch's global random numbers does so from a member's seed: where a network
    draws while it is trained, members of different seeds are not trained together.

    Args:
        settings: The proxy, with ``batched`` decided.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        size: K, if they are trained together. A population with fewer members is filled up, so that their bits do not
            depend on how many they are.

    Raises:
        ConfigError: If the factories are wrong, or were edited since the run began.
    """

    def __init__(self, settings: OwnProxySettings, kernel: Kernel, device: str, size: int) -> None:
        source_digest(settings)
        self.settings = settings
        self.size = size
        self._kernel = kernel
        self.device = torch.device(device)
        self._data = load_own_dataset(settings).to(device)

    def train(self, population: Sequence[Training]) -> list[Outcome | None]:
        """Trains members together or one after the other.

        Raises:
            RewardError: If the network raises.
        """
        with one_thread(), no_denormals(), current_device(self.device):
            try:
                return self._train(population)
            except (RlsearchError, torch.OutOfMemoryError):
                raise
            except FAILURES as error:  # whatever a user's network raises
                raise RewardError(f"training {self.settings.target} raised {what_was_raised(error)}") from error

    def _train(self, members: Sequence[Training]) -> list[Outcome | None]:
        part = members[0].part
        if self.settings.batched is not True:
            return [self._scores([member], self.alone(member), part)[0] for member in members]
        scores: dict[int, Outcome | None] = {}
        for places in self._groups(members):
            group = padded([members[i] for i in places], self.size)
            found = self._scores(group, self.together(group), part)
            scores |= dict(zip(places, found, strict=False))
        return [scores[i] for i in range(len(members))]

    def alone(self, member: Training) -> Alone:
        """The untrained network of a member."""
        return Alone(self.settings, member, self._kernel, self.device)

    def together(self, members: Sequence[Training]) -> Together:
        """The untrained networks of a population as one."""
        return Together(self.settings, members, self._kernel, self.device)

    def orders(self, members: Sequence[Training]) -> Tensor:
        """The rows of every batch of every member, shape ``[steps, K, batch]``."""
        examples = len(self._data.train.labels)
        of_seed = {s: batches(self.settings, s, examples) for s in {member.seed for member in members}}
        return torch.stack([of_seed[member.seed] for member in members], dim=1).to(self.device)

    def inputs(self, rows: Tensor) -> Tensor:
        """Training examples, shape ``[K, batch, ...]``, of ``rows`` of shape ``[K, batch]``."""
        return self._data.train.inputs[rows]

    def backward(self, networks: Networks, rows: Tensor) -> Tensor:
        """Computes the gradient of each member's loss on its ``rows``, shape ``[K, batch]``.

        Returns:
            The outputs, ``[K, batch, ..., outputs]``.
        """
        labels = self._data.train.labels[rows]
        outputs = networks(self.inputs(rows))
        self.settings.task.loss(outputs, labels).backward()  # type: ignore[no-untyped-call]
        return outputs

    def step(self, networks: Networks, optimiser: torch.optim.Optimizer, rows: Tensor) -> None:
        """Trains every member on its ``rows``, shape ``[K, batch]``, at the learning rate that the optimiser has."""
        self.backward(networks, rows)
        if self.settings.clip_norm is not None:
            networks.clip(self.settings.clip_norm)
        optimiser.step()
        optimiser.zero_grad()

    def optimiser(self, networks: Networks) -> torch.optim.Optimizer:
        """Makes one optimiser for all members."""
        trained: Iterable[Any] = (p for p in networks.parameters.values() if p.requires_grad)
        rate = torch.tensor(self.settings.learning_rate, dtype=rate_dtype(self.device), device=self.device)
        return make_optimiser(self.settings, trained, self.device, rate)

    def _scores(self, members: Sequence[Training], networks: Networks, part: str) -> list[Outcome | None]:
        """Trains and scores; of members that draw random numbers meanwhile, all have the same seed."""
        optimiser = self.optimiser(networks)
        orders = self.orders(members)
        ends = scored_after(self.settings, len(orders))
        learning_rates = rates(self.settings, len(orders))
        scored = getattr(self._data, part)
        counts = []
        # Other numbers than those that the weights were drawn from.
        with users_code(members[0].seed ^ _DROPOUT_STREAM, self.device):
            for done, (rows, rate) in enumerate(zip(orders, learning_rates, strict=True), start=1):
                optimiser.param_groups[0]["lr"].copy_(rate)
                self.step(networks, optimiser, rows)
                if done in ends:
                    with networks.evaluating():
                        counts.append([self._counted(networks, scored, len(members))])
        return outcomes(self.settings, counts, scored)

    def _counted(self, networks: Networks, part: Part, members: int) -> tuple[Tensor, Tensor]:
        """What is counted on a part; see :func:`~rlsearch.proxies.trainers.population.counted`."""
        task, batch = self.settings.task, self.settings.batch_size
        if not (isinstance(task, OwnTask) and task.sees_all):
            return counted(task, networks, part, members, batch)

        def of_all(inputs: Tensor) -> Tensor:
            # In pieces, for what lies between the layers takes memory.
            return torch.cat([networks(piece) for piece in torch.split(inputs, batch, dim=1)], dim=1)

        return counted(task, of_all, part, members, len(part.labels))

    def _groups(self, members: Sequence[Training]) -> list[list[int]]:
        """Places of members in groups that are trained together."""
        by_seed: dict[int, list[int]] = {}
        for i, member in enumerate(members):
            by_seed.setdefault(member.seed, []).append(i)
        if len(by_seed) == 1 or not self._draws_random_numbers():
            return [list(range(len(members)))]
        return list(by_seed.values())

    def _draws_random_numbers(self) -> bool:
        """Whether the network draws random numbers while it is trained."""
        network = self.alone(Training(RELU, "", 0))
        states = []
        with users_code(0, self.device), torch.no_grad():
            for _ in range(2):
                states.append(torch.default_generator.get_state())
                if not is_cpu(self.device):
                    states[-1] = torch.cat([states[-1], torch.cuda.get_rng_state(self.device)])
                network(self._data.train.inputs[: self.settings.batch_size].unsqueeze(0))
        return not torch.equal(*states)
