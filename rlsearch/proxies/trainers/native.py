"""The native trainer, for CPUs: one member at a time, its whole training in one compiled function.

The weights, activations and optimiser state of one network stay in the second-level cache, and nothing stands between
the products: no autograd, and no call from Python. ``native_step.py`` is what is compiled.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numba.extending import get_cython_function_address
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from rlsearch.common.threads import no_denormals
from rlsearch.kernels.base import checked_programs
from rlsearch.kernels.numba_kernel import packed
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.data.parts import Part
from rlsearch.proxies.networks import NETWORKS, Layer
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.starts import batches, initial_networks

Reals = NDArray[np.float32]

SCORED_ROWS = 128
"""Examples that are scored at once, or as many as a batch has: their activations stay in cache."""


class NativeTrainer:
    """Trains members one after the other with numba's interpreter of formulas and scipy's BLAS.

    It differs from the population trainer by the rounding of float32 sums. A member's bits depend on its formula and
    seed and on nothing else.

    Args:
        settings: The proxy.
    """

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self._compiled = compiled_step()
        self._sgemm = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
        # Finds scipy's BLAS, which the line before has loaded.
        self._libraries = ThreadpoolController()
        self._data = load_dataset(settings)
        self._rows = max(settings.batch_size, SCORED_ROWS)
        layers = NETWORKS[settings.network].layers(settings)
        normalised = settings.normalisation == "layer"
        self._plan, n_weights, n_kept, n_flowing = _plan(self._compiled, layers, normalised, self._rows)
        self._state = tuple(_aligned(n_weights) for _ in range(4))
        sizes = (n_kept, n_flowing, n_flowing, settings.n_outputs * self._rows)
        self._buffers = tuple(_aligned(size) for size in sizes)

    def train(self, population: Sequence[Training]) -> list[Outcome | None]:
        """Trains members; see :class:`~rlsearch.proxies.base.Trainer`."""
        programs = checked_programs([member.formula for member in population], ("x",))
        starts = {member.seed: self._start(member.seed) for member in population}
        part: Part = getattr(self._data, population[0].part)
        with self._libraries.limit(limits=1, user_api="blas"), no_denormals():
            return [
                self._train(packed([program]), *starts[member.seed], part)
                for program, member in zip(programs, population, strict=True)
            ]

    def _train(self, program: tuple[Any, ...], weights: Reals, orders: NDArray[np.int64], part: Part) -> Outcome | None:
        """Trains one member from its initial weights; the result is its score, or None."""
        self._state[0][:] = weights
        for state in self._state[1:]:
            state.fill(0)
        right: int = self._compiled.train(
            self._sgemm,
            program,
            self._plan,
            self._state,
            self._buffers,
            _arrays(self._data.train),
            orders,
            (self.settings.optimiser == "adam", self.settings.learning_rate),
            _arrays(part),
            self._rows,
        )
        return Outcome(right / len(part.labels)) if right >= 0 else None

    def _start(self, seed: int) -> tuple[Reals, NDArray[np.int64]]:
        """What a seed decides: the weights in the order of the plan, and the rows of every batch."""
        # Made for its weights alone: it is never called.
        network = initial_networks(self.settings, [seed], torch.relu)
        pieces = []
        for layer, taps in zip(network.layers, self._plan[:, self._compiled.TAPS], strict=False):
            weights, bias = layer.parameters()
            by_channel = weights.reshape(-1, int(taps), weights.shape[-1])
            pieces += [by_channel.transpose(0, 1), bias]
        pieces += [weights[..., : self.settings.n_outputs] for weights in network.head.parameters()]
        for norm in network.norms:
            pieces += norm.parameters()
        start: Reals = torch.cat([piece.detach().flatten() for piece in pieces]).numpy()
        return start, batches(self.settings, seed, len(self._data.train.labels)).numpy()


def compiled_step() -> ModuleType:
    """The compiled functions of ``native_step.py``; the first process on a machine compiles them."""
    from rlsearch.proxies.trainers import native_step

    return native_step


def _plan(
    compiled: ModuleType, layers: Sequence[Layer], normalised: bool, rows: int
) -> tuple[NDArray[np.int64], int, int, int]:
    """Where everything lies: the plan, and the sizes of the weights, of what is kept and of what flows."""
    plan = np.zeros((len(layers), compiled.N_FIELDS), np.int64)
    weights = kept = flowing = 0

    def keep(count: int) -> int:
        """Makes room for so many numbers of each example, and says where."""
        nonlocal kept
        kept += _up(count * rows)
        return kept - _up(count * rows)

    for i, layer in enumerate(layers):
        pads = 2 if layer.taps > 1 else 0
        values_in, values = (layer.positions_in + pads) * layer.channels, layer.positions * layer.outputs
        fields = {
            "TAPS": layer.taps,
            "CHANNELS": layer.channels,
            "OUTPUTS": layer.outputs,
            "POSITIONS_IN": layer.positions_in,
            "POSITIONS": layer.positions,
            "WEIGHTS": weights,
            "NORM": -1,
            "INPUT": keep(values_in),
            "SLOPE": keep(values),
            "HAT": keep(values if normalised else 0),
            "RATE": keep(layer.positions if normalised else 0),
        }
        for name, value in fields.items():
            plan[i, getattr(compiled, name)] = value
        weights += (layer.inputs + 1) * layer.outputs
        flowing = max(flowing, values_in * rows)
    if normalised:
        for row, layer in zip(plan[:-1], layers[:-1], strict=True):
            row[compiled.NORM] = weights
            weights += 2 * layer.outputs
    return plan, weights, kept, flowing


def _arrays(part: Part) -> tuple[Reals, NDArray[np.int64]]:
    return part.inputs.numpy(), part.labels.numpy()


def _up(count: int) -> int:
    """The next multiple of 64 bytes, in numbers."""
    return -(-count // 16) * 16


def _aligned(count: int) -> Reals:
    """Zeros from a 64-byte boundary on: where a buffer lies must not decide how it is summed up."""
    room = np.zeros(count + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + count]
