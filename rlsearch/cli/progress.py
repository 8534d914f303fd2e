"""The progress of a search on the screen: a bar with the time left and the best formula so far."""

from collections.abc import Callable, Iterator
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

from rlsearch.judging.judge import Judged
from rlsearch.runs.train import Progress as SearchProgress
from rlsearch.runs.train import Watcher


@contextmanager
def watching() -> Iterator[Watcher]:
    """Yields a watcher that draws a bar on a terminal, and writes a line a round anywhere else."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_by_line
        return
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # a long formula is cut, not the figures beside it
    columns = (
        TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(12), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best]}", markup=False, table_column=rest),
    )  # fmt: skip
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task("search", total=None, best="training the baseline")

        def draw(progress: SearchProgress) -> None:
            unit, done, wanted = progress.nearer_budget
            best = "" if progress.screened is not None else _best_text(progress.best)
            bar.update(task, description=unit, completed=done, total=wanted, best=best)

        yield draw


def _line_by_line(progress: SearchProgress) -> None:
    report = progress.report
    unit, done, wanted = progress.nearer_budget
    if progress.screened is not None and done == wanted:
        _line_at_the_end(unit, int(done), wanted)
    if report is None:
        return
    Console(stderr=True, soft_wrap=True).print(
        f"{unit} {done:.0f}/{wanted}: {sum(report.fresh)} new functions, "
        f"{report.evaluations} trainings in {report.seconds:.1f} s; best {_best_text(progress.best)}",
        markup=False,
        highlight=False,
    )


def _best_text(best: Judged | None) -> str:
    return f"{best.result.value:+.4f} {best.formula}" if best else "none yet"


@contextmanager
def counting() -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function of what is done, how much is done and how much is wanted; it draws a bar for each thing.

    Where there is no terminal, it writes a line when a thing is finished.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_at_the_end
        return
    columns = (
        TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(12), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def draw(what: str, done: int, wanted: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=wanted)
            bar.update(tasks[what], completed=done, total=wanted)

        yield draw


def _line_at_the_end(what: str, done: int, wanted: int) -> None:
    if done == wanted:
        Console(stderr=True, soft_wrap=True).print(f"{what}: {done} done", markup=False, highlight=False)
