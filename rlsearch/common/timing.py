"""Several ways of doing one thing, timed in turn, so that a machine whose speed drifts is the same for all of them."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rlsearch.common.device import is_cpu

P = ParamSpec("P")
R = TypeVar("R")
Name = TypeVar("Name", bound=Hashable)
Way = Callable[[], object]

Times = NDArray[np.float64]
"""Seconds per call, or what follows from them, one number per round."""


class Timer(Protocol):
    """Says how long calls take."""

    @property
    def name(self) -> str:
        """As reports call it."""
        ...

    def taken(self, call: Way, repeats: int) -> float:
        """Calls so many times in a row and says how many seconds that took together."""
        ...


@dataclass(frozen=True, slots=True)
class Clock:
    """A timer that is read before and after.

    Attributes:
        name: As reports call it.
        seconds: Reads it.
    """

    name: str
    seconds: Callable[[], float]

    def taken(self, call: Way, repeats: int) -> float:
        """Calls so many times in a row and says how many seconds that took together."""
        started = self.seconds()
        for _ in range(repeats):
            call()
        return self.seconds() - started


PROCESS = Clock("process time", time.process_time)
"""What this process has had of the cores: what other processes take does not count."""

WALL = Clock("wall time", time.perf_counter)


@dataclass(frozen=True, slots=True)
class CudaEvents:
    """The GPU's own time between two events, so that the time in which Python prepares its work does not count."""

    device: str
    name: str = "CUDA events"

    def taken(self, call: Way, repeats: int) -> float:
        """Calls so many times in a row, after one call that is not timed; seconds of them together."""
        # The calls go to the current stream of the current device, and so must the events.
        with torch.cuda.device(self.device):
            call()
            start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            for _ in range(repeats):
                call()
            end.record()
            end.synchronize()
        return float(start.elapsed_time(end)) / 1000  # from milliseconds


def clock_of(device: str) -> Clock:
    """The clock for work on a device: process time, or on a GPU wall time when the device is done."""
    if is_cpu(device):
        return PROCESS

    def seconds() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return Clock("wall time, device synchronised", seconds)


def in_turn(
    ways: Mapping[Name, Way], rounds: int, timer: Timer, *, piece: float = 0.0, fewest: int = 1
) -> dict[Name, Times]:
    """Times every way once a round, after each has run to warm up.

    Args:
        ways: What to call, by name.
        rounds: How often.
        timer: Times it.
        piece: Seconds that a timed piece lasts at least: a way that takes less is called several times in a row.
        fewest: Calls that a piece has at least.

    Returns:
        Seconds of one call by name, one number per round.
    """
    pieces = {name: _piece(way, timer, piece, fewest) for name, way in ways.items()}
    return _over_rounds(pieces, rounds)


def ratios_in_turn(
    ways: Mapping[Name, Way], reference: Way, rounds: int, timer: Timer, *, piece: float = 0.0, fewest: int = 1
) -> dict[Name, Times]:
    """Times every way once a round right after ``reference``, in a new order each round.

    The ratio of such a pair is immune to a machine whose speed drifts, and a new order keeps one way from always
    following the same other one.

    Args:
        ways: What to call, by name.
        reference: What each is compared with.
        rounds: How often.
        timer: Times it.
        piece: Seconds that a timed piece lasts at least.
        fewest: Calls that a piece has at least.

    Returns:
        Ratios to the reference by name, one number per round.
    """
    unit = _piece(reference, timer, piece, fewest)

    def ratio(timed: Callable[[], float]) -> Callable[[], float]:
        def measure() -> float:
            before = unit()
            return timed() / before

        return measure

    pieces = {name: ratio(_piece(way, timer, piece, fewest)) for name, way in ways.items()}
    return _over_rounds(pieces, rounds, np.random.default_rng(0))


def _over_rounds(
    pieces: Mapping[Name, Callable[[], float]], rounds: int, shuffle: np.random.Generator | None = None
) -> dict[Name, Times]:
    """What each piece measures, round by round; every round in the order given, or in a new one."""
    names = list(pieces)
    found: dict[Name, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        order = range(len(names)) if shuffle is None else shuffle.permutation(len(names))
        for place in order:
            name = names[place]
            found[name].append(pieces[name]())
    return {name: np.array(numbers) for name, numbers in found.items()}


def _piece(way: Way, timer: Timer, seconds: float, fewest: int) -> Callable[[], float]:
    """Warms a way up; the result times a piece of it and says the seconds of one call."""
    for _ in range(fewest):
        way()
    repeats = fewest
    if seconds:
        one_call = timer.taken(way, fewest) / fewest
        repeats = max(fewest, math.ceil(seconds / max(one_call, 1e-9)))
    return lambda: timer.taken(way, repeats) / repeats


class Stopwatch:
    """Sums the time of the parts of a program; where one part calls another, that time counts for the inner one alone.

    Args:
        clock: What is read.

    Attributes:
        seconds: By part.
    """

    def __init__(self, clock: Clock) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        # Seconds that parts within the present one have taken.
        self._inside = 0.0

    def around(self, part: str, call: Callable[P, R]) -> Callable[P, R]:
        """Wraps ``call`` so that its time counts as that of ``part``."""

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
