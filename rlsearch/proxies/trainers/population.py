"""The population trainer: K candidates, each with its own formula and seed, trained as one batched network."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlsearch.common.threads import no_denormals, one_thread
from rlsearch.errors import FormulaError
from rlsearch.formula import RELU, Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Kind, Outcome, Training, letters_of
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.data.parts import Part
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.layers import Population
from rlsearch.proxies.networks.trained import TrainedParameters
from rlsearch.proxies.settings import ProxySettings, TrainingSettings
from rlsearch.proxies.starts import batches, initial_networks, rates, scored_after, steps_of
from rlsearch.proxies.tasks import Task

_T = TypeVar("_T")

SCORED_ROWS = 400
"""Examples, or labels, per forward pass in scoring: what stays in cache. A multiple of 4; see
:class:`ProxySettings`."""

MAX_GRAPH_STEPS = 64
"""Training steps in one CUDA graph, whose nodes take memory, and time to make."""

MAX_GPU_MEMBERS = 2048
"""More fill no multiprocessor that these leave idle."""


class PopulationTrainer:
    """Trains K members at once, in buffers that are made once.

    Programs, weights, optimiser state and the order of the examples are written into the buffers of the population
    before. So two CUDA graphs, one of some dozens of steps and one of scoring, captured at the first population, serve
    all of them: between the copies to the device and the scores the host has a handful of calls to make.

    Args:
        settings: The proxy.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        size: K. A population with fewer members is filled up, so that their bits do not depend on how many they are.
        kind: The inputs of the formulas, and the letters of their parameters.
    """

    def __init__(self, settings: ProxySettings, kernel: Kernel, device: str, size: int, kind: Kind = ("x",)) -> None:
        self.settings = settings
        self.size = size
        self.kind = kind
        self._task = settings.task
        self._device = torch.device(device)
        self._data = load_dataset(settings).to(device)
        self._kernel = kernel
        self._activation = kernel.population([RELU] * size, kind)
        self._network = self._initial([0])
        for parameter in self._network.parameters():
            parameter.data = parameter.data.expand(size, *parameter.shape[1:]).to(self._device).contiguous()
        for module in self._network.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.expand(size, *buffer.shape[1:]).to(self._device).contiguous())
        self._trained: TrainedParameters | None = None
        if letters := letters_of(kind):
            channels = self._network.channels
            self._trained = TrainedParameters(size, letters, channels, settings.parameters, self._device)
            self._network.trained = self._trained
        # Where a graph can read them: the step that comes next, and the learning rates of the next and of all.
        steps = steps_of(settings, settings.sizes[0])
        self._at = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._rates = rates(settings, steps).to(self._device, rate_dtype(self._device))
        self._rate = self._rates[0].clone()
        self._weights = list(self._network.parameters())
        trained = [self._trained.values] if self._trained else []
        self._optimiser = make_optimiser(settings, self._weights, self._device, self._rate, trained)
        self._weights += trained
        self._orders = torch.zeros(steps, size, settings.batch_size, dtype=torch.int64, device=self._device)
        # Steps of one graph: all graphs of a training are the same one, and it is scored between two of them.
        self._scored_after = scored_after(settings, steps)
        ends = math.gcd(steps, *self._scored_after)
        self._stretch = max(n for n in range(1, MAX_GRAPH_STEPS + 1) if ends % n == 0)
        self._replays: dict[str, Callable[[], object]] = {}

    def train(self, population: Sequence[Training]) -> list[Outcome | None]:
        """Trains one population of at most ``size`` members; see :class:`~rlsearch.proxies.base.Trainer`."""
        wanted, part = len(population), population[0].part
        members = padded(population, self.size)
        with one_thread(), no_denormals(), current_device(self._device):
            self._load_formulas([member.formula for member in members])
            stretch = self._ready("stretch", self._take_steps, self._first_steps)
            scored = getattr(self._data, part)
            scoring = self._ready(part, lambda: self._counted(scored))
            self._load_start([member.seed for member in members])
            if self._trained is not None:
                self._trained.load([member.formula for member in members])
            counts = []
            for done in range(self._stretch, len(self._orders) + 1, self._stretch):
                stretch()
                if done in self._scored_after:
                    # A graph writes the next counts where these are.
                    counts.append([tuple(each.clone() for each in of_part) for of_part in scoring()])
            found = outcomes(self.settings, counts, scored)[:wanted]
            return found if self._trained is None else with_learned(found, self._trained, members)

    def _counted(self, part: Part) -> list[tuple[Tensor, Tensor]]:
        """What is counted on a part, and on its inputs outside the range of training where they are scored."""
        self._network.eval()
        parts = [part] if part.outside is None else [part, part.outside]
        rows = scored_rows(self.settings)
        found = [counted(self._task, self._network, each, self.size, rows) for each in parts]
        self._network.train()
        return found

    def _load_formulas(self, formulas: Sequence[Formula]) -> None:
        try:
            self._activation.load(formulas)
        except FormulaError:
            # A formula is longer than this activation has room for; or it is wrong, and then a new one says so too.
            self._activation = self._network.activation = self._kernel.population(formulas, self.kind)
            self._replays.clear()

    def _load_start(self, seeds_of_members: Sequence[int]) -> None:
        """Writes what the seeds decide into the buffers: orders and initial weights, and the optimiser's zeros."""
        # Members of one seed begin alike, so each seed is drawn once.
        seeds = {seed: i for i, seed in enumerate(dict.fromkeys(seeds_of_members))}
        of_member = torch.tensor([seeds[seed] for seed in seeds_of_members], device=self._device)

        examples = len(self._data.train.labels)
        orders = torch.stack([batches(self.settings, seed, examples) for seed in seeds], dim=1)
        self._orders.copy_(orders.to(self._device)[:, of_member])
        drawn = self._initial(list(seeds))
        with torch.no_grad():
            for weights, drawn_weights in zip(self._network.parameters(), drawn.parameters(), strict=True):
                weights.copy_(drawn_weights.to(self._device)[of_member])
        for state in self._optimiser.state.values():
            for value in state.values():
                value.zero_()
        # What a network keeps beside its weights, such as running means of batches.
        with torch.no_grad():
            for buffer, fresh in zip(self._network.buffers(), drawn.buffers(), strict=True):
                buffer.copy_(fresh.to(self._device)[of_member])
        self._at.zero_()

    def _initial(self, seeds: Sequence[int]) -> Population:
        return initial_networks(self.settings, seeds, self._activation, self.kind)

    def _step(self) -> None:
        """Trains on the next batch. It reads no number back, so that a graph of it can be captured."""
        train = self._data.train
        # Shape [K, batch].
        rows = self._orders.index_select(0, self._at)[0]
        outputs = self._network(train.inputs.index_select(0, rows.flatten()).reshape(*rows.shape, -1))
        loss = self._task.loss(outputs, train.labels[rows])
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm is not None:
            clip(self._weights, self.settings.clip_norm)
        self._rate.copy_(self._rates.index_select(0, self._at)[0])
        self._optimiser.step()
        self._at += 1

    def _first_steps(self) -> None:
        for _ in range(3):
            self._at.zero_()
            self._step()

    def _take_steps(self) -> None:
        for _ in range(self._stretch):
            self._step()

    def _ready(
        self, name: str, work: Callable[[], _T], warm_up: Callable[[], object] | None = None
    ) -> Callable[[], _T]:
        """The work itself, or on a GPU a CUDA graph of it, which is captured once.

        Args:
            name: Of the graph.
            work: Returns the same tensors, written anew, from every replay.
            warm_up: A piece of the work that is done before capture, which may leave weights as they should not be.
        """
        if self._device.type != "cuda" or not self._kernel.programs_are_data:
            return work
        if name not in self._replays:
            self._replays[name] = self._captured(work, warm_up or work)
        return self._replays[name]  # type: ignore[return-value]

    def _captured(self, work: Callable[[], _T], warm_up: Callable[[], object]) -> Callable[[], _T]:
        # Capture wants a warm-up beside the default stream.
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            warm_up()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # On a stream of its own: graphs of one stream share the workspace of the products.
        with torch.cuda.graph(graph, stream=stream):
            results = work()

        def replay() -> _T:
            graph.replay()
            return results

        return replay


def padded(population: Sequence[Training], size: int) -> list[Training]:
    """Fills a population up to ``size`` members, so that no member's bits depend on how many there are.

    What it is filled with is ReLU: cheap, and finite whatever happens.
    """
    filling = replace(population[0], formula=RELU)
    return [*population, *[filling] * (size - len(population))]


def most_members(settings: ProxySettings, device: str) -> int:
    """Members that a GPU's free memory holds by a rough count: a power of two from 16 on.

    Args:
        settings: The proxy, whose network says its layers.
        device: ``"cuda"`` or ``"cuda:1"``.
    """
    free = int(torch.cuda.mem_get_info(device)[0])
    hidden = NETWORKS[settings.network].layers(settings)[:-1]
    # Of an example; images become smaller from layer to layer, and wider.
    widths = sum(layer.positions * max(layer.inputs, layer.outputs) for layer in hidden)
    # Windows, sums, activations, slopes and their gradients.
    numbers = 8 * max(settings.batch_size, scored_rows(settings)) * widths
    steps = steps_of(settings, settings.sizes[0])
    needed = 4 * numbers + 8 * steps * settings.batch_size
    fitting = max(16, free // 2 // needed)
    return min(MAX_GPU_MEMBERS, 1 << (fitting.bit_length() - 1))


def scored_rows(settings: ProxySettings) -> int:
    """Examples per forward pass in scoring, a multiple of 4: fewer of those that have many labels."""
    if not settings.data.by_position:
        return SCORED_ROWS
    return max(4, SCORED_ROWS // settings.data.n_features // 4 * 4)


_CLIP_EPSILON = 1e-6
"""Added to a gradient's norm: torch's."""


def clip(parameters: Sequence[torch.nn.Parameter], most: float) -> None:
    """Scales each member's gradient down to a norm, as ``torch.nn.utils.clip_grad_norm_`` does for one network.

    Args:
        parameters: All of them, each with its gradient of shape ``[K, ...]``.
        most: The norm.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    of_each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
    norms = torch.linalg.vector_norm(torch.stack(of_each), dim=0)
    factors = (most / (norms + _CLIP_EPSILON)).clamp(max=1.0)
    for gradient in gradients:
        gradient *= factors.reshape(-1, *[1] * (gradient.dim() - 1))


def rate_dtype(device: torch.device) -> torch.dtype:
    """What fused optimisers read a learning rate as."""
    return torch.float32 if device.type == "cuda" else torch.float64


def make_optimiser(
    settings: TrainingSettings,
    weights: Iterable[torch.nn.Parameter],
    device: torch.device,
    rate: Tensor,
    trained: Sequence[torch.nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """Makes the optimiser of stacked or single weights, which treats each number by itself.

    Args:
        settings: The proxy.
        weights: All of them.
        device: Where they are.
        rate: The learning rate of the next step, a tensor of one number that is written before each step.
        trained: Parameters of formulas, which do not decay: decay would draw their start values to 0.
    """
    parameters: list[dict[str, Any]] = [{"params": list(weights)}]
    if trained:
        parameters.append({"params": list(trained), "weight_decay": 0.0})
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, fused=True)
    capturable = device.type == "cuda"
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.decay, fused=True, capturable=capturable)
    return torch.optim.Adam(parameters, lr=rate, fused=True, capturable=capturable)


def with_learned(
    found: Sequence[Outcome | None], trained: TrainedParameters, members: Sequence[Training]
) -> list[Outcome | None]:
    """The outcomes with what the parameters of each member have become."""
    learned = trained.learned([member.formula for member in members])
    return [
        None if outcome is None else replace(outcome, parameters=parameters)
        for outcome, parameters in zip(found, learned, strict=False)
    ]


@torch.no_grad()
def counted(
    task: Task, network: Callable[[Tensor], Tensor], part: Part, members: int, rows: int | None = None
) -> tuple[Tensor, Tensor]:
    """Each member's count on all of ``part``, and whether all its outputs are finite; no number is read back.

    Args:
        task: Says what is counted.
        network: Maps inputs ``[members, rows, ...]`` to outputs ``[members, rows, ..., outputs]``.
        part: What is scored.
        members: How many.
        rows: Examples per forward pass.

    Returns:
        float64 of shape ``[members]`` or ``[members, outputs]``, and bool of shape ``[members]``.
    """
    rows = rows or SCORED_ROWS
    counts: Tensor | None = None
    finite = torch.ones(members, dtype=torch.bool, device=part.labels.device)
    for start in range(0, len(part.labels), rows):
        inputs, labels = (t[start : start + rows] for t in (part.inputs, part.labels))
        outputs = network(inputs.expand(members, *inputs.shape))
        count = task.count(outputs, labels).double()
        counts = count if counts is None else counts + count
        finite &= outputs.isfinite().flatten(1).all(dim=1)
    assert counts is not None, "a part has examples"
    return counts, finite


def outcomes(
    settings: TrainingSettings, evaluations: Sequence[Sequence[tuple[Tensor, ...]]], part: Part
) -> list[Outcome | None]:
    """What came of each member: the mean over evaluations. Here the host waits for the device.

    Args:
        settings: The proxy, which says what scores are.
        evaluations: What :func:`counted` gave at each, on the part and on what lies outside, if that is scored.
        part: What was scored.

    Returns:
        One per member; None where an output or a score is not finite.
    """
    parts = [part] if part.outside is None else [part, part.outside]
    means = []
    finite = np.array(True)
    for i, scored in enumerate(parts):
        found = []
        for evaluation in evaluations:
            counts, are_finite = (each.numpy(force=True) for each in evaluation[i])
            found.append(settings.task.scores(counts, scored.labels))
            finite = finite & are_finite
        means.append(np.mean(found, axis=0))
    return combined(settings, means, finite)


def combined(
    settings: TrainingSettings, means: Sequence[NDArray[np.float64]], finite: NDArray[np.bool_]
) -> list[Outcome | None]:
    """Outcomes of the scores inside, and outside if there are such, each of shape ``[members]``."""
    inside, outside = means[0], means[1] if len(means) > 1 else None
    scores = inside
    if outside is not None:
        assert isinstance(settings, ProxySettings)
        scores = (1 - settings.outside_weight) * inside + settings.outside_weight * outside
    found: list[Outcome | None] = []
    for i, score in enumerate(scores.tolist()):
        if finite[i] and math.isfinite(score):
            found.append(Outcome(score, None if outside is None else float(outside[i])))
        else:
            found.append(None)
    return found


def current_device(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the current one, on whose stream graphs are replayed."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
