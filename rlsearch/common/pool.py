"""Worker processes, which compute beside this one."""

import gc
import signal
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

from loky import get_reusable_executor

from rlsearch.errors import WorkerError

_IDLE_SECONDS = 300  # after which a worker ends, and with it what it has loaded
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),  # see threads.py
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e12",  # bytes that a worker may grow by; a new one would begin with compiling
}


def beside(
    workers: int, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, in_order: bool = True
) -> Generator[Any, None, None]:
    """Begins ``function(*arguments)`` for all ``calls`` now, and yields the results as they come.

    Whoever stops early ends the workers, whatever they are doing and for whom.

    Args:
        workers: Processes; they stay for the next call.
        function: What a worker calls; it and its arguments are pickled.
        calls: The arguments of each call.
        in_order: Whether the results come in the order of the calls rather than in that of their completion.

    Raises:
        WorkerError: If a worker dies.
    """
    results = _results(workers, function, calls, in_order)
    next(results)
    return results


def _results(
    workers: int, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], in_order: bool
) -> Generator[Any, None, None]:
    executor = get_reusable_executor(workers, timeout=_IDLE_SECONDS, initializer=_leave_interrupts, env=_ENVIRONMENT)
    try:
        futures = [executor.submit(_call, function, *arguments) for arguments in calls]
        yield None  # all are under way
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


def _leave_interrupts() -> None:
    # A terminal's Ctrl-C goes to workers too; the process that feeds them decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    result = function(*arguments)
    _settle()
    return result


@cache
def _settle() -> None:
    # Without psutil, loky collects garbage every second, which takes a tenth of it if all that is loaded is looked at.
    gc.freeze()
