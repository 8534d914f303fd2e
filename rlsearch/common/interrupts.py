"""Ctrl-C and SIGTERM as a request to stop at the next safe point.

An exception that is raised wherever the program happens to be can be lost: Python drops what is raised inside a
destructor or a weak reference's callback, of which plotting has many. A request is not lost.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rlsearch.errors import RlsearchError, WorkerError

_STOPPING = b"\nstopping as soon as the trainings that have begun are done; a second Ctrl-C ends them now\n"


@contextmanager
def stop_requests() -> Iterator[Callable[[], None]]:
    """Gives a function that raises KeyboardInterrupt if a stop was requested; a second request raises at once.

    Outside the main thread, where signals cannot be handled, nothing is changed.
    """
    requested = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True
        # Not by print or logging, which may be in the middle of a line of their own.
        with suppress(OSError):
            os.write(2, _STOPPING)

    def check() -> None:
        if requested:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    except Exception as error:
        # Workers that are starting die of the same Ctrl-C; what they raise is a consequence of it.
        if isinstance(error, WorkerError) or not isinstance(error, RlsearchError):
            check()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
