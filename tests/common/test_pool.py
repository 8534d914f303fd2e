import gc
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loky import get_reusable_executor

from rlsearch.common.pool import InProcess, LokyPool, make_pool
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
    results = LokyPool(workers).run(mark, [(path,) for path in paths])
    for path in paths:
        appears(path)
    pids = set(results)
    assert len(pids) <= workers
    assert os.getpid() not in pids


def test_results_come_in_order_or_as_they_are_done():
    seconds = [(0.5,), (0.0,)]
    assert list(LokyPool(2).run(wait, [(0.0,), (0.0,)])) == [0.0, 0.0]  # both workers are there
    assert list(LokyPool(2).run(wait, seconds)) == [0.5, 0.0]
    assert list(LokyPool(2).run(wait, seconds, in_order=False)) == [0.0, 0.5]
    assert list(LokyPool(2).run(wait, [])) == []


def test_two_streams_share_the_workers(tmp_path):
    first, second = (LokyPool(1).run(mark, [(tmp_path / name,)]) for name in "ab")
    assert [*second, *first] == [*LokyPool(1).run(mark, [(tmp_path / "c",)])] * 2


def test_a_worker_leaves_interrupts_to_the_caller_and_has_one_thread():
    before, after = list(LokyPool(1).run(state, [(), ()]))
    assert after == (before[0], signal.SIG_IGN, "1", True)


def test_who_stops_early_ends_the_workers(tmp_path):
    (pid,) = LokyPool(1).run(mark, [(tmp_path / "a",)])
    results = LokyPool(1).run(wait, [(600.0,)])
    results.close()
    assert not is_alive(pid)
    assert list(LokyPool(1).run(wait, [(0.0,)])) == [0.0]  # by another one


def test_an_error_is_raised_where_its_result_would_have_come():
    with pytest.raises(ValueError, match="no 7"):
        list(LokyPool(1).run(fail, [(7,)]))


def test_a_worker_that_dies_is_said_to_and_the_next_one_works():
    with pytest.raises(WorkerError, match="a worker process has died, perhaps for want of memory"):
        list(LokyPool(1).run(die, [()]))
    assert list(LokyPool(1).run(wait, [(0.0,)])) == [0.0]


def test_in_this_process_a_call_is_computed_when_its_result_is_asked_for(tmp_path):
    results = InProcess().run(mark, [(tmp_path / "a",), (tmp_path / "b",)])
    assert next(results) == os.getpid()
    assert [(tmp_path / name).exists() for name in "ab"] == [True, False]
    results.close()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("workers", "free", "kind"), [(1, False, InProcess), (1, True, LokyPool), (2, False, LokyPool), (2, True, LokyPool)]
)
def test_one_worker_is_this_process_unless_the_caller_has_something_else_to_do(workers, free, kind):
    pool = make_pool(workers, leaves_caller_free=free)
    assert type(pool) is kind
    assert (pool.workers, pool.leaves_caller_free) == (workers, free)


def imported(name):
    return importlib.util.find_spec(name) is not None


def test_a_worker_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "lies_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    get_reusable_executor(1).shutdown()  # workers of the folder before
    assert list(LokyPool(1).run(imported, [("lies_here",)])) == [False]
    monkeypatch.syspath_prepend(str(tmp_path))
    get_reusable_executor(1).shutdown()
    assert list(LokyPool(1).run(imported, [("lies_here",)])) == [True]


ENDING = """
import atexit, sys
from rlsearch.common.pool import LokyPool

class Noisy:
    def __del__(self, write=sys.stderr.write):
        write("taken apart\\n")

def leave():
    # At the end of the interpreter this module's dictionary is emptied, and with it what stands there.
    sys.noisy = Noisy()
    atexit.register(print, "said goodbye")
    return 3

if __name__ == "__main__":
    print(list(LokyPool(1).run(leave, [()])))
"""


def test_a_worker_that_ends_is_not_taken_apart(tmp_path):
    """What was registered is called, what was printed is written, and no library has anything to say."""
    script = tmp_path / "ending.py"
    script.write_text(ENDING)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(ran.stdout.split("\n")) == ["", "[3]", "said goodbye"]
