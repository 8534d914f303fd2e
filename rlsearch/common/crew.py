"""The crew: the worker processes of this process, and the calls that wait for one of them.

A worker is an executor of loky's with a single process. So a process that dies takes one call with it, the one that it
was busy with, and a call whose time is up is ended by ending one process. Everything is decided in one thread, which
takes its orders from a queue: nothing here needs a lock.
"""

import atexit
import gc
import math
import os
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import resource_tracker as python_tracker
from queue import Empty, SimpleQueue
from typing import Any

from loky import ProcessPoolExecutor
from loky.backend import resource_tracker as loky_tracker
from loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from rlsearch.errors import WorkerError

IDLE_SECONDS = 300
"""After which an idle worker ends, and with it what it has loaded."""

PREPARATION_SECONDS = 60.0
"""What the first call of its kind in a worker gets beyond its limit: for imports, data, and perhaps compiling."""

ORPHAN_SECONDS = 1.0
"""How often a worker looks whether the process that started it is still there."""

_ENVIRONMENT = {
    # One thread per worker; threads.py says why.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # Or the current folder came first on a worker's import path. It gets the path of the process that starts it.
    "PYTHONSAFEPATH": "1",
    # Bytes that a worker may grow by before loky replaces it. A new worker would begin with compiling.
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e12",
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a call ended: with a value, an error, or lost.

    Attributes:
        value: What the function returned.
        error: What it raised.
        lost: Why there is neither, in words: its process ended, or was ended.
        in_time: False if its time was up.
    """

    value: Any = None
    error: BaseException | None = None
    lost: str | None = None
    in_time: bool = True


@dataclass(frozen=True, slots=True)
class _Task:
    stream: "Stream"
    place: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    limit: float | None
    kind: str


class Stream:
    """Calls that were handed over together."""

    def __init__(self, crew: "Crew", count: int) -> None:
        self._crew = crew
        self._left = count
        self._done: SimpleQueue[tuple[int, Done]] = SimpleQueue()

    def next(self) -> tuple[int, Done]:
        """Waits for the next call that is done: its place among those handed over, and how it ended."""
        done = self._done.get()
        self._left -= 1
        return done

    def put(self, place: int, done: Done) -> None:
        """Called by the crew when a call is done."""
        self._done.put((place, done))

    def close(self) -> None:
        """Gives up the calls that are not done; the workers that are busy with them are ended when this returns."""
        if self._left:
            self._left = 0
            self._crew.drop(self)


@dataclass(eq=False, slots=True)
class _Worker:
    """A process, what it is busy with, and until when it may be.

    Attributes:
        executor: Of one process.
        task: None while it is idle.
        deadline: By the monotonic clock.
        prepared: The kinds of calls that it has computed.
        idle_since: By the monotonic clock.
    """

    executor: ProcessPoolExecutor
    task: _Task | None = None
    deadline: float = math.inf
    prepared: set[str] = field(default_factory=set)
    idle_since: float = 0.0

    def give(self, task: _Task) -> Any:
        """Begins a call; the result is its future.

        Raises:
            BrokenProcessPool: If the process has died while it was idle.
        """
        if time.monotonic() - self.idle_since > IDLE_SECONDS:
            self.prepared.clear()
        future = self.executor.submit(_call, task.function, *task.arguments)
        self.task = task
        if task.limit is not None:
            more = 0.0 if task.kind in self.prepared else PREPARATION_SECONDS
            self.deadline = time.monotonic() + task.limit + more
        self.prepared.add(task.kind)
        return future

    def rest(self) -> None:
        """Is idle from now on."""
        self.task, self.deadline, self.idle_since = None, math.inf, time.monotonic()

    def end(self) -> None:
        """Kills the process, whatever it is doing."""
        self.executor.shutdown(wait=True, kill_workers=True)


class Crew:
    """Workers, and calls that wait for one.

    Args:
        environment: Variables of the workers' environment.

    Attributes:
        environment: The same.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._size = 0
        self._workers: list[_Worker] = []
        self._waiting: deque[_Task] = deque()
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._obey, name="rlsearch-crew", daemon=True).start()

    def begin(self, function: Callable[..., Any], calls: Sequence[tuple[tuple[Any, ...], float | None, str]]) -> Stream:
        """Hands over calls: the arguments of each, its limit in seconds, and its kind."""
        stream = Stream(self, len(calls))
        tasks = [_Task(stream, place, function, *call) for place, call in enumerate(calls)]
        self._orders.put(partial(self._waiting.extend, tasks))
        return stream

    def drop(self, stream: Stream) -> None:
        """Gives up the calls of a stream, and waits until the workers that are busy with them have ended."""
        self._and_wait(partial(self._drop, stream))

    def resize(self, size: int) -> None:
        """Changes the number of workers; those that are too many end when they are idle."""
        self._orders.put(partial(setattr, self, "_size", size))

    def end(self) -> None:
        """Ends all workers; what was handed over is done before."""
        self.resize(0)

    def _and_wait(self, order: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.put(order)
        self._orders.put(done.set)
        done.wait()

    def _obey(self) -> None:
        # A terminal's Ctrl-C reaches the workers too. What this thread starts has the signal blocked until it has
        # begun, and ignores it from then on: the process that hands the calls over decides when to stop.
        if hasattr(signal, "pthread_sigmask"):
            # Two helper processes come first: to start them unblocks the signal in this thread.
            for tracker in (loky_tracker, python_tracker):
                tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while True:
            deadline = min((worker.deadline for worker in self._workers), default=math.inf)
            left = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
            with suppress(Empty):
                self._orders.get(timeout=left)()
            self._end_late_ones()
            self._end_surplus()
            self._dispatch()

    def _dispatch(self) -> None:
        """Gives what waits to workers that are idle, and to new ones while there is room."""
        while self._waiting:
            worker = next((worker for worker in self._workers if worker.task is None), None)
            if worker is None:
                # An ended crew computes what was handed over before.
                if len(self._workers) >= max(1, self._size):
                    return
                worker = _Worker(
                    ProcessPoolExecutor(1, timeout=IDLE_SECONDS, initializer=_begin, env=self.environment),
                    idle_since=time.monotonic(),
                )
                self._workers.append(worker)
            try:
                future = worker.give(self._waiting[0])
            except BrokenProcessPool:
                # It has died while it was idle; another one takes its place.
                self._remove(worker)
                continue
            except RuntimeError:
                # The interpreter is shutting down: nobody waits for an answer.
                self._waiting.clear()
                return
            task = self._waiting.popleft()
            future.add_done_callback(partial(self._note, worker, task))

    def _note(self, worker: _Worker, task: _Task, future: Any) -> None:
        """Called in a thread of loky's when a call is done."""
        self._orders.put(partial(self._finish, worker, task, future))

    def _finish(self, worker: _Worker, task: _Task, future: Any) -> None:
        if worker.task is not task or worker not in self._workers:
            # It was ended, and its stream knows.
            return
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._remove(worker)
        else:
            worker.rest()
        if isinstance(error, TerminatedWorkerError):
            task.stream.put(task.place, Done(lost=_how_it_ended(error)))
        elif isinstance(error, BrokenProcessPool):
            broken = WorkerError(f"a worker process could not go on: {str(error).splitlines()[0]}")
            broken.__cause__ = error
            task.stream.put(task.place, Done(error=broken))
        elif error is not None:
            task.stream.put(task.place, Done(error=error))
        else:
            task.stream.put(task.place, Done(future.result()))

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.deadline <= now]:
            task = worker.task
            assert task is not None, "only who is busy has a deadline"
            self._remove(worker)
            task.stream.put(task.place, Done(lost=f"gave no answer in {task.limit:g} s", in_time=False))

    def _end_surplus(self) -> None:
        surplus = len(self._workers) - self._size
        if self._waiting or surplus <= 0:
            return
        for worker in [worker for worker in self._workers if worker.task is None][:surplus]:
            self._remove(worker)

    def _drop(self, stream: Stream) -> None:
        self._waiting = deque(task for task in self._waiting if task.stream is not stream)
        for worker in [worker for worker in self._workers if worker.task and worker.task.stream is stream]:
            self._remove(worker)

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.end()


_crew: Crew | None = None


def crew_of(workers: int) -> Crew:
    """The crew of this process, from now on with so many workers.

    Workers that began with another import path would not find a module that a config names: with another path there is
    another crew.
    """
    global _crew
    environment = _ENVIRONMENT | {"RLSEARCH_IMPORT_PATH": os.pathsep.join(sys.path)}
    if _crew is None or _crew.environment != environment:
        if _crew is not None:
            _crew.end()
        _crew = Crew(environment)
    _crew.resize(workers)
    return _crew


_EXIT_CODE = re.compile(r"\((-?\d+)\)")


def _how_it_ended(error: BaseException) -> str:
    """``"ended its process with signal 11 (SIGSEGV)"``; loky says the exit code in its message alone."""
    found = _EXIT_CODE.search(str(error).rpartition("exit codes")[2])
    if found is None:
        return "ended its process"
    code = int(found[1])
    if code >= 0:
        return f"ended its process with exit code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    memory = ", perhaps for want of memory" if -code == 9 else ""
    return f"ended its process with signal {-code}{name}{memory}"


def _begin() -> None:
    """The first thing that a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(os.getppid(),), name="rlsearch-orphan", daemon=True).start()
    # Registered first, so it is called last.
    atexit.register(_end)


def _end_with(parent: int) -> None:
    """Ends this process when the one that started it has ended, however that was."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def _end() -> None:
    # What a worker has loaded need not be taken apart. Triton, which torch imports where it is installed, would write
    # dozens of lines of "leaked" objects meanwhile, as if something had gone wrong.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    result = function(*arguments)
    _freeze_garbage()
    return result


@cache
def _freeze_garbage() -> None:
    # Without psutil, loky collects garbage every second, which takes a tenth of a second with all that is loaded.
    # Frozen objects are not looked at.
    gc.freeze()
