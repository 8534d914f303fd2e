"""The archive: every proposal and every evaluation of a run, in SQLite.

One writer, in WAL mode, so that others (``rlsearch top``, pandas) can read while a run goes on. Every method that
writes is one transaction: a killed process leaves whole populations and whole rounds.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rlsearch.errors import RunError, StorageError
from rlsearch.formula import Formula
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import Status
from rlsearch.rewards.staged import Evaluation

_VERSION = 1

_SCHEMA = f"""
CREATE TABLE proposals (
    round INTEGER NOT NULL,       -- from 0
    slot INTEGER NOT NULL,        -- the formula's row in its round
    formula TEXT NOT NULL,        -- infix
    fingerprint TEXT NOT NULL,    -- equal for two spellings of one function
    fresh INTEGER NOT NULL,       -- 1 where the function was judged for this slot, 0 where it was known
    status TEXT NOT NULL,
    reward REAL NOT NULL,         -- what the controller was told
    PRIMARY KEY (round, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,       -- in the order of their end
    round INTEGER NOT NULL,       -- -1 for the baseline, before the first round
    fingerprint TEXT NOT NULL,
    formula TEXT NOT NULL,        -- the spelling that was trained
    protocol TEXT NOT NULL,       -- the proxy and all that decides its score but formula and seed
    seed INTEGER NOT NULL,
    status TEXT NOT NULL,
    score REAL,                   -- null unless the status is ok
    latency REAL,                 -- ratio to ReLU
    wall_seconds REAL NOT NULL,
    value REAL,                   -- the reward as returned, by a plain reward
    message TEXT NOT NULL,
    UNIQUE (fingerprint, protocol, seed)
) STRICT;

PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One row of the table ``proposals``."""

    formula: Formula
    fresh: bool
    status: Status
    reward: float


class Archive:
    """Opens the archive at ``path``; use as a context manager.

    Args:
        path: The file.
        create: Whether to make a new one; else it must exist.
        read_only: Whether to open for reading alone, which needs no lock.

    Raises:
        RunError: If the file is missing, damaged, or not an archive of this version.
        StorageError: If a new one cannot be made.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        self.path = path
        if create == path.exists():
            raise RunError(f"{path} exists already" if create else f"{path} does not exist; is this a run folder?")
        try:
            if create:
                _make(path)
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
                uri=True,
                timeout=30,
                isolation_level=None,
            )
            if not read_only:
                (report,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
                if report != "ok":
                    raise RunError(f"{path} is damaged: {report}")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            # NORMAL survives the death of the process; a power cut may cost the last commits, which are then redone.
            self._connection.execute("PRAGMA synchronous = NORMAL")
        except (sqlite3.DatabaseError, OSError) as error:
            if create:
                raise StorageError(f"{path} cannot be made: {error}") from error
            raise RunError(f"{path} is not a readable archive: {error}") from error
        if version != _VERSION:
            raise RunError(f"{path} is an archive of version {version}; expected {_VERSION}")

    def close(self) -> None:
        """Closes the file; the write-ahead log is folded into it."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.path} cannot be written: {error}. What was committed is safe; resume the run later."
            ) from error

    def add_evaluations(self, round_number: int, evaluations: Iterable[Evaluation]) -> None:
        """Stores the evaluations of one population."""
        rows = [
            (
                round_number,
                e.training.formula.fingerprint,
                str(e.training.formula),
                e.training.proxy,
                e.training.seed,
                e.status.value,
                e.score,
                e.latency,
                e.wall_seconds,
                e.value,
                e.message,
            )
            for e in evaluations
        ]
        columns = "round, fingerprint, formula, protocol, seed, status, score, latency, wall_seconds, value, message"
        with self._transaction() as connection:
            connection.executemany(f"INSERT INTO evaluations ({columns}) VALUES ({', '.join('?' * 11)})", rows)

    def add_round(self, round_number: int, proposals: Sequence[Proposal]) -> None:
        """Stores a judged round, in the place of what an interrupted run may have left of it."""
        rows = [
            (round_number, slot, str(p.formula), p.formula.fingerprint, p.fresh, p.status.value, p.reward)
            for slot, p in enumerate(proposals)
        ]
        with self._transaction() as connection:
            connection.execute("DELETE FROM proposals WHERE round >= ?", (round_number,))
            connection.executemany("INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def evaluations(self) -> Iterator[tuple[int, Evaluation]]:
        """Yields round and evaluation, in the order in which they were stored."""
        rows = self._read(
            "SELECT round, formula, protocol, seed, status, score, latency, wall_seconds, value, message "
            "FROM evaluations ORDER BY id"
        )
        for number, formula, protocol, seed, status, score, latency, seconds, value, message in rows:
            request = Training(Formula.parse(formula), protocol, seed)
            yield number, Evaluation(request, Status(status), score, latency, seconds, value, message)

    def rounds(self) -> int:
        """Returns how many rounds were judged to their end."""
        ((count,),) = self._read("SELECT COALESCE(MAX(round) + 1, 0) FROM proposals")
        return int(count)

    def proposals(self, before_round: int) -> int:
        """Returns how many formulas were proposed before a round."""
        ((count,),) = self._read("SELECT COUNT(*) FROM proposals WHERE round < ?", before_round)
        return int(count)

    def spellings(self, before_round: int) -> Iterator[tuple[str, Formula, int]]:
        """Yields fingerprint, formula and last round of the spellings proposed before a round, the oldest first."""
        rows = self._read(
            "SELECT fingerprint, formula, MAX(round), MIN(round * 1000000000 + slot) AS first FROM proposals "
            "WHERE round < ? GROUP BY formula ORDER BY first",
            before_round,
        )
        for fingerprint, formula, last_round, _ in rows:
            yield fingerprint, Formula.parse(formula), last_round

    def _read(self, query: str, *parameters: int) -> Iterator[tuple[Any, ...]]:
        try:  # a damaged page is met at the row that lies on it, not before
            yield from self._connection.execute(query, parameters)
        except sqlite3.DatabaseError as error:
            raise RunError(f"{self.path} cannot be read: {error}") from error


def _make(path: Path) -> None:
    """Makes an empty archive; a process that is killed here must not leave half of one."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(partial)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
    partial.replace(path)
