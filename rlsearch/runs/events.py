"""What a run tells others while it goes on: the bar, TensorBoard and Ctrl-C are listeners like any other."""

from collections.abc import Callable, Mapping, Sequence

from rlsearch.common.progress import AllOf, Events
from rlsearch.judging.judge import Judge

CALIBRATING = "calibrating"
"""The machine's latencies are measured, and kernels are compiled; once per machine."""

REFERENCES = "training the references"
"""What comes before the first round of a reward that trains proxies."""


class RunEvents(Events):
    """Is told how a run goes on. Here every method does nothing; a listener overrides those that it wants.

    A method may raise ``KeyboardInterrupt`` to stop the run, which is asked only where it can be stopped safely.
    ``on_progress`` tells of the budget that will be used up first, in rounds or candidates, and before the first
    round of what comes before it.
    """

    def on_start(self, judge: Judge) -> None:
        """The baseline is trained, and the first round of this session begins.

        Args:
            judge: What is known so far: earlier rounds of a resumed run too.
        """

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """A round has ended; ``judge.report`` says what happened in it.

        Args:
            judge: What is known by now.
            scalars: What the search method says of the round, by TensorBoard's tags.
        """

    def on_end(self, judge: Judge) -> None:
        """The last round of the run has ended; not called where a run is interrupted."""


class AllRunEvents(AllOf, RunEvents):
    """Passes on what it is told to several listeners, in order."""

    def __init__(self, listeners: Sequence[RunEvents]) -> None:
        super().__init__(listeners)
        self._listeners = listeners

    def on_start(self, judge: Judge) -> None:
        """Tells all."""
        for listener in self._listeners:
            listener.on_start(judge)

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """Tells all."""
        for listener in self._listeners:
            listener.on_round(judge, scalars)

    def on_end(self, judge: Judge) -> None:
        """Tells all."""
        for listener in self._listeners:
            listener.on_end(judge)


class StopRequests(RunEvents):
    """Stops the work where it can be stopped safely, once a stop was requested.

    Args:
        check: Raises ``KeyboardInterrupt`` if one was; see :func:`~rlsearch.common.interrupts.stop_requests`.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Checks."""
        self._check()

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """Checks."""
        self._check()
