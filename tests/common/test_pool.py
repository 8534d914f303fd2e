import gc
import os
import signal
import time
from pathlib import Path

import pytest

from rlsearch.common.pool import beside
from rlsearch.errors import WorkerError


def mark(path):
    Path(path).touch()
    return os.getpid()


def wait(seconds):
    time.sleep(seconds)
    return seconds


def fail(number):
    raise ValueError(f"no {number}")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def state():
    """The process, what it does when interrupted, how many threads it may have, and whether it has settled."""
    return os.getpid(), signal.getsignal(signal.SIGINT), os.environ["OMP_NUM_THREADS"], gc.get_freeze_count() > 0


def appears(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 2])
def test_it_begins_before_it_is_asked(tmp_path, workers):
    paths = [tmp_path / str(i) for i in range(3)]
    results = beside(workers, mark, [(path,) for path in paths])
    for path in paths:
        appears(path)
    pids = set(results)
    assert len(pids) <= workers
    assert os.getpid() not in pids


def test_results_come_in_order_or_as_they_are_done():
    seconds = [(0.5,), (0.0,)]
    assert list(beside(2, wait, [(0.0,), (0.0,)])) == [0.0, 0.0]  # both workers are there
    assert list(beside(2, wait, seconds)) == [0.5, 0.0]
    assert list(beside(2, wait, seconds, in_order=False)) == [0.0, 0.5]
    assert list(beside(2, wait, [])) == []


def test_two_streams_share_the_workers(tmp_path):
    first, second = (beside(1, mark, [(tmp_path / name,)]) for name in "ab")
    assert [*second, *first] == [*beside(1, mark, [(tmp_path / "c",)])] * 2


def test_a_worker_leaves_interrupts_to_the_caller_and_has_one_thread():
    before, after = list(beside(1, state, [(), ()]))
    assert after == (before[0], signal.SIG_IGN, "1", True)


def test_who_stops_early_ends_the_workers(tmp_path):
    (pid,) = beside(1, mark, [(tmp_path / "a",)])
    results = beside(1, wait, [(600.0,)])
    results.close()
    assert not is_alive(pid)
    assert list(beside(1, wait, [(0.0,)])) == [0.0]  # by another one


def test_an_error_is_raised_where_its_result_would_have_come():
    with pytest.raises(ValueError, match="no 7"):
        list(beside(1, fail, [(7,)]))


def test_a_worker_that_dies_is_said_to_and_the_next_one_works():
    with pytest.raises(WorkerError, match="a worker process has died, perhaps for want of memory"):
        list(beside(1, die, [()]))
    assert list(beside(1, wait, [(0.0,)])) == [0.0]
