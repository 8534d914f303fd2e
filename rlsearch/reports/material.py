"""What a folder has to show: a run, a comparison of methods, or a confirmation by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from rlsearch.errors import InputError, RunError, why
from rlsearch.formula import Formula
from rlsearch.formula.simplify import simplified
from rlsearch.judging.history import History
from rlsearch.runs.folder import Run
from rlsearch.runs.overview import state_of
from rlsearch.runs.read import read_history
from rlsearch.studies.reading import (
    COMPARISON,
    CONFIRMATION,
    WrittenComparison,
    read_comparison,
    read_confirmation,
)
from rlsearch.studies.study import Confirmation


class Kind(StrEnum):
    """What a folder is."""

    RUN = "run"
    COMPARISON = "comparison"
    CONFIRMATION = "confirmation"


@dataclass(frozen=True, slots=True)
class Material:
    """What there is; everything but the folder may be missing.

    Attributes:
        folder: Where it lies.
        kind: What it is.
        state: Of a run: "running", "finished", "stopped" or "unknown"; else empty.
        run: The run; of a comparison its first one, for what all of them share.
        history: The functions of the run, or of all runs of a comparison.
        confirmation: What fresh seeds say of the best of them.
        transfers: The same on other tasks, by their names.
        comparison: Search methods at equal budget; of a run, the comparison that it was made for.
    """

    folder: Path
    kind: Kind
    state: str = ""
    run: Run | None = None
    history: History = field(default_factory=History)
    confirmation: Confirmation | None = None
    transfers: Mapping[str, Confirmation] = field(default_factory=dict)
    comparison: WrittenComparison | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def winner(self) -> Formula | None:
        """The best-supported function, simplified; of what was not confirmed, the one that the search likes best."""
        findings = self.confirmation.findings if self.confirmation else None
        if findings is not None and findings.compared:
            return simplified(Formula.parse(findings.compared[0].formula))
        found = self.history.found(1)
        return simplified(found[0].formula) if found else None


def material_of(folder: Path | str) -> Material:
    """Reads a folder; nothing is built or imported that it names.

    Raises:
        InputError: If it is neither a run nor a comparison nor a confirmation.
        RunError: If a file is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        # It says which runs are near.
        Run.open(folder)
    if (folder / COMPARISON).exists():
        return _comparison(folder)
    if (folder / "meta.json").exists():
        return _run(Run.open(folder))
    if (folder / CONFIRMATION).exists():
        return Material(folder, Kind.CONFIRMATION, confirmation=_confirmation(folder))
    raise InputError(
        f"there is nothing to report in {folder}: expected a run, the folder of a comparison with {COMPARISON}, or of "
        f"a confirmation with {CONFIRMATION}"
    )


def _run(run: Run) -> Material:
    targets = sorted(path.name.removeprefix("transfer-") for path in run.folder.glob("transfer-*") if path.is_dir())
    read = {target: _confirmation(run.folder / f"transfer-{target}") for target in targets}
    beside = run.folder.resolve().parent
    return Material(
        run.folder,
        Kind.RUN,
        state=state_of(run),
        run=run,
        history=read_history(run),
        confirmation=_confirmation(run.folder / "confirm"),
        transfers={target: outcome for target, outcome in read.items() if outcome is not None},
        comparison=read_comparison(beside) if (beside / COMPARISON).exists() else None,
    )


def _comparison(folder: Path) -> Material:
    comparison = read_comparison(folder)
    # Runs may have been removed since; what is left is shown.
    runs = [Run(folder / name) for name in comparison.runs if (folder / name / "meta.json").exists()]
    # The same function of several runs: the one with the highest rank.
    merged = History()
    for run in runs:
        for fingerprint, judged in read_history(run).known.items():
            known = merged.known.get(fingerprint)
            if known is None or judged.rank > known.rank:
                merged.put(fingerprint, judged)
    return Material(
        folder,
        Kind.COMPARISON,
        run=runs[0] if runs else None,
        history=merged,
        confirmation=_confirmation(folder / "confirm"),
        comparison=comparison,
    )


def _confirmation(folder: Path) -> Confirmation | None:
    """What was confirmed; None where nothing was, or not yet."""
    return read_confirmation(folder) if (folder / CONFIRMATION).exists() else None


def text_of(path: Path) -> str:
    """The text of a file of a run.

    Raises:
        RunError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {why(error)}") from error
