"""Latency: time of an activation, forward plus backward, as a ratio to ReLU measured beside it.

A gated unit has two thirds as many numbers as a pointwise layer of as many parameters, since it has three matrices of
weights and the other has two. So the time of a formula of several inputs counts two thirds: compared are whole
activations at equal parameters.

During a search latency is a sum of operator costs, calibrated once per kernel, device and dtype: deterministic and
free. What is reported of finalists is measured. A figure is only ever compared with others of its own label.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from rlsearch.common.cache import cache_folder, kept
from rlsearch.common.device import device_type, is_cpu
from rlsearch.common.files import write_text
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import WALL, CudaEvents, Timer, ratios_in_turn
from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, RELU, Formula
from rlsearch.kernels import Kernel

ELEMENTS = {"cpu": 2**16, "cuda": 2**24}
"""By device type. On a CPU enough that overhead per call does not decide, and few enough that the data stays in a
core's second-level cache; on a GPU enough that launches do not decide, and more than its cache holds."""

_CALIBRATION_VERSION = 3
"""Raised with every change of a kernel's speed, so that costs which an earlier one kept are measured anew."""

GATED_WIDTH = 2 / 3
"""Width of a gated unit over that of a pointwise layer with as many parameters (Shazeer 2020, arXiv 2002.05202)."""

SECOND_INPUT_COST = 3 / 5
"""What a second input adds to a ratio: three arrays are moved beside ReLU's five.

ReLU reads its input and writes its result; backward it reads the input and a gradient, and writes a gradient. A second
input is read twice, and its gradient written. It is not measured: numba takes half a minute to compile the interpreter
of two inputs, which most searches never need. Measured with numba's kernel ``x * g`` comes to 0.60.
"""

PIECE_SECONDS = 3e-4
"""A timed piece lasts at least this long, far above the clock's resolution."""

MIN_CALLS_PER_PIECE = 3

MIN_COST = 0.01
"""Of an operator, as a ratio to ReLU: none is free, whatever the noise said."""


MAX_STEADY_QUARTILE_RATIO = 1.5
"""The quartiles of a latency lie nearer together than this on a machine that does nothing else."""


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

    @property
    def is_rough(self) -> bool:
        """Whether the machine did something else meanwhile, so that the figure says little."""
        return self.high > MAX_STEADY_QUARTILE_RATIO * self.low


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
        """The estimated latency of ``formula`` as it is executed: each distinct subexpression once."""
        operators = sum(self.costs[i.operator.name] for i in formula.program.instructions)
        return _width(formula) * (self.fixed + operators + SECOND_INPUT_COST * (len(formula.inputs) - 1))

    def save(self, path: Path) -> None:
        """Writes the costs as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self), indent=1), shared=True)

    @classmethod
    def load(cls, path: Path, operators: Iterable[str] = OPERATORS) -> "LatencyCosts":
        """Reads costs that :meth:`save` wrote.

        Args:
            path: The file.
            operators: Those whose cost is needed: all that there are, or those of a language. So the costs of a run
                serve it still when the table of operators has grown.

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
        missing = sorted(set(operators) - set(costs.costs))
        if missing:
            raise ConfigError(f"{path} has no cost for the operator {missing[0]!r}; calibrate anew by removing it")
        return costs


def label(kernel: Kernel, device: str, *, gated: bool = False) -> str:
    """The hardware and kernel that a latency holds for.

    For instance ``"torch kernel, cpu (AMD EPYC), one thread, float32"``. Where there are gated formulas it says how
    they are compared with others.
    """
    amount = "one thread" if is_cpu(device) else f"{_elements(device):,} elements"
    compared = ", gated units at equal parameters" if gated else ""
    return f"{kernel.name} kernel, {machine(device)}, {amount}, float32{compared}"


def machine(device: str) -> str:
    """The name of a device, for instance ``"cpu (AMD EPYC)"`` or ``"NVIDIA H200"``."""
    return f"cpu ({_processor()})" if is_cpu(device) else torch.cuda.get_device_name(device)


def timer_of(device: str) -> Timer:
    """What latency is timed by: wall time of one thread, or on a GPU the device's own time between two events."""
    return WALL if is_cpu(device) else CudaEvents(device)


def _elements(device: str) -> int:
    return ELEMENTS[device_type(device)]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def cached_costs(kernel: Kernel, device: str) -> LatencyCosts:
    """This machine's costs from the cache folder, calibrated now if they are not there."""
    wanted = label(kernel, device)
    file_name = f"latency-{_CALIBRATION_VERSION}-" + "".join(c if c.isalnum() else "-" for c in wanted) + ".json"

    def read(path: Path) -> LatencyCosts:
        costs = LatencyCosts.load(path)
        if costs.label != wanted:
            raise ConfigError(f"{path} has the costs of {costs.label}, not of {wanted}")
        return costs

    return kept(cache_folder() / file_name, read, lambda: calibrate(kernel, device), LatencyCosts.save)


def calibrate(kernel: Kernel, device: str) -> LatencyCosts:
    """Measures every operator alone, beside ReLU, which takes a few seconds."""
    alone = {
        name: Formula((name, "x") if operator.arity == 1 else (name, "x", "neg", "x"))
        for name, operator in OPERATORS.items()
    }
    identity, *others = measure([Formula(("x",)), *alone.values()], kernel, device)
    fixed = min(identity.ratio, 1 - MIN_COST)
    above = {name: latency.ratio - fixed for name, latency in zip(alone, others, strict=True)}

    # A binary operator is measured with a negation as its second operand, which costs what a negation costs.
    negation = max(above["neg"], MIN_COST)
    costs = {}
    for name, operator in OPERATORS.items():
        own = above[name] if operator.arity == 1 else above[name] - negation
        costs[name] = max(own, MIN_COST)

    # ReLU is the unit, by definition rather than to within the noise.
    costs["relu"] = 1 - fixed
    return LatencyCosts(label(kernel, device), fixed, costs)


def _width(formula: Formula) -> float:
    """The width of what a formula is applied to, as a share of that of a pointwise one at equal parameters."""
    return GATED_WIDTH if formula.is_gated else 1.0


def measure(
    formulas: Sequence[Formula], kernel: Kernel, device: str, elements: int | None = None, rounds: int = 15
) -> list[Latency]:
    """Measures forward plus backward of each formula on tensors of ``elements``, each right after ReLU.

    Every round takes the formulas in a new order. Reported are the median and the quartiles of the ratios over the
    rounds. A formula that is given twice is measured once.
    """
    with one_thread():
        # Standard normal numbers: about what a network's pre-activations are.
        generator = torch.Generator().manual_seed(0)
        size = (1, elements or _elements(device))
        most = max((len(formula.inputs) for formula in formulas), default=1)
        inputs = [torch.randn(size, generator=generator).to(device).requires_grad_() for _ in range(most)]
        gradient = torch.ones_like(inputs[0])
        ways = {formula: _step(kernel, formula, inputs, gradient) for formula in formulas}
        ratios = ratios_in_turn(
            ways,
            _step(kernel, RELU, inputs, gradient),
            rounds,
            timer_of(device),
            piece=PIECE_SECONDS,
            fewest=MIN_CALLS_PER_PIECE,
        )
    found = {}
    for formula, values in ratios.items():
        low, median, high = (_width(formula) * np.quantile(values, (0.25, 0.5, 0.75))).tolist()
        found[formula] = Latency(ratio=median, low=low, high=high)
    return [found[formula] for formula in formulas]


def _step(
    kernel: Kernel, formula: Formula, inputs: Sequence[torch.Tensor], gradient: torch.Tensor
) -> Callable[[], object]:
    """Forward plus backward of one formula, as one call, on as many of the inputs as it has."""
    # Of a parameter the time counts that it takes where it is used, not where it is trained.
    activation = kernel.population([formula.with_values()], formula.inputs)
    taken = list(inputs[: len(formula.inputs)])
    return lambda: torch.autograd.grad(activation(*taken), taken, gradient)
