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
from rlsearch.errors import ConfigError, nearest
from rlsearch.kernels.base import checked_programs
from rlsearch.kernels.numba_kernel import packed
from rlsearch.kernels.numba_source import load_interpreter
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.data.parts import Part
from rlsearch.proxies.networks.layers import PopulationNetwork
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.starts import batches, initial_networks, rates, scored_after, steps_of
from rlsearch.proxies.tasks import Task
from rlsearch.proxies.trainers.native_loss import BY_OUTPUT, COUNTS, LOSSES
from rlsearch.proxies.trainers.native_plan import TAPS, make_plan
from rlsearch.proxies.trainers.population import combined

Reals = NDArray[np.float32]
Indices = NDArray[np.int64]
_Pair = tuple[NDArray[Any], NDArray[Any]]

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
        sgemm = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
        interpreter = load_interpreter()
        # The address stands first: numba warns of tuples that begin with a function.
        self._library = (sgemm, interpreter.value, interpreter.value_and_slopes)
        # Finds scipy's BLAS, which the lines before have loaded.
        self._libraries = ThreadpoolController()
        self._data = load_dataset(settings)
        self._rows = max(settings.batch_size, SCORED_ROWS)
        self._plan = make_plan(settings, self._rows)
        self._state = tuple(_aligned(self._plan.n_weights) for _ in range(4))
        sizes = (self._plan.n_kept, self._plan.n_flowing, self._plan.n_flowing, settings.n_outputs * self._rows)
        self._buffers = tuple(_aligned(size) for size in sizes)
        steps = steps_of(settings, settings.sizes[0])
        self._task = task_numbers(settings.task)
        self._counted = settings.n_outputs if settings.task.native_count in BY_OUTPUT else 1
        self._rates = rates(settings, steps).numpy()
        self._scored_after = np.array(scored_after(settings, steps))

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

    def _train(self, program: tuple[Any, ...], weights: Reals, orders: Indices, part: Part) -> Outcome | None:
        """Trains one member from its initial weights; the result is what came of it, or None."""
        self._state[0][:] = weights
        for state in self._state[1:]:
            state.fill(0)
        parts = [part] if part.outside is None else [part, part.outside]
        counts = np.zeros((2, len(self._scored_after), self._counted))
        finite: bool = self._compiled.train(
            self._library,
            program,
            (self._plan.layers, self._plan.table),
            self._state,
            self._buffers,
            (_arrays(self._data.train), _arrays(part), _arrays(part.outside)),
            (orders, self._rates, self._scored_after),
            (self.settings.optimiser != "sgd", self.settings.decay),
            self._task,
            counts,
            self._rows,
        )
        if not finite:
            return None
        means = [self._mean_score(*each) for each in zip(counts, parts, strict=False)]
        return combined(self.settings, means, np.array([True]))[0]

    def _mean_score(self, counts: NDArray[np.float64], part: Part) -> NDArray[np.float64]:
        """The mean over evaluations, which are to the task what members are; shape ``[1]``."""
        each_output = self.settings.task.native_count in BY_OUTPUT
        scores = self.settings.task.scores(counts if each_output else counts[:, 0], part.labels)
        mean: NDArray[np.float64] = np.mean(scores, keepdims=True)
        return mean

    def _start(self, seed: int) -> tuple[Reals, Indices]:
        """What a seed decides: the weights in the order of the plan, and the rows of every batch."""
        # Made for its weights alone: it is never called.
        network = initial_networks(self.settings, [seed], torch.relu)
        assert isinstance(network, PopulationNetwork)
        pieces = []
        for layer, taps in zip(network.layers, self._plan.layers[:, TAPS], strict=False):
            weights, bias = layer.parameters()
            by_channel = weights.reshape(-1, int(taps), weights.shape[-1])
            pieces += [by_channel.transpose(0, 1), bias]
        pieces += [weights[..., : self.settings.n_outputs] for weights in network.head.parameters()]
        for module in (*network.norms, network.embedding):
            pieces += module.parameters()
        start: Reals = torch.cat([piece.detach().flatten() for piece in pieces]).numpy()
        return start, batches(self.settings, seed, len(self._data.train.labels)).numpy()


def compiled_step() -> ModuleType:
    """The compiled functions of ``native_step.py``; the first process on a machine compiles them."""
    from rlsearch.proxies.trainers import native_step

    return native_step


def task_numbers(task: Task) -> tuple[int, int]:
    """What a task calls its loss and its count, as the compiled functions do.

    Raises:
        ConfigError: If there are none of these names.
    """
    numbers = []
    for what, name, names in (("loss", task.native_loss, LOSSES), ("count", task.native_count, COUNTS)):
        if name not in names:
            expected = f"expected one of {', '.join(names)}{nearest(str(name), names)}"
            raise ConfigError(f"the native trainer knows no {what} {name!r} of {task.name}; {expected}")
        numbers.append(names.index(name))
    return numbers[0], numbers[1]


def _arrays(part: Part | None) -> tuple[_Pair, _Pair]:
    """Inputs as numbers and as tokens, and labels as classes and as numbers: of each two one is empty.

    Of no part all are.
    """
    numbers, whole = np.empty((0, 0), np.float32), np.empty((0, 0), np.int64)
    if part is None:
        return (numbers, whole), (whole.ravel(), numbers)
    inputs, labels = part.inputs.numpy(), part.labels.numpy()
    return (
        (inputs, whole) if inputs.dtype == np.float32 else (numbers, inputs),
        (labels, numbers) if labels.dtype == np.int64 else (whole.ravel(), labels),
    )


def _aligned(count: int) -> Reals:
    """Zeros from a 64-byte boundary on: where a buffer lies must not decide how it is summed up."""
    room = np.zeros(count + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + count]
