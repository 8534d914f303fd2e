"""What one reads of a run: its leaderboard, its history, a table of its functions.

Everything comes from the archive. Nothing is built and nothing is imported that the run names, so that a run can be
read anywhere: on a machine without its device or kernel, and if it comes from somebody else.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rlsearch.errors import InputError
from rlsearch.judging.archive import Archive
from rlsearch.judging.history import History, Judged
from rlsearch.judging.mirrors import MirrorGroup, best_groups
from rlsearch.runs.folder import Run, opened

if TYPE_CHECKING:
    import pandas

MOST_REFERENCES = 100
"""More than any reward has."""


def top(run: Run | Path | str, count: int = 10, *, mirrors: bool = False) -> list[Judged]:
    """The best functions of a run, best first; it may still be going on.

    Args:
        run: The run or its folder.
        count: How many.
        mirrors: Whether mirror images, f(x), -f(x) and f(-x), count each by itself; else the best one stands for them.

    Raises:
        RunError: If the folder is not a run.
        InputError: If ``count`` is not positive.
    """
    return [group.best for group in top_groups(run, count, mirrors=mirrors)]


def top_groups(run: Run | Path | str, count: int = 10, *, mirrors: bool = False) -> list[MirrorGroup]:
    """The same with the mirror images that each stands for; see :func:`top`."""
    if count < 1:
        raise InputError(f"expected at least one function to show, got {count}")

    def best(functions: int) -> list[Judged]:
        return read_history(run, best=functions).leaderboard(functions)

    return [MirrorGroup(judged) for judged in best(count)] if mirrors else best_groups(best, count)


def read_history(run: Run | Path | str, best: int | None = None) -> History:
    """What is known of a run's functions after its last whole round.

    Of a round under way nothing is known: some of its functions may have been trained on some of the proxies. Before
    the first round only the references are there, and before the baseline is trained nothing.

    Args:
        run: The run folder.
        best: Read only so many functions, those with the highest rank.

    Raises:
        RunError: If the folder is not a run, or its archive is damaged.
    """
    with Archive(opened(run).archive, read_only=True) as archive:
        return History(archive.functions(best))


def table(run: Run | Path | str) -> "pandas.DataFrame":
    """All functions of a run as a pandas DataFrame, the best first.

    Columns: formula, status, reward, score, standard_error, latency, seeds, rung, is_reference, and for every proxy of
    a panel ``score on NAME`` and ``gain on NAME``.

    Raises:
        RunError: If the folder is not a run.
        InputError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise InputError("a table needs pandas, which is not installed: pip install pandas") from None
    rows = []
    for judged in sorted(read_history(run).known.values(), key=lambda judged: judged.rank, reverse=True):
        result = judged.result
        row = {
            "formula": str(judged.formula),
            "status": result.status.value,
            "reward": result.value,
            "score": result.score,
            "standard_error": result.standard_error,
            "latency": result.latency,
            "seeds": judged.seeds,
            "rung": judged.rung,
            "is_reference": judged.is_reference,
        }
        row |= {f"score on {name}": score for name, score in result.scores.items()}
        row |= {f"gain on {name}": gain for name, gain in result.gains.items()}
        rows.append(row)
    return pandas.DataFrame(rows)
