"""Activations: forward plus backward of one formula by the kernels and by plain autograd."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from rlsearch.bench.limits import copying
from rlsearch.bench.report import Limit, Report, Row, cost_rows
from rlsearch.bench.timing import Times, clock_of, in_turn
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel, TorchKernel, default_kernel
from rlsearch.kernels.base import Activation
from rlsearch.rewards.latency import machine
from rlsearch.threads import one_thread
from rlsearch.trainings import Watcher

FORMULAS: Mapping[str, Formula] = {
    text: Formula.parse(text) for text in ("relu(x)", "silu(x)", "mish(x)", "gelu(x)", "x*erf(x) + min(gauss(x), x)")
}
"""From one to six operators, by the name to show."""

ELEMENTS = {"cpu": (2**13, 2**16, 2**20), "cuda": (2**13, 2**16, 2**20, 2**22, 2**26)}
"""By device type: a proxy's layer, a core's second-level cache, memory; on a GPU what fills it too."""

_PIECE = 0.02  # seconds
_MOVED = 5  # numbers per element: x is read and y written; x and y's gradient are read and x's gradient is written
_COPIED = 4  # numbers per element: two are read, two are written
_COPY = "copy"


class EagerKernel:
    """Plain autograd as a kernel of one formula: the module that the formula exports to."""

    name = "eager"

    def population(self, formulas: Sequence[Formula]) -> Activation:
        """Returns the module of the one formula, which works on any shape."""
        (formula,) = formulas
        return formula.to_module()


def available_kernels(device: str) -> dict[str, Kernel]:
    """Returns by name the fastest kernel for a device, the torch kernel, and plain autograd."""
    return {kernel.name: kernel for kernel in (default_kernel(device), TorchKernel(), EagerKernel())}


def bench_kernels(
    device: str,
    formulas: Mapping[str, Formula] = FORMULAS,
    elements: Sequence[int] | None = None,
    rounds: int = 15,
    watch: Watcher = lambda what, done, wanted: None,
) -> Report:
    """Measures nanoseconds per element of forward plus backward, beside a copy that moves as many bytes.

    Args:
        device: Where.
        formulas: What is computed, by the name to show.
        elements: Sizes of the tensor; by default :data:`ELEMENTS`.
        rounds: How often everything is timed.
        watch: Told of progress.
    """
    on_gpu = torch.device(device).type == "cuda"
    clock, kernels = clock_of(device), available_kernels(device)
    dtypes = (torch.float32, torch.bfloat16) if on_gpu else (torch.float32,)
    sizes = [(dtype, n) for dtype in dtypes for n in elements or ELEMENTS["cuda" if on_gpu else "cpu"]]
    rows: list[Row] = []
    limits: list[Limit] = []
    with one_thread():
        for dtype, n in sizes:
            numbers = f"{n:,} elements, {str(dtype).removeprefix('torch.')}"
            copied: list[Times] = []
            for text, formula in formulas.items():
                ways = {name: _call(kernel, formula, n, device, dtype) for name, kernel in kernels.items()}
                # As many bytes as x, y and their gradients have, so that the copy sees the same cache.
                times = in_turn({**ways, _COPY: copying(2 * n, device, dtype)}, rounds, clock, piece=_PIECE)
                copied.append(times.pop(_COPY))
                costs = {name: 1e9 * seconds / n for name, seconds in times.items()}
                at_limit = 1e9 * copied[-1] / n * _MOVED / _COPIED
                rows += cost_rows(
                    f"forward plus backward of {numbers}", text, "ns per element", costs, EagerKernel.name, at_limit
                )
                watch("formulas", len(rows) // len(ways), len(sizes) * len(formulas))
            rate = _COPIED * n * dtype.itemsize / float(np.median(copied))
            limits.append(Limit(f"copy bandwidth at {numbers}", rate / 1e9, "GB/s"))
    return Report("kernels", machine(device), next(iter(kernels)), clock.name, rounds, tuple(limits), tuple(rows))


def _call(kernel: Kernel, formula: Formula, n: int, device: str, dtype: torch.dtype) -> Callable[[], object]:
    activation = kernel.population([formula])
    generator = torch.Generator().manual_seed(0)
    x, outer = (torch.randn(1, n, generator=generator).to(device, dtype) for _ in range(2))
    x.requires_grad_()
    return lambda: torch.autograd.grad(activation(x), x, outer)
