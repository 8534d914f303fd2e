"""The run folder: where each of its files lies, who may write it, and what it was made with."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from rlsearch.common.files import write_text
from rlsearch.errors import ConfigError, RunError, StorageError, why

if TYPE_CHECKING:
    import pandas

    from rlsearch.runs.config import Config

_PACKAGES = ("rlsearch", "torch", "stable-baselines3", "gymnasium", "numpy")


@dataclass(frozen=True)
class Run:
    """One folder under ``runs/``.

    Attributes:
        folder: The folder; TensorBoard's event files lie directly in it.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def config(self) -> "Config":
        """The resolved config, read when it is first asked for. Nothing that it names is imported.

        Raises:
            RunError: If it was damaged.
        """
        # Imported here: reading a leaderboard does without it.
        from rlsearch.runs.config import load_config

        try:
            return load_config(self.config_path, of_run=True)
        except ConfigError as error:
            raise RunError(f"the config of {self.folder} is damaged:\n{error}") from error

    @property
    def config_path(self) -> Path:
        """The file of the resolved config."""
        return self.folder / "config.yaml"

    @property
    def archive(self) -> Path:
        """The archive."""
        return self.folder / "archive.sqlite"

    @property
    def checkpoint(self) -> Path:
        """The state at the start of the next round."""
        return self.folder / "checkpoints" / "latest.pt"

    @property
    def latency_costs(self) -> Path:
        """The calibration that the run uses."""
        return self.folder / "latency.json"

    @property
    def meta(self) -> Path:
        """Versions, device, seed and times."""
        return self.folder / "meta.json"

    @staticmethod
    def refuse_taken(folder: Path) -> None:
        """Raises a RunError if something is there already."""
        if _is_taken(folder):
            raise RunError(f"{folder} exists already: go on with --resume, or choose another --name, or --overwrite")

    @classmethod
    def create(cls, folder: Path, *, overwrite: bool = False) -> "Run":
        """Makes a new run folder, which is a run when it has a config and an archive.

        Raises:
            RunError: If it exists and ``overwrite`` is not set, or it is not a run and would be lost.
            StorageError: If it cannot be made.
        """
        run = cls(folder)
        if not overwrite:
            cls.refuse_taken(folder)
        elif _is_taken(folder):
            if not run.meta.exists() and not _is_barely_begun(folder):
                raise RunError(f"{folder} is not a run of rlsearch; it is not overwritten")
            # Nobody may be writing to it.
            with run.lock():
                pass
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise StorageError(f"{folder} cannot be replaced: {why(error)}") from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {why(error)}") from error
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run.

        Raises:
            RunError: If the folder is missing or is not a run.
        """
        run = cls(folder)
        if not folder.is_dir():
            raise RunError(f"there is no run {folder}{_runs_near(folder)}")
        missing = [path.name for path in (run.config_path, run.meta, run.archive) if not path.exists()]
        if missing:
            within = _runs_in(folder)
            hint = f"; it has the run(s) {', '.join(within)}" if within else ""
            raise RunError(f"{folder} is not a run of rlsearch: it has no {missing[0]}{hint}")
        return run

    def table(self) -> "pandas.DataFrame":
        """All functions of the run as a pandas DataFrame; see :func:`rlsearch.runs.read.table`."""
        from rlsearch.runs.read import table

        return table(self)

    @contextmanager
    def lock(self, wait_seconds: float = 0.5) -> Iterator[None]:
        """Holds the run for this process, for as long as it writes.

        Args:
            wait_seconds: How long another process may hold it, as one does for a moment that only asks whether it is
                in use.

        Raises:
            RunError: If another process holds it.
        """
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise RunError(f"{self.folder} is in use by another process; wait for it or stop it") from None
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be locked: {why(error)}") from error
        try:
            yield
        finally:
            lock.release()

    def is_in_use(self) -> bool:
        """Whether a process is writing to the run just now."""
        if not (self.folder / ".lock").exists():
            return False
        try:
            with self.lock(wait_seconds=0):
                return False
        except RunError:
            return True
        except StorageError:
            # Whoever may not lock it cannot know.
            return False

    def write_meta(self, **facts: Any) -> None:
        """Writes the versions in use and ``facts``."""
        meta = {
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {package: version(package) for package in _PACKAGES},
            **facts,
        }
        write_text(self.meta, json.dumps(meta, indent=1) + "\n")

    def note(self, **facts: Any) -> None:
        """Adds facts to the metadata, or puts them in the place of others.

        Raises:
            RunError: If the metadata is damaged.
            StorageError: If it cannot be written.
        """
        before = self.read_meta()
        meta = before | facts
        if meta == before:
            return
        try:
            write_text(self.meta, json.dumps(meta, indent=1) + "\n")
        except OSError as error:
            raise StorageError(f"{self.meta} cannot be written: {why(error)}") from error

    def write_config(self, config: "Config") -> None:
        """Writes the resolved config.

        Raises:
            StorageError: If it cannot be written.
        """
        from rlsearch.runs.config import dump_config

        try:
            write_text(self.config_path, dump_config(config))
        except OSError as error:
            raise StorageError(f"{self.config_path} cannot be written: {why(error)}") from error
        self.__dict__["config"] = config

    def changed_versions(self) -> dict[str, tuple[str, str]]:
        """The packages whose version is another than when the run was made: then and now."""
        then = self.read_meta().get("versions", {})
        now = {package: version(package) for package in _PACKAGES}
        return {
            package: (then.get(package, "unknown"), now[package])
            for package in now
            if then.get(package) != now[package]
        }

    def read_meta(self) -> dict[str, Any]:
        """What :meth:`write_meta` wrote.

        Raises:
            RunError: If it cannot be read.
        """
        try:
            meta = json.loads(self.meta.read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{self.meta} cannot be read: {why(error)}") from error
        if not isinstance(meta, dict):
            raise RunError(f"{self.meta} is not the metadata of a run")
        return meta


MAX_RUNS_NAMED = 8


def _runs_in(folder: Path) -> list[str]:
    """The runs of a folder, by the paths that one may type; the last few of them."""
    return sorted(str(path) for path in folder.glob("*") if (path / "meta.json").exists())[-MAX_RUNS_NAMED:]


def _runs_near(folder: Path) -> str:
    """What may have been meant by a folder that is not there."""
    as_path = Path(str(folder).replace("\\", "/"))
    for other in (Path("runs") / folder, as_path):
        if other != folder and (other / "meta.json").exists():
            return f"; did you mean {other}?"
    beside = _runs_in(folder.parent)
    return f"; there is {', '.join(beside)}" if beside else ""


def opened(run: Run | Path | str) -> Run:
    """A run, given itself or its folder.

    Raises:
        RunError: If the folder is missing or is not a run.
    """
    return run if isinstance(run, Run) else Run.open(Path(run))


def is_run(text: str) -> bool:
    """Whether ``text`` means a run folder: there is such a folder, or it has a path's form and no formula's."""
    # A file is none: one that is called "x" would hide the formula. pathlib's is_dir raises for a text as long as some
    # formulas are.
    if os.path.isdir(text):
        return True
    parent = Path(text).parent
    return os.path.isdir(parent) and str(parent) != "." and " " not in text and "(" not in text


def _is_taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _is_barely_begun(folder: Path) -> bool:
    """Whether there is nothing but what a run leaves that is killed before it has written its first file."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return ".lock" in names and names <= {".lock", ".meta.json.tmp"}
