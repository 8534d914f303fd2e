"""Activations: forward plus backward of one formula by the kernels and by plain autograd."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rlsearch.bench.limits import copying
from rlsearch.bench.report import Limit, Report, Row, cost_rows
from rlsearch.common.device import device_type, is_cpu
from rlsearch.common.progress import Events
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import clock_of, in_turn
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel, TorchKernel, default_kernel
from rlsearch.kernels.base import BatchActivation
from rlsearch.kernels.latency import machine

FORMULAS: Mapping[str, Formula] = {
    text: Formula.parse(text)
    for text in ("relu(x)", "silu(x)", "mish(x)", "gelu(x)", "x*erf(x) + min(gauss(x), x)", "swiglu(x, g)")
}
"""From one to six operators, and a gated one, by the name to show."""

ELEMENTS = {"cpu": (2**13, 2**16, 2**20), "cuda": (2**13, 2**16, 2**20, 2**22, 2**26)}
"""By device type: a proxy's layer, a core's second-level cache, memory; on a GPU what fills it too."""

PIECE_SECONDS = 0.02
"""A timed piece lasts at least this long."""

COPY = "copy"
"""The way that is the machine's limit."""


class EagerKernel:
    """Plain autograd as a kernel of one formula: the module that the formula exports to."""

    name = "eager"
    programs_are_data = False

    def population(self, formulas: Sequence[Formula], inputs: Sequence[str] = ("x",)) -> BatchActivation:
        """The activation of the one formula."""
        return _Eager(formulas, inputs)


class _Eager:
    def __init__(self, formulas: Sequence[Formula], inputs: Sequence[str]) -> None:
        self._inputs = inputs
        self.load(formulas)

    def load(self, formulas: Sequence[Formula]) -> None:
        (formula,) = formulas
        self._module = formula.to_module()
        self._taken = [self._inputs.index(name) for name in formula.inputs]

    def __call__(self, *inputs: Tensor) -> Tensor:
        result: Tensor = self._module(*(inputs[i] for i in self._taken))
        return result


def available_kernels(device: str) -> dict[str, Kernel]:
    """The fastest kernel for a device, the torch kernel and plain autograd, by name."""
    return {kernel.name: kernel for kernel in (default_kernel(device), TorchKernel(), EagerKernel())}


def bench_kernels(
    device: str,
    formulas: Mapping[str, Formula] = FORMULAS,
    elements: Sequence[int] | None = None,
    rounds: int = 15,
    events: Events = Events(),
) -> Report:
    """Measures nanoseconds per element of forward plus backward, beside a copy that moves as many bytes.

    Args:
        device: Where.
        formulas: What is computed, by the name to show.
        elements: Sizes of the tensor; by default :data:`ELEMENTS`.
        rounds: How often everything is timed.
        events: Told of progress.
    """
    on_gpu = not is_cpu(device)
    clock, kernels = clock_of(device), available_kernels(device)
    dtypes = (torch.float32, torch.bfloat16) if on_gpu else (torch.float32,)
    sizes = list(itertools.product(dtypes, elements or ELEMENTS[device_type(device)]))
    rows: list[Row] = []
    limits: list[Limit] = []
    with one_thread():
        for dtype, n in sizes:
            numbers = f"{n:,} elements, {str(dtype).removeprefix('torch.')}"
            bandwidths: list[float] = []
            for text, formula in formulas.items():
                ways = {name: _call(kernel, formula, n, device, dtype) for name, kernel in kernels.items()}
                # Numbers per element that must be moved. Forward reads the inputs and writes the output; backward
                # reads the inputs and the output's gradient and writes the inputs' gradients. The copy's two arrays
                # take as many bytes as all of these, so that both see the same cache.
                n_inputs = len(formula.inputs)
                moved, copied = 3 * n_inputs + 2, 2 * (1 + n_inputs)
                ways_and_copy = {**ways, COPY: copying(copied // 2 * n, device, dtype)}
                times = in_turn(ways_and_copy, rounds, clock, piece=PIECE_SECONDS)
                copy = times.pop(COPY)
                bandwidths.append(copied * n * dtype.itemsize / float(np.median(copy)))
                costs = {name: 1e9 * seconds / n for name, seconds in times.items()}
                at_limit = 1e9 * copy / n * moved / copied
                rows += cost_rows(
                    f"forward plus backward of {numbers}", text, "ns per element", costs, EagerKernel.name, at_limit
                )
                events.on_progress("formulas", len(rows) // len(ways), len(sizes) * len(formulas))
            limits.append(Limit(f"copy bandwidth at {numbers}", float(np.median(bandwidths)) / 1e9, "GB/s"))
    return Report("kernels", machine(device), next(iter(kernels)), clock.name, rounds, tuple(limits), tuple(rows))


def _call(kernel: Kernel, formula: Formula, n: int, device: str, dtype: torch.dtype) -> Callable[[], object]:
    activation = kernel.population([formula], formula.inputs)
    generator = torch.Generator().manual_seed(0)
    outer, *inputs = (torch.randn(1, n, generator=generator).to(device, dtype) for _ in ("", *formula.inputs))
    for x in inputs:
        x.requires_grad_()
    return lambda: torch.autograd.grad(activation(*inputs), inputs, outer)
