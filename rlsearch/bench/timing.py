"""Several ways of doing one thing, timed in turn, so that a machine whose speed drifts is the same for all of them."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

Times = NDArray[np.float64]
"""Seconds per call, or what follows from them, one number per round."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What is read before and after.

    Attributes:
        name: As reports call it.
        seconds: Reads it.
    """

    name: str
    seconds: Callable[[], float]


PROCESS = Clock("process time", time.process_time)
"""What this process has had of the cores: what other processes take does not count."""

WALL = Clock("wall time", time.perf_counter)


def clock_of(device: str) -> Clock:
    """Returns the clock for work on a device: process time, or on a GPU wall time when the device is done."""
    if torch.device(device).type == "cpu":
        return PROCESS

    def seconds() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return Clock("wall time, device synchronised", seconds)


def in_turn(
    ways: Mapping[str, Callable[[], object]], rounds: int, clock: Clock, *, piece: float = 0.0
) -> dict[str, Times]:
    """Times every way once a round, after each has run once to warm up.

    Args:
        ways: What to call, by name.
        rounds: How often.
        clock: Times it.
        piece: Seconds that a timed piece lasts at least: a way that takes less is called several times in a row.

    Returns:
        Seconds of one call by name, one number per round.
    """
    repeats = {name: _repeats(way, clock, piece) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(_seconds(way, repeats[name], clock) / repeats[name])
    return {name: np.array(seconds) for name, seconds in times.items()}


def _repeats(way: Callable[[], object], clock: Clock, piece: float) -> int:
    way()
    return max(1, math.ceil(piece / max(_seconds(way, 1, clock), 1e-9))) if piece else 1


def _seconds(way: Callable[[], object], repeats: int, clock: Clock) -> float:
    started = clock.seconds()
    for _ in range(repeats):
        way()
    return clock.seconds() - started


class Stopwatch:
    """Sums the time of the parts of a program; what one part takes within another counts for the inner one alone.

    Args:
        clock: What is read.

    Attributes:
        seconds: By part.
    """

    def __init__(self, clock: Clock) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._inside = 0.0  # what the parts within the one under way have taken

    def around(self, part: str, call: Callable[P, R]) -> Callable[P, R]:
        """Returns ``call`` with its time counted as that of ``part``."""

        def timed(*args: P.args, **named: P.kwargs) -> R:
            outer, self._inside = self._inside, 0.0
            started = self._clock.seconds()
            try:
                return call(*args, **named)
            finally:
                taken = self._clock.seconds() - started
                self.seconds[part] += taken - self._inside
                self._inside = outer + taken

        return timed
