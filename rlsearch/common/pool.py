"""The pool: where calls are computed, in this process or in worker processes beside it.

Whoever has calls to make is handed a pool. There are two: :class:`InProcess`, and :class:`LokyPool` for several
processes on this machine. A pool for several machines would be a third.
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any, Protocol

from loky import get_reusable_executor

from rlsearch.errors import WorkerError

IDLE_SECONDS = 300
"""After which an idle worker ends, and with it what it has loaded."""

_ENVIRONMENT = {
    # One thread per worker; threads.py says why.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # Or the current folder came first on a worker's import path. It gets the path of the process that starts it.
    "PYTHONSAFEPATH": "1",
    # Bytes that a worker may grow by before loky replaces it. A new worker would begin with compiling.
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e12",
}


class Pool(Protocol):
    """Computes calls, one after the other or side by side.

    Attributes:
        workers: How many calls are computed at the same time.
        leaves_caller_free: Whether calls that are handed over are always computed elsewhere.
    """

    @property
    def workers(self) -> int:
        """How many calls are computed at the same time."""
        ...

    @property
    def leaves_caller_free(self) -> bool:
        """Whether calls that are handed over are always computed elsewhere."""
        ...

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Yields ``function(*arguments)`` for every item of ``calls``.

        Args:
            function: What is called. Worker processes get it and its arguments by pickle.
            calls: The arguments of each call.
            in_order: Whether results come in the order of the calls, or else in the order in which they are done.

        Raises:
            WorkerError: If a worker process dies.
        """
        ...


class InProcess:
    """Computes each call in this process when its result is asked for."""

    workers = 1
    leaves_caller_free = False

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Yields the results in order; see :class:`Pool`."""
        return (function(*arguments) for arguments in calls)


class LokyPool:
    """Computes calls in worker processes by loky; the caller is free meanwhile.

    All calls begin when :meth:`run` is called. Closing its generator early kills all workers, including those that are
    busy for another caller.

    Args:
        workers: Processes. They stay for the next call.
        leaves_caller_free: Whether the caller counts on being free, so that nothing may be computed here even if that
            were quicker.
    """

    def __init__(self, workers: int, *, leaves_caller_free: bool = False) -> None:
        self.workers = workers
        self.leaves_caller_free = leaves_caller_free

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Begins all calls now, and yields their results; see :class:`Pool`."""
        results = self._results(function, calls, in_order)
        next(results)
        return results

    def _results(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], in_order: bool
    ) -> Generator[Any, None, None]:
        # Workers that began with another import path would not find a module that a config names: with another
        # environment they are replaced.
        environment = _ENVIRONMENT | {"RLSEARCH_IMPORT_PATH": os.pathsep.join(sys.path)}
        executor = get_reusable_executor(self.workers, timeout=IDLE_SECONDS, initializer=_begin, env=environment)
        try:
            futures = [executor.submit(_call, function, *arguments) for arguments in calls]
            # Tells ``run`` that all calls have begun.
            yield None
            for future in futures if in_order else as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkerError(
                "a worker process has died, perhaps for want of memory. What was trained is stored: go on as after an "
                "interrupt, and if it happens again, with fewer workers"
            ) from error
        except BaseException:
            executor.shutdown(kill_workers=True)
            raise


def make_pool(workers: int, *, leaves_caller_free: bool = False) -> Pool:
    """The pool for so many workers.

    Args:
        workers: Calls that are computed at the same time.
        leaves_caller_free: Whether all calls are computed in worker processes, even if it is only one, so that the
            caller can do something else meanwhile.
    """
    if workers == 1 and not leaves_caller_free:
        return InProcess()
    return LokyPool(workers, leaves_caller_free=leaves_caller_free)


def _begin() -> None:
    # A terminal sends Ctrl-C to the workers too; the process that feeds them decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Registered first, so it is called last.
    atexit.register(_end)


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
