"""The native trainer, for CPUs: one member at a time, its whole training in one compiled function.

The weights, activations and optimiser state of one network stay in the second-level cache, and nothing stands between
the products: no autograd, and no call from Python. ``native_step.py`` is what is compiled.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from rlsearch.kernels import numba_functions
from rlsearch.kernels.base import checked_programs
from rlsearch.kernels.numba_kernel import packed
from rlsearch.kernels.numba_source import interpreter_source, load_compiled
from rlsearch.proxies.base import Member
from rlsearch.proxies.data import N_CLASSES, load_dataset
from rlsearch.proxies.networks import PopulationConv1d
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.starts import batches, initial_networks
from rlsearch.threads import no_denormals

Reals = NDArray[np.float32]

_ROWS = 128  # examples scored at once, if a batch has fewer


class NativeTrainer:
    """Trains members one after the other with numba's interpreter of formulas and scipy's BLAS.

    It differs from the population trainer by the rounding of float32 sums. A member's bits depend on its formula and
    seed and on nothing else.

    Args:
        settings: The proxy.
    """

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self._compiled = load_trainer()
        self._sgemm = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
        self._libraries = ThreadpoolController()  # finds scipy's BLAS, which the line before has loaded
        self._data = load_dataset(settings)
        self._rows = max(settings.batch_size, _ROWS)
        self._plan, n_weights, n_kept, n_flowing = _plan(self._compiled, settings, self._inputs("train"), self._rows)
        self._state = tuple(_aligned(n_weights) for _ in range(4))
        sizes = (n_kept, n_flowing, n_flowing, N_CLASSES * self._rows)
        self._buffers = tuple(_aligned(size) for size in sizes)

    def train(self, members: Sequence[Member], part: str) -> list[float | None]:
        """Trains members; see :class:`~rlsearch.proxies.base.Trainer`."""
        programs = checked_programs([member.formula for member in members])
        starts = {member.seed: self._start(member.seed) for member in members}
        with self._libraries.limit(limits=1, user_api="blas"), no_denormals():
            return [
                self._train(packed([program]), *starts[member.seed], part)
                for program, member in zip(programs, members, strict=True)
            ]

    def _train(self, program: tuple[Any, ...], weights: Reals, orders: NDArray[np.int64], part: str) -> float | None:
        """Trains one member from its initial weights, and returns its accuracy, or None."""
        self._state[0][:] = weights
        for state in self._state[1:]:
            state.fill(0)
        adam, rate = self.settings.optimiser == "adam", self.settings.learning_rate
        arguments = (self._inputs("train"), self._labels("train"), orders, self._buffers, adam, rate)
        if not self._compiled.train(self._sgemm, program, self._plan, self._state, *arguments):
            return None
        labels = self._labels(part)
        data = (self._inputs(part), labels, self._rows, self._buffers)
        right: int = self._compiled.score(self._sgemm, program, self._plan, self._state[0], *data)
        return right / len(labels) if right >= 0 else None

    def _inputs(self, part: str) -> Reals:
        inputs: Reals = getattr(self._data, part).inputs.numpy()
        return inputs

    def _labels(self, part: str) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = getattr(self._data, part).labels.numpy()
        return labels

    def _start(self, seed: int) -> tuple[Reals, NDArray[np.int64]]:
        """Returns the initial weights, each layer's bias behind them as one more row, and the order of the examples."""
        network = initial_networks(self.settings, [seed], torch.relu)
        pieces = [piece for layer in network.layers for piece in (layer.weight, layer.bias)]
        pieces += [piece for norm in network.norms for piece in norm.parameters()]
        pieces += [piece[..., :N_CLASSES] for piece in (network.head.weight, network.head.bias)]
        return torch.cat([piece.detach().flatten() for piece in pieces]).numpy(), batches(self.settings, seed).numpy()


def load_trainer() -> ModuleType:
    """Returns the compiled functions of ``native_step.py``: the first process on a machine compiles them."""
    text = Path(__file__).with_name("native_step.py").read_text(encoding="utf-8")

    def source(cached: bool) -> str:
        return text if cached else text.replace("cache=True", "cache=False")

    return load_compiled("trainer", source, interpreter_source() + inspect.getsource(numba_functions))


def _plan(
    compiled: ModuleType, settings: ProxySettings, inputs: Reals, rows: int
) -> tuple[NDArray[np.int64], int, int, int]:
    """Returns where everything lies: the plan, and the sizes of the state and of two buffers."""
    taps = PopulationConv1d.kernel_size if settings.network == "conv1d" else 1
    plan = np.zeros((len(settings.widths) + 1, compiled.N_FIELDS), np.int64)
    n_weights = n_kept = n_flowing = 0
    channels, positions = (1, inputs.shape[1]) if taps > 1 else (inputs.shape[1], 1)
    n_flowing = channels * positions * rows
    for layer, width in zip(plan, settings.widths, strict=False):
        n_in, positions_in = channels * taps, positions
        channels, positions = width, positions // 2 if taps > 1 else 1
        columns = positions * rows
        offsets = [0, *np.cumsum([_up((n_in + 1) * columns), _up(width * columns), _up(width * columns)])]
        layer[:] = [n_in, width, positions_in, positions, n_weights, -1, *(n_kept + offset for offset in offsets)]
        n_weights += (n_in + 1) * width
        n_kept += offsets[-1] + _up(columns)
        n_flowing = max(n_flowing, n_in * columns, width * columns)
    if settings.normalisation == "layer":
        for layer in plan[:-1]:
            layer[compiled.NORM] = n_weights
            n_weights += 2 * layer[compiled.OUTPUTS]
    plan[-1] = [channels, N_CLASSES, positions, 1, n_weights, -1, n_kept, 0, 0, 0]
    n_weights += (channels + 1) * N_CLASSES
    n_kept += (channels + 1) * rows
    return plan, n_weights, n_kept, max(n_flowing, N_CLASSES * rows)


def _up(count: int) -> int:
    return -(-count // 16) * 16  # 64 bytes


def _aligned(count: int) -> Reals:
    """Returns zeros from a 64-byte boundary on: where a buffer lies must not decide how it is summed up."""
    room = np.zeros(count + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + count]
