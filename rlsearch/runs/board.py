"""The leaderboard of a run as people read it: of mirror images the best one. Light, as reading a run is."""

from pathlib import Path

from rlsearch.judging.history import Judged
from rlsearch.runs import read as reading
from rlsearch.runs.folder import Run


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
    if mirrors:
        return reading.top(run, count)
    return [group.best for group in reading.top_groups(run, count)]
