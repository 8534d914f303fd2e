"""The pool: where calls are computed, in this process or in worker processes beside it.

Whoever has calls to make is handed a pool. There are two: :class:`InProcess`, and :class:`LokyPool` for several
processes on this machine. A pool for several machines would be a third.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from rlsearch.common.crew import Done, crew_of


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be computed.

    Attributes:
        arguments: Of the function.
        limit: Seconds after which the process that computes it is ended; None for no limit. In the calling process
            there is none.
        kind: Calls of one kind share what the first of them has to prepare, such as data. So the first of its kind in a
            worker gets :data:`~rlsearch.common.crew.PREPARATION_SECONDS` more.
    """

    arguments: tuple[Any, ...] = ()
    limit: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands for the result of a call that has none: its process ended, or was ended.

    Attributes:
        call: What was to be computed.
        reason: In words, to follow what was called: ``"gave no answer in 30 s"``.
        in_time: False if its time was up.
    """

    call: Call
    reason: str
    in_time: bool = True


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
        self, function: Callable[..., Any], calls: Iterable[Call], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Yields ``function(*call.arguments)`` for every call, or a :class:`Lost`.

        An error that the function raises is raised where its result would have come.

        Args:
            function: What is called. Worker processes get it and its arguments by pickle.
            calls: The calls.
            in_order: Whether results come in the order of the calls, or else in the order in which they are done.
        """
        ...


class InProcess:
    """Computes each call in this process when its result is asked for."""

    workers = 1
    leaves_caller_free = False

    def run(
        self, function: Callable[..., Any], calls: Iterable[Call], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Yields the results in order; see :class:`Pool`."""
        return (function(*call.arguments) for call in calls)


class LokyPool:
    """Computes calls in worker processes, each of them one of loky's; the caller is free meanwhile.

    All calls begin when :meth:`run` is called. Closing its generator early ends the workers that are busy with it.

    Args:
        workers: Processes. They stay for the next call.
        leaves_caller_free: Whether the caller counts on being free, so that nothing may be computed here even if that
            were quicker.
    """

    def __init__(self, workers: int, *, leaves_caller_free: bool = False) -> None:
        self.workers = workers
        self.leaves_caller_free = leaves_caller_free

    def run(
        self, function: Callable[..., Any], calls: Iterable[Call], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Begins all calls now, and yields their results; see :class:`Pool`."""
        results = self._results(function, list(calls), in_order)
        next(results)
        return results

    def _results(self, function: Callable[..., Any], calls: list[Call], in_order: bool) -> Generator[Any, None, None]:
        stream = crew_of(self.workers).begin(function, [(call.arguments, call.limit, call.kind) for call in calls])
        # What is done already, though an earlier call is not.
        early: dict[int, Any] = {}
        try:
            # Tells ``run`` that all calls have begun.
            yield None
            for wanted in range(len(calls)):
                while in_order and wanted not in early:
                    place, done = stream.next()
                    early[place] = done
                place, done = (wanted, early.pop(wanted)) if in_order else stream.next()
                yield _result_of(calls[place], done)
        finally:
            stream.close()


def _result_of(call: Call, done: Done) -> Any:
    """What a call gave.

    Raises:
        BaseException: What the function raised.
    """
    if done.lost is not None:
        return Lost(call, done.lost, done.in_time)
    if done.error is not None:
        raise done.error
    return done.value


def make_pool(workers: int, *, leaves_caller_free: bool = False) -> Pool:
    """The pool for so many workers.

    Args:
        workers: Calls that are computed at the same time.
        leaves_caller_free: Whether all calls are computed in worker processes, even if it is only one, so that the
            caller can do something else meanwhile, and no call can take the caller with it.
    """
    if workers == 1 and not leaves_caller_free:
        return InProcess()
    return LokyPool(workers, leaves_caller_free=leaves_caller_free)
