"""Latency: time of an activation, forward plus backward, as a ratio to ReLU measured beside it.

During a search latency is a sum of operator costs, calibrated once per kernel, device and dtype: deterministic and
free. What is reported of finalists is measured. A figure is only ever compared with others of its own label.
"""

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from rlsearch.common.cache import cache_folder
from rlsearch.common.files import write_text
from rlsearch.common.threads import one_thread
from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Formula
from rlsearch.kernels import Kernel

ELEMENTS = {"cpu": 2**16, "cuda": 2**24}
"""By device type. On a CPU enough that overhead per call does not decide, and few enough that the data stays in a
core's second-level cache; on a GPU enough that launches do not decide, and more than its cache holds."""

_CALIBRATION = 2  # raised with every change of a kernel's speed: costs kept by an earlier one are measured anew
_PIECE_SECONDS = 3e-4  # a timed piece lasts at least this long, far above the clock's resolution
_RELU = Formula.parse("relu(x)")


@dataclass(frozen=True, slots=True)
class Latency:
    """A measured ratio to ReLU.

    Attributes:
        ratio: Median over interleaved pairs.
        low: First quartile.
        high: Third quartile.
    """

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LatencyCosts:
    """The cost model of one kernel on one device.

    Attributes:
        label: Kernel, device and dtype that the costs hold for.
        fixed: Ratio to ReLU of a formula without operators.
        costs: What each operator adds to the ratio.
    """

    label: str
    fixed: float
    costs: dict[str, float]

    def ratio(self, formula: Formula) -> float:
        """Returns the estimated latency of ``formula`` as it is executed: each distinct subexpression once."""
        return self.fixed + sum(self.costs[i.operator.name] for i in formula.program.instructions)

    def save(self, path: Path) -> None:
        """Writes the costs as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=1), shared=True)

    @classmethod
    def load(cls, path: Path) -> "LatencyCosts":
        """Reads costs that :meth:`save` wrote.

        Raises:
            ConfigError: If the file cannot be read or is not a complete table of costs.
        """
        try:
            read = json.loads(path.read_text())
            costs = cls(str(read["label"]), float(read["fixed"]), {k: float(v) for k, v in read["costs"].items()})
            if not all(0 < cost < math.inf for cost in (costs.fixed, *costs.costs.values())):
                raise ValueError("costs must be positive and finite")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is not a table of latency costs: {error!r}") from error
        missing = sorted(set(OPERATORS) - set(costs.costs))
        if missing:
            raise ConfigError(f"{path} has no cost for the operator {missing[0]!r}; calibrate anew by removing it")
        return costs


def label(kernel: Kernel, device: str) -> str:
    """Returns what a figure's validity hangs on, for instance ``"torch kernel, cpu (AMD EPYC), float32"``."""
    if torch.device(device).type == "cuda":
        return f"{kernel.name} kernel, {machine(device)}, {_elements(device):,} elements, float32"
    return f"{kernel.name} kernel, {machine(device)}, one thread, float32"


def machine(device: str) -> str:
    """Returns the name of a device, for instance ``"cpu (AMD EPYC)"`` or ``"NVIDIA H200"``."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else f"cpu ({_processor()})"


def _elements(device: str) -> int:
    return ELEMENTS[torch.device(device).type]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def cached_costs(kernel: Kernel, device: str) -> LatencyCosts:
    """Returns this machine's costs from the cache folder, calibrated now if they are not there."""
    wanted = label(kernel, device)
    file_name = f"latency-{_CALIBRATION}-" + "".join(c if c.isalnum() else "-" for c in wanted) + ".json"
    path = cache_folder() / file_name
    if path.exists():
        try:
            stored = LatencyCosts.load(path)
            if stored.label == wanted:
                return stored
        except ConfigError:
            pass  # damaged, or older than an operator: made anew below
    costs = calibrate(kernel, device)
    with suppress(OSError):  # a cache that cannot be written costs a calibration per run, nothing else
        costs.save(path)
    return costs


def calibrate(kernel: Kernel, device: str) -> LatencyCosts:
    """Measures every operator alone, beside ReLU, and returns the costs. Takes a few seconds."""
    alone = {
        name: Formula((name, "x") if operator.arity == 1 else (name, "x", "neg", "x"))
        for name, operator in OPERATORS.items()
    }
    measured = measure([Formula(("x",)), *alone.values()], kernel, device)
    least = 0.01  # no operator is free, whatever the noise said
    fixed = min(measured[0].ratio, 1 - least)
    ratios = {name: latency.ratio for name, latency in zip(alone, measured[1:], strict=True)}
    costs = {name: max(ratio - fixed, least) for name, ratio in ratios.items() if OPERATORS[name].arity == 1}
    # A binary operator is measured with a negation as its second operand, which costs what a negation costs.
    costs |= {
        name: max(ratio - fixed - costs["neg"], least) for name, ratio in ratios.items() if OPERATORS[name].arity == 2
    }
    costs["relu"] = 1 - fixed  # ReLU is the unit, by definition rather than to within the noise
    return LatencyCosts(label(kernel, device), fixed, costs)


def measure(
    formulas: Sequence[Formula], kernel: Kernel, device: str, elements: int | None = None, rounds: int = 15
) -> list[Latency]:
    """Measures forward plus backward of each formula on a tensor of ``elements``, in turn with ReLU.

    On a CPU that is wall time of one thread; on a GPU it is the device's own, between two events.

    Every round takes the formulas in a new order, and each right after ReLU; the ratio of such a pair is immune to a
    machine whose speed drifts. Reported are the median and the quartiles over the rounds.
    """
    with one_thread():
        return _measure(formulas, _Timer(kernel, device, elements or _elements(device)), rounds)


def _measure(formulas: Sequence[Formula], timer: "_Timer", rounds: int) -> list[Latency]:
    repeats = {formula: timer.repeats(formula) for formula in {*formulas, _RELU}}
    pairs: dict[Formula, list[float]] = {formula: [] for formula in formulas}
    shuffle = np.random.default_rng(0)
    for _ in range(rounds):
        for i in shuffle.permutation(len(formulas)):
            reference = timer.seconds(_RELU, repeats[_RELU])
            pairs[formulas[i]].append(timer.seconds(formulas[i], repeats[formulas[i]]) / reference)
    quartiles = [statistics.quantiles(pairs[formula], n=4, method="inclusive") for formula in formulas]
    return [Latency(ratio=q[1], low=q[0], high=q[2]) for q in quartiles]


class _Timer:
    """Times one formula's forward plus backward, in seconds per call."""

    def __init__(self, kernel: Kernel, device: str, elements: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.kernel = kernel
        self.x = torch.randn(1, elements, generator=generator).to(device).requires_grad_()
        self.gradient = torch.ones_like(self.x)

    def repeats(self, formula: Formula) -> int:
        """Returns how many calls one timed piece takes."""
        self.seconds(formula, 3)
        return max(3, int(_PIECE_SECONDS / self.seconds(formula, 3)))

    def seconds(self, formula: Formula, repeats: int) -> float:
        activation = self.kernel.population([formula])
        clock = self._by_events if self.x.is_cuda else self._by_wall
        return clock(lambda: torch.autograd.grad(activation(self.x), self.x, self.gradient), repeats) / repeats

    def _by_wall(self, call: Callable[[], object], repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return time.perf_counter() - start

    def _by_events(self, call: Callable[[], object], repeats: int) -> float:
        with torch.cuda.device(self.x.device):  # whose stream the calls go to
            call()  # the first one copies the formula to the device
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            for _ in range(repeats):
                call()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) / 1000  # from milliseconds
