"""Where a network's numbers lie in the buffers of :mod:`rlsearch.proxies.trainers.native_step`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError
from rlsearch.proxies.networks import NETWORKS, Layer
from rlsearch.proxies.settings import ProxySettings

# The columns of a plan, which has a row per layer, the head being the last; offsets count numbers of a buffer.
TAPS, CHANNELS, OUTPUTS, POSITIONS_IN, POSITIONS, WEIGHTS, SCALE, SHIFT, INPUT, SLOPE, HAT, RATE = range(12)
N_FIELDS = 12

NOWHERE = -1
"""Instead of the offset of something that is not there."""

SUMS = 3
"""Numbers of each example that a loss needs beside the outputs."""


_NORMS = {"none": (False, False), "layer": (True, True), "rms": (True, False)}
"""Whether a normalisation has a scale, and whether a shift."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything lies.

    Attributes:
        layers: What every layer is and where its numbers lie, int64 ``[layers + 1, N_FIELDS]``.
        table: Where the table of tokens lies among the weights, or ``NOWHERE``, and how many numbers stand for a
            token; int64 ``[2]``.
        n_weights: Numbers that are trained.
        n_kept: Numbers that are kept between the passes.
        n_flowing: Numbers of the largest that flows between layers.
    """

    layers: NDArray[np.int64]
    table: NDArray[np.int64]
    n_weights: int
    n_kept: int
    n_flowing: int


class _Room:
    """A buffer in which one thing after the other is given its place."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, count: int, wanted: bool = True) -> int:
        """The offset of so many numbers."""
        if not wanted:
            return NOWHERE
        self.size += count
        return self.size - count


def make_plan(settings: ProxySettings, rows: int) -> Plan:
    """Plans a network that is a plain chain.

    Args:
        settings: The proxy.
        rows: Examples that go through the network at once, at most.

    Raises:
        ConfigError: If it has a normalisation that the native trainer does not know.
    """
    if settings.normalisation not in _NORMS:
        raise ConfigError(
            f"the native trainer knows no {settings.normalisation} normalisation; expected one of {', '.join(_NORMS)}, "
            f"or a network that does not say it is native (it is {settings.network})"
        )
    has_scale, has_shift = _NORMS[settings.normalisation]
    layers = NETWORKS[settings.network].layers(settings)
    plan = np.full((len(layers), N_FIELDS), NOWHERE, np.int64)
    weights, kept = _Room(), _Room()
    for row, layer in zip(plan, layers, strict=True):
        row[[TAPS, CHANNELS, OUTPUTS]] = layer.taps, layer.channels, layer.outputs
        row[[POSITIONS_IN, POSITIONS]] = layer.positions_in, layer.positions
        row[WEIGHTS] = weights.take((layer.inputs + 1) * layer.outputs)
        values = layer.positions * layer.outputs
        row[INPUT] = kept.take(up(_values_in(layer) * rows))
        row[SLOPE] = kept.take(up(values * rows))
        row[HAT] = kept.take(up(values * rows), has_scale)
        row[RATE] = kept.take(up(layer.positions * rows), has_scale)
    for row, layer in zip(plan[:-1], layers[:-1], strict=True):
        row[SCALE] = weights.take(layer.outputs, has_scale)
        row[SHIFT] = weights.take(layer.outputs, has_shift)
    tokens = settings.data.n_tokens
    table = weights.take((tokens or 0) * settings.embedding, tokens is not None)
    flowing = max(SUMS, *(_values_in(layer) for layer in layers)) * rows
    return Plan(plan, np.array([table, settings.embedding]), weights.size, kept.size, flowing)


def _values_in(layer: Layer) -> int:
    """Numbers of a layer's input, with zeros around it where there are several taps."""
    return (layer.positions_in + (2 if layer.taps > 1 else 0)) * layer.channels


def up(count: int) -> int:
    """The next multiple of 64 bytes, in numbers."""
    return -(-count // 16) * 16
