import math

import numpy as np
import pytest
import torch

from rlsearch.common.timing import PROCESS, Clock, CudaEvents, Stopwatch, clock_of, in_turn, ratios_in_turn


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


def test_a_piece_has_so_many_calls_at_least():
    time = FakeTime()
    times = in_turn({"a": time.way("a", 9, 9, 9, 0.5)}, 2, time.clock, piece=1.0, fewest=3)
    assert times["a"] == pytest.approx([0.5, 0.5])
    assert len(time.calls) == 3 + 3 + 2 * 3  # to warm up, to see how long one takes, and two pieces


def test_each_way_is_timed_right_after_the_reference_in_a_new_order_each_round():
    time = FakeTime()
    ways = {name: time.way(name, seconds) for name, seconds in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    ratios = ratios_in_turn(ways, time.way("r", 0.5), 20, time.clock)
    assert {name: set(numbers.tolist()) for name, numbers in ratios.items()} == {"a": {2}, "b": {4}, "c": {6}}
    assert [len(numbers) for numbers in ratios.values()] == [20] * 3
    timed = time.calls[4:]  # the first calls warm up
    assert timed[::2] == ["r"] * 60
    rounds = ["".join(timed[start + 1 : start + 6 : 2]) for start in range(0, 120, 6)]
    assert {"".join(sorted(order)) for order in rounds} == {"abc"}
    assert len(set(rounds)) > 2


def test_a_ratio_is_to_the_reference_right_before():
    """A machine that becomes four times slower: both of a pair do."""
    time = FakeTime()
    ratios = ratios_in_turn({"a": time.way("a", 9, 3, 12)}, time.way("r", 9, 1, 4), 2, time.clock)
    assert ratios["a"].tolist() == [3, 3]


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpus_events_time_what_the_device_does():
    timer = CudaEvents("cuda")
    small, large = (torch.ones(n, device="cuda") for n in (2**20, 2**28))
    assert 0 < 4 * timer.taken(small.sin, 20) < timer.taken(large.sin, 20)
