"""The progress of a search or a study on the screen: bars on a terminal, and lines anywhere else."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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

from rlsearch.common.progress import Events
from rlsearch.judging.judge import Judge
from rlsearch.runs.events import RunEvents
from rlsearch.search.mining.engine import SCREENING


@contextmanager
def watching() -> Iterator[RunEvents]:
    """Gives a listener to a run that draws a bar on a terminal, and writes a line a round anywhere else."""
    console = Console(stderr=True)
    if not console.is_terminal:
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
        self._task = bar.add_task("search", total=None, best="training the baseline")

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, description=what, completed=done, total=wanted)
        if what == SCREENING:
            self._bar.update(self._task, best="")

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
        self._budget = f"{what} {done:.0f}/{wanted}"

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
    console = Console(stderr=True)
    if not console.is_terminal:
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
    """A line for each part that is done."""

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Writes the line."""
        if done == wanted:
            _write_line(f"{what}: {done:.0f} done")


def _write_line(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


def _leader(judge: Judge) -> str:
    for judged in judge.history.found(1):
        return f"{judged.result.value:+.4f} {judged.formula}"
    return "none yet"
