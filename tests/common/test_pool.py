import ctypes
import gc
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rlsearch.common import crew
from rlsearch.common.pool import Call, InProcess, LokyPool, Lost, make_pool


def mark(path):
    Path(path).touch()
    return os.getpid()


def ends(pid):
    end = time.monotonic() + 30
    while is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def calls(*arguments, **more):
    return [Call(each, **more) for each in arguments]


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
    results = LokyPool(workers).run(mark, calls(*[(path,) for path in paths]))
    for path in paths:
        appears(path)
    pids = set(results)
    assert len(pids) <= workers
    assert os.getpid() not in pids


def test_results_come_in_order_or_as_they_are_done():
    seconds = calls((0.5,), (0.0,))
    assert list(LokyPool(2).run(wait, calls((0.0,), (0.0,)))) == [0.0, 0.0]  # both workers are there
    assert list(LokyPool(2).run(wait, seconds)) == [0.5, 0.0]
    assert list(LokyPool(2).run(wait, seconds, in_order=False)) == [0.0, 0.5]
    assert list(LokyPool(2).run(wait, [])) == []


def test_two_streams_share_the_workers(tmp_path):
    first, second = (LokyPool(1).run(mark, calls((tmp_path / name,))) for name in "ab")
    assert [*second, *first] == [*LokyPool(1).run(mark, calls((tmp_path / "c",)))] * 2


def test_a_worker_leaves_interrupts_to_the_caller_and_has_one_thread():
    before, after = list(LokyPool(1).run(state, calls((), ())))
    assert after == (before[0], signal.SIG_IGN, "1", True)


def test_who_stops_early_ends_the_workers(tmp_path):
    (pid,) = LokyPool(1).run(mark, calls((tmp_path / "a",)))
    results = LokyPool(1).run(wait, calls((600.0,)))
    results.close()
    assert not is_alive(pid)
    assert list(LokyPool(1).run(wait, calls((0.0,)))) == [0.0]  # by another one


def test_an_error_is_raised_where_its_result_would_have_come():
    with pytest.raises(ValueError, match="no 7"):
        list(LokyPool(1).run(fail, calls((7,))))


def leave(code):
    os._exit(code)


def hang():
    """Swallows whatever is raised in it, and never ends."""
    while True:
        with suppress(BaseException):
            time.sleep(600)


def hang_in_c():
    """A call of C that keeps the interpreter's lock."""
    ctypes.PyDLL(None).sleep(600)


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        (die, (), r"ended its process with signal 9 \(SIGKILL\), perhaps for want of memory"),
        (leave, (3,), "ended its process with exit code 3"),
    ],
)
def test_a_process_that_ends_takes_one_call_with_it(tmp_path, function, arguments, reason):
    pool = LokyPool(1)
    others = pool.run(mark, calls((tmp_path / "a",)))
    (lost,) = pool.run(function, [Call(arguments)])
    assert isinstance(lost, Lost)
    assert re.fullmatch(reason, lost.reason)
    assert lost.in_time
    # Another worker goes on, with what was handed over before, too.
    (before,), (after,) = others, pool.run(mark, calls((tmp_path / "b",)))
    assert before != after


def test_other_calls_of_the_stream_go_on():
    results = list(LokyPool(2).run(leave_if_odd, calls(*[(i,) for i in range(6)])))
    assert [isinstance(result, Lost) for result in results] == [False, True] * 3
    assert results[::2] == [0, 2, 4]


def leave_if_odd(number):
    if number % 2:
        os._exit(1)
    return number


def test_a_worker_that_dies_while_it_is_idle_is_replaced(tmp_path):
    (pid,) = LokyPool(1).run(mark, calls((tmp_path / "a",)))
    os.kill(pid, signal.SIGKILL)
    ends(pid)
    (other,) = LokyPool(1).run(mark, calls((tmp_path / "b",)))
    assert other != pid


@pytest.mark.parametrize("function", [hang, hang_in_c])
def test_a_call_whose_time_is_up_is_ended_and_the_others_go_on(function):
    pool = LokyPool(2)
    # Later calls of a kind get no time for preparation.
    assert list(pool.run(wait, calls((0.3,), (0.3,), kind="hangs"))) == [0.3, 0.3]
    late, in_time = pool.run(function, [Call(limit=0.5, kind="hangs")]), pool.run(wait, calls((1.0,), limit=60))
    assert list(late) == [Lost(Call(limit=0.5, kind="hangs"), "gave no answer in 0.5 s", in_time=False)]
    assert list(in_time) == [1.0]


def test_the_first_call_of_a_kind_has_time_to_prepare(monkeypatch):
    monkeypatch.setattr(crew, "PREPARATION_SECONDS", 1.0)
    pool = LokyPool(1)
    assert list(pool.run(wait, calls((0.0,)))) == [0.0]
    twice = calls((0.5,), (0.5,), limit=0.2, kind="slow to prepare")
    assert list(pool.run(wait, twice)) == [0.5, Lost(twice[1], "gave no answer in 0.2 s", in_time=False)]


ORPHAN = """
import os, sys, time
from rlsearch.common.pool import Call, LokyPool

def busy():
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    results = LokyPool(1).run(busy, [Call()])
    time.sleep(600)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
        ends(worker)
    assert parent.returncode == -signal.SIGKILL


STARTING = """
import signal, sys, time
from rlsearch.common.pool import Call, LokyPool

if __name__ == "__main__":
    # Where the tests run in the background, a shell has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results = LokyPool(2).run(time.sleep, [Call((0.0,)), Call((0.0,))])
    print("started", flush=True)
    try:
        list(results)
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_ctrl_c_while_workers_start_prints_nothing(tmp_path, seconds):
    script = tmp_path / "starting.py"
    script.write_text(STARTING)
    ran = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    assert ran.stdout.readline() == "started\n"
    time.sleep(seconds)
    os.killpg(ran.pid, signal.SIGINT)
    out, err = ran.communicate(timeout=60)
    assert (out, err) == ("interrupted\n", "")


def test_in_this_process_a_call_is_computed_when_its_result_is_asked_for(tmp_path):
    results = InProcess().run(mark, calls((tmp_path / "a",), (tmp_path / "b",)))
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
    crew.crew_of(1).end()  # workers of the folder before
    assert list(LokyPool(1).run(imported, calls(("lies_here",)))) == [False]
    monkeypatch.syspath_prepend(str(tmp_path))
    crew.crew_of(1).end()
    assert list(LokyPool(1).run(imported, calls(("lies_here",)))) == [True]


ENDING = """
import atexit, sys
from rlsearch.common.pool import Call, LokyPool

class Noisy:
    def __del__(self, write=sys.stderr.write):
        write("taken apart\\n")

def leave():
    # At the end of the interpreter this module's dictionary is emptied, and with it what stands there.
    sys.noisy = Noisy()
    atexit.register(print, "said goodbye")
    return 3

if __name__ == "__main__":
    print(list(LokyPool(1).run(leave, [Call()])))
"""


def test_a_worker_that_ends_is_not_taken_apart(tmp_path):
    """What was registered is called, what was printed is written, and no library has anything to say."""
    script = tmp_path / "ending.py"
    script.write_text(ENDING)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(ran.stdout.split("\n")) == ["", "[3]", "said goodbye"]
