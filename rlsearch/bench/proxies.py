"""Proxies: candidates trained per second, in populations and by a loop over single networks."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.bench.formulas import KNOWN, random_formulas
from rlsearch.bench.kernels import EagerKernel
from rlsearch.bench.limits import operations_per_candidate, product_rate
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
from rlsearch.proxies.data.parts import Parts
from rlsearch.proxies.networks import NETWORKS, Layer
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import train_populations
from rlsearch.proxies.settings import ProxySettings

PROXIES = (ProxySettings(), ProxySettings(network="conv1d", widths=(16, 16, 16), epochs=2))
"""The quickstart's, and a convolutional one, trained for less long than a search would, or it would take minutes."""

CANDIDATES = {"cpu": 16, "cuda": 1024}
"""Trained in one call, by device type; the plain loop trains the first sixteen of them."""

ROWS_SCORED_AT_A_TIME = 2000
"""Examples that the plain loop scores in one call."""

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
    """Trains one candidate as one would by hand, torch's own layers and optimiser; returns validation accuracy."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = plain_network(settings, formula).to(data.train.inputs.device)
    optimiser: torch.optim.Optimizer
    if settings.optimiser == "sgd":
        optimiser = torch.optim.SGD(network.parameters(), lr=settings.learning_rate, momentum=0.9)
    else:
        optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)

    # Every epoch in a new order; what does not fill a batch is left out, as the project's trainers do.
    count, batch = len(data.train.labels), settings.batch_size
    for _ in range(settings.epochs):
        order = torch.randperm(count, generator=generator).to(data.train.labels.device)
        for rows in order[: count - count % batch].reshape(-1, batch):
            loss = functional.cross_entropy(network(data.train.inputs[rows]), data.train.labels[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.eval()
    with torch.inference_mode():
        pieces = torch.split(data.validation.inputs, ROWS_SCORED_AT_A_TIME)
        predicted = torch.cat([network(piece).argmax(dim=-1) for piece in pieces])
        return float((predicted == data.validation.labels).float().mean())


def plain_network(settings: ProxySettings, formula: Formula) -> nn.Module:
    """The network of a proxy by torch's own layers; where it is no plain chain of them, its own with one member."""
    kind = NETWORKS[settings.network]
    if not kind.native:
        return _OneMember(settings, formula)
    *hidden, head = kind.layers(settings)
    first = hidden[0]
    modules: list[nn.Module] = [nn.Unflatten(1, (first.channels, first.positions_in))] if first.taps > 1 else []
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
    return [nn.LayerNorm(layer.outputs) if layer.taps == 1 else _ChannelNorm(layer.outputs)]


class _OneMember(nn.Module):
    """A population of one, with the formula as a plain module."""

    def __init__(self, settings: ProxySettings, formula: Formula) -> None:
        super().__init__()
        activation = EagerKernel().population([formula])
        self.population = NETWORKS[settings.network].build(settings, [torch.default_generator], activation)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.population(x.unsqueeze(0)).squeeze(0)
        return outputs


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of ``[batch, channels, length]``, at every position."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)
