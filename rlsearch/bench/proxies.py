"""Proxies: candidates trained per second, in populations and by a loop over single networks."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.bench.formulas import KNOWN, random_formulas
from rlsearch.bench.kernels import EagerKernel
from rlsearch.bench.limits import operations_per_candidate, product_rate
from rlsearch.bench.plain_transformer import PlainTransformer
from rlsearch.bench.report import Limit, Report, Row, rate_rows
from rlsearch.common.device import device_type
from rlsearch.common.pool import InProcess, Pool, make_pool
from rlsearch.common.progress import Events
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import WALL, Clock, clock_of, in_turn
from rlsearch.formula import Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.kernels import Kernel, TorchKernel
from rlsearch.kernels.latency import machine
from rlsearch.proxies.base import Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.networks import NETWORKS, Layer
from rlsearch.proxies.networks.norms import NORM_EPSILON
from rlsearch.proxies.networks.transformer import Transformer
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import train_populations
from rlsearch.proxies.sequence_tasks import TokenAtEachPosition
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.starts import batches, rates, scored_after
from rlsearch.proxies.trainers.population import counted, outcomes
from rlsearch.rewards.panels import GENERAL

PROXIES = (
    *GENERAL,
    ProxySettings(network="conv1d", widths=(16, 16, 16), epochs=2),
    ProxySettings.check(
        {
            "dataset": "text_sequences",
            "network": "transformer",
            "widths": (64, 64),
            "optimiser": "adamw",
            "schedule": "cosine",
            "warmup": 0.1,
            "clip_norm": 1.0,
            "batch_size": 16,
            "train_size": 480,
            "validation_size": 80,
            "epochs": 1,
        }
    ),
)
"""The quickstart's, a convolutional one and a transformer, which are trained for less long than a search would: it
would take minutes."""

CANDIDATES = {"cpu": 16, "cuda": 1024}
"""Trained in one call, by device type; the plain loop trains the first sixteen of them."""

ROWS_SCORED_AT_A_TIME = 2000
"""Examples, or labels, that the plain loop scores in one call."""

# The quickstart's.
_LANGUAGE = LanguageSettings(max_length=10)


def bench_proxies(
    device: str,
    kernel: Kernel,
    proxies: Sequence[ProxySettings] = PROXIES,
    rounds: int = 3,
    workers: Sequence[int] = (),
    events: Events = Events(),
) -> Report:
    """Measures candidates per second on one core or GPU, on known and on random formulas.

    Args:
        device: Where.
        kernel: What computes activations in the project's own way.
        proxies: What is trained.
        rounds: How often everything is timed.
        workers: Numbers of processes; with them, wall time of the same work by so many processes is measured too.
        events: Told of progress.
    """
    clock = clock_of(device)
    formulas = {"known": list(KNOWN.values()), "random": random_formulas(len(KNOWN), _LANGUAGE, fit=True)}
    rows: list[Row] = []
    limits: list[Limit] = []
    with one_thread():
        for done, settings in enumerate(proxies):
            rate, library = product_rate(settings, device, clock)
            limits.append(Limit(f"matrix products of {network_name(settings)} by {library}", rate / 1e9, "GFLOP/s"))
            limit = rate / operations_per_candidate(settings)
            for i, (kind, some) in enumerate(formulas.items()):
                rows += _single(settings, kind, some, device, kernel, rounds, clock, limit)
                events.on_progress("proxies", 2 * done + i + 1, 2 * len(proxies))
            if workers:
                rows += _scaling(settings, formulas["random"], device, kernel, rounds, workers)
    return Report("proxies", machine(device), kernel.name, clock.name, rounds, tuple(limits), tuple(rows))


def title(settings: ProxySettings) -> str:
    """What a proxy is called, for instance ``"mnist1d mlp 100-100, 5 epochs"``."""
    return f"{network_name(settings)}, {settings.epochs} epochs"


def network_name(settings: ProxySettings) -> str:
    """The proxy's data and network, for instance ``"mnist1d mlp 100-100"``."""
    return f"{settings.dataset} {settings.network} {'-'.join(map(str, settings.widths))}"


def _single(
    settings: ProxySettings,
    kind: str,
    formulas: Sequence[Formula],
    device: str,
    kernel: Kernel,
    rounds: int,
    clock: Clock,
    limit: float,
) -> list[Row]:
    data = load_dataset(settings).to(device)
    count = CANDIDATES[device_type(device)]
    ways: dict[str, Callable[[], object]] = {}
    trained: dict[str, int] = {}
    for each in (kernel, TorchKernel()):
        ways[each.name] = _training(Proxy(settings, each, device), formulas, count, InProcess())
        trained[each.name] = count
    plain = "eager"
    ways[plain] = lambda: [train_eagerly(settings, formula, 0, data) for formula in formulas]
    trained[plain] = len(formulas)
    times = in_turn(ways, rounds, clock)
    rates = {name: trained[name] / seconds for name, seconds in times.items()}
    section = f"{title(settings)}, one process"
    return rate_rows(section, f"{kind} formulas", "candidates/s", rates, plain, limit)


def _scaling(
    settings: ProxySettings,
    formulas: Sequence[Formula],
    device: str,
    kernel: Kernel,
    rounds: int,
    workers: Sequence[int],
) -> list[Row]:
    """Measures the same work by several numbers of processes, enough of it that each has two populations."""
    count = 2 * max(workers) * CANDIDATES[device_type(device)]
    proxy = Proxy(settings, kernel, device)
    ways = {f"{n} worker{'s' * (n > 1)}": _training(proxy, formulas, count, make_pool(n)) for n in workers}
    rates = {name: count / seconds for name, seconds in in_turn(ways, rounds, WALL).items()}
    return rate_rows(
        f"{title(settings)}, by processes ({WALL.name})", f"{count} trainings", "candidates/s", rates, next(iter(rates))
    )


def _training(proxy: Proxy, formulas: Sequence[Formula], count: int, pool: Pool) -> Callable[[], object]:
    """A call that trains ``count`` candidates: the formulas again and again, each time from another seed."""
    wanted = [Training(formulas[i % len(formulas)], proxy.name, i // len(formulas)) for i in range(count)]
    return lambda: list(train_populations({proxy.name: proxy}, wanted, pool))


def train_eagerly(settings: ProxySettings, formula: Formula, seed: int, data: Parts) -> float:
    """Trains one candidate as one would by hand, by torch's own layers, losses and optimisers.

    Args:
        settings: The proxy.
        formula: The activation.
        seed: Of the initial weights, which are not the proxy's own, and of the order of the examples.
        data: Of the proxy.

    Returns:
        The validation score; NaN if a number is not finite.
    """
    inputs, labels = data.train.inputs, data.train.labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = plain_network(settings, formula).to(inputs.device)
    optimiser, loss_of = _optimiser(settings, network), _loss(settings)
    rows_of_steps = batches(settings, seed, len(labels)).to(inputs.device)
    rates_of_steps = rates(settings, len(rows_of_steps)).tolist()
    ends = scored_after(settings, len(rows_of_steps))
    counts = []
    for step, (rows, rate) in enumerate(zip(rows_of_steps, rates_of_steps, strict=True), start=1):
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(network(inputs[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimiser.step()
        if step in ends:
            parts = [part for part in (data.validation, data.validation.outside) if part is not None]
            counts.append([_counted(settings, network, part) for part in parts])
    (outcome,) = outcomes(settings, counts, data.validation)
    return math.nan if outcome is None else outcome.score


def _optimiser(settings: ProxySettings, network: nn.Module) -> torch.optim.Optimizer:
    parameters = network.parameters()
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=0.9)
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.decay)
    return torch.optim.Adam(parameters, lr=settings.learning_rate)


_LOSSES: Mapping[str | None, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "squared_error": functional.mse_loss,
    "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
}


def _loss(settings: ProxySettings) -> Callable[[Tensor, Tensor], Tensor]:
    """A task's loss in torch's own words, or if it has none there, in the task's."""
    task = settings.task
    if isinstance(task, TokenAtEachPosition):
        return lambda outputs, labels: functional.cross_entropy(outputs.flatten(0, 1), labels.flatten())
    return _LOSSES.get(task.native_loss, lambda outputs, labels: task.loss(outputs[None], labels[None]))


def _counted(settings: ProxySettings, network: nn.Module, part: Part) -> tuple[Tensor, Tensor]:
    """What a task counts of one network; see :func:`~rlsearch.proxies.trainers.population.counted`."""
    network.eval()
    rows = ROWS_SCORED_AT_A_TIME
    if settings.data.by_position:
        rows = max(1, rows // settings.data.n_features)
    found = counted(settings.task, lambda inputs: network(inputs[0])[None], part, 1, rows)
    network.train()
    return found


def plain_network(settings: ProxySettings, formula: Formula) -> nn.Module:
    """The network of a proxy by torch's own layers; where it is no plain chain of them, its own with one member."""
    kind = NETWORKS[settings.network]
    if isinstance(kind, Transformer):
        return PlainTransformer(settings, formula)
    if not kind.native:
        return _OneMember(settings, formula)
    *hidden, head = kind.layers(settings)
    first, n_tokens = hidden[0], settings.data.n_tokens
    modules: list[nn.Module] = []
    if n_tokens is not None:
        modules += [nn.Embedding(n_tokens, settings.embedding), nn.Flatten()]
    if first.taps > 1:
        modules.append(nn.Unflatten(1, (first.channels, first.positions_in)))
    for layer in hidden:
        modules += [_linear(layer), *_norm(settings, layer), formula.to_module()]
    if head.positions_in > 1 or first.taps > 1:
        modules += [nn.AdaptiveAvgPool1d(1), nn.Flatten()]
    return nn.Sequential(*modules, _linear(head))


def _linear(layer: Layer) -> nn.Module:
    if layer.taps == 1:
        return nn.Linear(layer.channels, layer.outputs)
    return nn.Conv1d(layer.channels, layer.outputs, kernel_size=layer.taps, stride=2, padding=1)


def _norm(settings: ProxySettings, layer: Layer) -> list[nn.Module]:
    if settings.normalisation == "none":
        return []
    kind = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}[settings.normalisation]
    norm = kind(layer.outputs, eps=NORM_EPSILON)
    return [norm if layer.taps == 1 else _OverChannels(norm)]


class _OneMember(nn.Module):
    """A population of one, with the formula as a plain module."""

    def __init__(self, settings: ProxySettings, formula: Formula) -> None:
        super().__init__()
        activation = EagerKernel().population([formula])
        self.population = NETWORKS[settings.network].build(settings, [torch.default_generator], activation)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.population(x.unsqueeze(0)).squeeze(0)
        return outputs


class _OverChannels(nn.Module):
    """A normalisation over the channels of ``[batch, channels, length]``, at every position."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return outputs
