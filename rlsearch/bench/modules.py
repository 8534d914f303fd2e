"""Modules for a model: the plain, the fused and the compiled one, beside torch's own activations."""

import logging
import shutil
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from rlsearch.bench.report import Report, Row, Spread, cost_rows, value_rows
from rlsearch.common.device import device_type
from rlsearch.common.progress import Events
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import clock_of, in_turn
from rlsearch.formula import RELU, Formula
from rlsearch.kernels import default_kernel
from rlsearch.kernels.fused import fused_module
from rlsearch.kernels.latency import machine

_LOGGER = logging.getLogger(__name__)

FORMULAS: Mapping[str, Formula] = {
    text: Formula.parse(text) for text in ("silu(x)", "mish(x)", "atanline(x)", "x*erf(x) + min(gauss(x), x)")
}
"""What a search may find, of two to six operators, by the name to show."""

TORCHS: Mapping[str, tuple[nn.Module, Formula]] = {
    "nn.ReLU": (nn.ReLU(), RELU),
    "nn.GELU": (nn.GELU(), Formula.parse("gelu(x)")),
}
"""torch's own, which are one operation each, and what the fused module computes beside them."""

ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Beyond the caches, as an activation in a model is."""

PIECE_SECONDS = 0.02
"""A timed piece lasts at least this long."""

EAGER, FUSED, COMPILED = "eager", "fused", "compiled"
"""The ways: the plain module or torch's own, the fused one, and the plain one by torch.compile."""

COMPILERS = {"cpu": ("g++", "clang++"), "cuda": ("gcc", "clang")}
"""One of these is what torch.compile needs."""


def bench_modules(
    device: str,
    formulas: Mapping[str, Formula] = FORMULAS,
    elements: int | None = None,
    rounds: int = 15,
    events: Events = Events(),
) -> Report:
    """Measures nanoseconds per element, forward and backward, and bytes kept per element for the backward pass.

    Args:
        device: Where.
        formulas: Functions of ``x``, by the name to show.
        elements: Size of the tensor, of float32; by default that of :data:`ELEMENTS`.
        rounds: How often everything is timed.
        events: Told of progress.
    """
    size, clock = elements or ELEMENTS[device_type(device)], clock_of(device)
    modules = dict(TORCHS)
    modules |= {name: (formula.to_module(), formula) for name, formula in formulas.items()}
    missing = why_not_compiled(device)
    if missing:
        _LOGGER.warning("%s", missing)
    forward, both, kept = list[Row](), list[Row](), list[Row]()
    with one_thread():
        for done, (case, (plain, formula)) in enumerate(modules.items(), start=1):
            ways = {FUSED: fused_module(formula)} | ({} if missing else {COMPILED: compiled(plain)}) | {EAGER: plain}
            passes = {name: _passes(way, size, device) for name, way in ways.items()}
            for place, (rows, part) in enumerate(((forward, "forward"), (both, "forward plus backward"))):
                times = in_turn(
                    {name: each[place] for name, each in passes.items()}, rounds, clock, piece=PIECE_SECONDS
                )
                costs = {name: 1e9 * seconds / size for name, seconds in times.items()}
                rows += cost_rows(f"{part} of {size:,} elements", case, "ns per element", costs, EAGER)
            numbers = {name: kept_bytes(way, size, device) / size for name, way in ways.items()}
            spreads = {name: Spread(number, number, number) for name, number in numbers.items()}
            kept += value_rows("kept for the backward pass", case, "bytes per element", spreads)
            events.on_progress("modules", done, len(modules))
    kernel = default_kernel(device).name
    return Report("modules", machine(device), kernel, clock.name, rounds, (), (*forward, *both, *kept))


def why_not_compiled(device: str) -> str:
    """Why torch.compile cannot be used on this machine; empty if it can."""
    names = COMPILERS[device_type(device)]
    if any(shutil.which(name) for name in names):
        return ""
    return f"torch.compile is left out: it needs a compiler, and neither {' nor '.join(names)} is installed"


def compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """A module by torch.compile, in one graph."""
    function: Callable[[Tensor], Tensor] = torch.compile(module, fullgraph=True)
    return function


def _input(size: int, device: str) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()


def _passes(module: Callable[[Tensor], Tensor], size: int, device: str) -> tuple[Callable[[], object], ...]:
    """The forward pass of a training, and both passes."""
    x = _input(size, device)
    outer = torch.ones_like(x)
    return lambda: module(x), lambda: torch.autograd.grad(module(x), x, outer)


def kept_bytes(module: Callable[[Tensor], Tensor], size: int, device: str) -> int:
    """Bytes of memory that autograd keeps for the backward pass, the input among them if it is kept."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(_input(size, device))
    # What is kept lives as long as the output, so that no two tensors had one address.
    assert y.requires_grad
    return sum(storages.values())
