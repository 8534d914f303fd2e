"""The runs of a folder at a glance, each read from its archive alone."""

from dataclasses import dataclass
from pathlib import Path

from rlsearch.errors import InputError, RunError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.runs.folder import Run
from rlsearch.runs.read import MOST_REFERENCES, read_history


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a line.

    Attributes:
        run: Its folder.
        state: "running", "finished", "stopped"; "unknown" for one of an earlier version, "damaged" where it cannot be
            read.
        created: When it was begun, as ISO 8601 in UTC; empty if that is unknown.
        rounds: Rounds that were judged to their end.
        candidates: Functions that were trained.
        best: The best formula found; None before there is one.
        reward: Its reward.
    """

    run: Run
    state: str
    created: str = ""
    rounds: int = 0
    candidates: int = 0
    best: Formula | None = None
    reward: float | None = None


def runs_in(folder: Path | str = "runs") -> list[Run]:
    """The runs of a folder, the oldest first.

    Raises:
        InputError: If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; expected one with runs, such as runs")
    found = [Run(path) for path in folder.iterdir() if (path / "meta.json").is_file()]
    return sorted(found, key=lambda run: (_created(run), run.name))


def summary_of(run: Run) -> RunSummary:
    """A run in a line; nothing is built or imported that it names."""
    created = _created(run)
    try:
        with Archive(run.archive, read_only=True) as archive:
            rounds, candidates = archive.rounds(), archive.candidates()
        found = read_history(run, best=1 + MOST_REFERENCES).found(1)
        state = state_of(run)
    except RunError:
        return RunSummary(run, "damaged", created)
    best = found[0] if found else None
    return RunSummary(
        run,
        state,
        created,
        rounds,
        candidates,
        best.formula if best else None,
        best.result.value if best else None,
    )


def state_of(run: Run) -> str:
    """Whether a run is going on, has come to its end, or was stopped before it."""
    if run.is_in_use():
        return "running"
    # A run of an earlier version does not say.
    finished = run.read_meta().get("finished")
    if finished is None:
        return "unknown"
    return "finished" if finished else "stopped"


def _created(run: Run) -> str:
    try:
        return str(run.read_meta().get("created", ""))
    except RunError:
        return ""
