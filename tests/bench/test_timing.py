import math

import numpy as np
import pytest

from rlsearch.bench.timing import PROCESS, Clock, Stopwatch, clock_of, in_turn


class FakeTime:
    """A clock that moves only when told."""

    def __init__(self):
        self.now = 0.0
        self.calls = []
        self.clock = Clock("fake", lambda: self.now)

    def way(self, name, *seconds):
        """A way whose calls take these times in turn, the last one ever after."""
        left = list(seconds)

        def call():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_ways_take_turns_after_each_has_warmed_up():
    time = FakeTime()
    times = in_turn({"a": time.way("a", 100, 1, 2, 3), "b": time.way("b", 200, 4, 8, 12)}, 3, time.clock)
    assert "".join(time.calls) == "ab" + "ab" * 3
    assert {way: seconds.tolist() for way, seconds in times.items()} == {"a": [1, 2, 3], "b": [4, 8, 12]}


@pytest.mark.parametrize(("piece", "repeats"), [(0.0, 1), (1.0, 4), (1.1, 5), (0.2, 1)])
def test_a_piece_is_long_enough_and_the_time_is_that_of_one_call(piece, repeats):
    time = FakeTime()
    times = in_turn({"a": time.way("a", 9, 0.25)}, 2, time.clock, piece=piece)
    assert times["a"] == pytest.approx([0.25, 0.25])
    untimed = 1 if piece == 0 else 2  # the warm-up, and the call that says how long one takes
    assert len(time.calls) == untimed + 2 * repeats


def test_a_clock_too_coarse_for_a_call_does_not_stop_it():
    time = FakeTime()
    times = in_turn({"a": time.way("a", 0.0)}, 1, time.clock, piece=1e-7)
    assert times["a"].tolist() == [0.0]
    assert len(time.calls) == 2 + math.ceil(1e-7 / 1e-9)


def test_a_part_counts_without_the_parts_within_it():
    time = FakeTime()
    watch = Stopwatch(time.clock)
    inner = watch.around("inner", time.way("", 3))
    middle = watch.around("middle", lambda: (time.way("", 2)(), inner(), inner()))

    def outer():
        time.way("", 10)()
        middle()
        inner()
        return "result"

    assert watch.around("outer", outer)() == "result"
    assert watch.seconds == {"inner": 9, "middle": 2, "outer": 10}


def test_a_part_that_raises_is_counted_too():
    time = FakeTime()
    watch = Stopwatch(time.clock)

    def fails():
        time.now += 5
        raise ValueError

    def outer():
        time.now += 1
        with pytest.raises(ValueError):  # noqa: PT011
            watch.around("fails", fails)()

    watch.around("outer", outer)()
    assert watch.seconds == {"fails": 5, "outer": 1}


def test_a_cpu_is_timed_by_what_the_process_has_had_of_it():
    assert clock_of("cpu") is PROCESS
    before = PROCESS.seconds()
    np.ones(10**6).sum()
    assert PROCESS.seconds() >= before
