"""The progress of a search or a study on the screen: bars on a terminal, and lines anywhere else."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from rlsearch.common.numbers import number_text
from rlsearch.common.progress import Events
from rlsearch.formula.simplify import shown
from rlsearch.judging.judge import Judge
from rlsearch.runs.events import CALIBRATING, REFERENCES, RunEvents
from rlsearch.search.mining.engine import SCREENING

SECONDS_BETWEEN_LINES = 30
"""Of a part that goes on, where there is no bar."""

PREPARATIONS = {
    CALIBRATING: "(once per machine; half a minute)",
    REFERENCES: "(and compiling what trains, once)",
    SCREENING: "",
}
"""What comes before the first round, and why it may take a while."""


class Forgiving:
    """A stream that takes what is written to it, also where nobody reads it any more.

    A search goes on when its terminal has gone, or the disk of its log is full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes, or does not."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes, or does not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def make_console(**more: Any) -> Console:
    """A console on standard error that never stops the work."""
    return Console(file=cast(TextIO, Forgiving(sys.stderr)), **more)


def can_draw() -> bool:
    """Whether bars can be drawn: on a terminal, or in a notebook."""
    console = Console(stderr=True)
    return console.is_terminal or console.is_jupyter


@contextmanager
def watching() -> Iterator[RunEvents]:
    """Gives a listener to a run that draws a bar on a terminal and in a notebook; elsewhere a line a round."""
    console = make_console()
    if not can_draw():
        yield RunLines()
        return
    # A long formula is cut, not the figures beside it.
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(12), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}", markup=False, table_column=rest),
    )  # fmt: skip
    with Progress(*columns, console=console, expand=True) as bar:
        yield RunBar(bar)


class RunBar(RunEvents):
    """One bar for the whole run: of the budget that will be used up first, with the leader beside it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("search", total=None, best="")

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, description=what, completed=min(done, wanted), total=wanted)
        # Before the first round there is no leader.
        if what in PREPARATIONS:
            self._bar.update(self._task, best=PREPARATIONS[what])

    def on_note(self, text: str) -> None:
        """Writes the line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def on_start(self, judge: Judge) -> None:
        """Shows the leader."""
        self._bar.update(self._task, best=_leader(judge))

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """Shows the leader."""
        self._bar.update(self._task, best=_leader(judge))


class RunLines(RunEvents):
    """A line for every round, one when screening is done, and whatever else there is to know."""

    def __init__(self) -> None:
        self._budget = ""

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Remembers how far the run is, for the next line."""
        if what == SCREENING and done == wanted:
            _write_line(f"{what}: {done:.0f} done")
        elif what in PREPARATIONS and done == 0:
            _write_line(f"{what} {PREPARATIONS[what]}".rstrip())
        self._budget = f"{what} {min(done, wanted):.0f}/{wanted}"

    def on_note(self, text: str) -> None:
        """Writes the line."""
        _write_line(text)

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """Writes the round's line."""
        report = judge.report
        assert report is not None
        _write_line(
            f"{self._budget}: {sum(report.fresh)} new functions, {report.evaluations} trainings in "
            f"{report.seconds:.1f} s; best {_leader(judge)}"
        )


@contextmanager
def counting() -> Iterator[Events]:
    """Gives a listener to a study or a benchmark that draws a bar for each part of the work.

    Where there is no terminal, it writes a line when a part is done.
    """
    console = make_console()
    if not can_draw():
        yield PartLines()
        return
    columns = (
        TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(12), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        yield PartBars(bar)


class PartBars(Events):
    """A bar for each part of the work."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Moves the part's bar, which is made with its first progress."""
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=wanted)
        self._bar.update(self._tasks[what], completed=done, total=wanted)


class PartLines(Events):
    """A line for each part that is done, and now and then one for how far a long part is."""

    def __init__(self) -> None:
        self._written_at = time.monotonic()

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Writes the line."""
        if done == wanted:
            _write_line(f"{what}: {done:.0f} done")
        elif time.monotonic() > self._written_at + SECONDS_BETWEEN_LINES:
            _write_line(f"{what}: {done:.0f} of {wanted}")
        else:
            return
        self._written_at = time.monotonic()


def _write_line(text: str) -> None:
    make_console(soft_wrap=True).print(text, markup=False, highlight=False)


def _leader(judge: Judge) -> str:
    for judged in judge.history.found(1):
        return f"{number_text(judged.result.value, '+.4f')} {shown(judged.formula)}"
    return "none yet"
