"""The archive: every proposal, evaluation and function of a run, in SQLite.

One writer, in WAL mode, so that others (``rlsearch top``, pandas) can read while a run goes on. Every method that
writes is one transaction: a killed process leaves whole populations and whole rounds.
"""

import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rlsearch.common.files import replacing
from rlsearch.errors import RunError, StorageError, why
from rlsearch.formula import Formula
from rlsearch.judging.history import Judged
from rlsearch.judging.schema import (
    EVALUATION_COLUMNS,
    FUNCTION_COLUMNS,
    FUNCTIONS_SCHEMA,
    SCHEMA,
    SET_VERSION,
    VERSION,
)
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.staged import Evaluation


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

    Attributes:
        is_old: Whether an earlier version made it, and nothing has brought it up to date yet.

    Raises:
        RunError: If the file is missing, damaged, or not an archive of this version.
        StorageError: If a new one cannot be made.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        self.path = path
        if create and path.exists():
            raise RunError(f"{path} exists already")
        if not create and not path.exists():
            raise RunError(f"{path} does not exist; is this a run folder?")
        try:
            if create:
                _make(path)
            self._connection = _connect(path, "mode=ro" if read_only else "mode=rw")
            try:
                self._open(read_only)
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.DatabaseError, OSError) as error:
            if create:
                raise StorageError(f"{path} cannot be made: {why(error)}") from error
            raise RunError(f"{path} is not a readable archive: {why(error)}") from error

    def _open(self, read_only: bool) -> None:
        """Checks the file and its version, and makes it ready for writing."""
        if read_only and _needs_more_than_reading(self.path):
            self._connection.close()
            self._connection = _connect(self.path, "immutable=1")
        if not read_only:
            (report,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if report != "ok":
                raise RunError(f"{self.path} is damaged: {report}")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        # NORMAL survives the death of the process. A power cut may cost the last commits, which are then redone.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if version not in range(1, VERSION + 1):
            raise RunError(f"{self.path} is an archive of version {version}; expected {VERSION}")
        # Version 1 had no table of functions.
        if version == 1 and read_only:
            raise RunError(
                f"{self.path} was made by an earlier version of rlsearch; to bring it up to date: "
                f"rlsearch train --resume {self.path.parent}"
            )
        # The table of functions of an earlier version is made anew by the judge of a resumed run; see begin_at.
        self.is_old = version < VERSION
        if not read_only:
            self._add_columns("evaluations", outside="REAL", details="TEXT")

    def _add_columns(self, table: str, **types: str) -> None:
        """Adds the columns that an archive of an earlier version lacks."""
        there = self._columns(table)
        for name, kind in types.items():
            if name not in there:
                with self._transaction() as connection:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")

    def _columns(self, table: str) -> set[str]:
        return {name for _, name, *_ in self._connection.execute(f"PRAGMA table_info({table})")}

    def _selected(self, table: str, columns: str) -> str:
        """The columns for a query, with null for one that an archive of an earlier version lacks."""
        there = self._columns(table)
        return ", ".join(name if name in there else f"NULL AS {name}" for name in columns.split(", "))

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
                f"{self.path} cannot be written: {why(error)}. What was committed is safe; resume the run later."
            ) from error

    def add_evaluations(self, round_number: int, evaluations: Iterable[Evaluation]) -> None:
        """Stores the evaluations of one population."""
        rows = []
        for evaluation in evaluations:
            training, result = evaluation.training, evaluation.result
            row = (
                round_number,
                training.formula.fingerprint,
                training.formula.spelling,
                training.proxy,
                training.seed,
                result.status.value,
                result.score,
                result.latency,
                evaluation.wall_seconds,
                None if math.isnan(result.value) else result.value,
                result.message,
                evaluation.outside,
                _details(evaluation),
            )
            rows.append(row)
        with self._transaction() as connection:
            connection.executemany(_insert("evaluations", EVALUATION_COLUMNS), rows)

    def forget_failures(self, round_number: int) -> None:
        """Removes the evaluations of a round that failed, so that they are done again."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM evaluations WHERE round = ? AND status = ?", (round_number, Status.FAILED.value)
            )

    def add_round(
        self, round_number: int, proposals: Sequence[Proposal], functions: Iterable[tuple[int, str, Judged]] = ()
    ) -> None:
        """Stores a judged round, in the place of what an interrupted run may have left of it.

        Args:
            round_number: From 0.
            proposals: Everything that was proposed.
            functions: Number and fingerprint of each function that the round has changed, and what is known of it now.
        """
        rows = [
            (round_number, slot, p.formula.spelling, p.formula.fingerprint, p.fresh, p.status.value, p.reward)
            for slot, p in enumerate(proposals)
        ]
        with self._transaction() as connection:
            connection.execute("DELETE FROM proposals WHERE round >= ?", (round_number,))
            connection.executemany("INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            _put_functions(connection, round_number, functions)

    def begin_at(self, round_number: int, functions: Iterable[tuple[int, str, Judged]]) -> None:
        """Sets the table of functions back to the beginning of a round; that of an earlier version is made anew.

        Args:
            round_number: The round. What was written in it or later is forgotten.
            functions: All that are known at its beginning: number, fingerprint and what is known.
        """
        with self._transaction() as connection:
            # Made and filled at once, so that nobody takes an empty table for a run without functions. No row is kept:
            # gains were not known then, and with the reward's arithmetic rewards may have changed.
            if self.is_old:
                connection.execute("DROP TABLE IF EXISTS functions")
                connection.execute(FUNCTIONS_SCHEMA)
                connection.execute(SET_VERSION)
            connection.execute("DELETE FROM functions WHERE round >= ?", (round_number,))
            there = {fingerprint for (fingerprint,) in connection.execute("SELECT fingerprint FROM functions")}
            missing = [entry for entry in functions if entry[1] not in there]
            _put_functions(connection, round_number - 1, missing)
        self.is_old = False

    def evaluations(self) -> Iterator[tuple[int, Evaluation]]:
        """Yields round and evaluation, in the order in which they were stored."""
        columns = self._selected(
            "evaluations",
            "round, formula, protocol, seed, status, score, latency, wall_seconds, value, message, outside, details",
        )
        rows = self._read(f"SELECT {columns} FROM evaluations ORDER BY id")
        for number, formula, proxy, seed, status, score, latency, seconds, value, message, outside, details in rows:
            training = Training(Formula.parse(formula), proxy, seed)
            value = math.nan if value is None else value
            more = json.loads(details) if details else {}
            learned = {letter: tuple(numbers) for letter, numbers in more.pop("parameters", {}).items()}
            result = RewardResult(value, Status(status), score, latency, message, **more)
            yield number, Evaluation(training, result, seconds, outside, learned)

    def functions(self, best: int | None = None) -> Iterator[tuple[str, Judged]]:
        """Yields fingerprint and function of all whole rounds and of the references, in the order in which they came.

        Args:
            best: Yield only so many, those with the highest rank.
        """
        columns = self._selected(
            "functions",
            "fingerprint, formula, status, reward, score, standard_error, latency, message, seeds, rung, is_reference, "
            "scores, gains",
        )
        chosen = ""
        if best is not None:
            # The order of Judged.rank.
            chosen = (
                "WHERE number IN (SELECT number FROM functions WHERE status = 'ok' "
                f"ORDER BY rung DESC, reward DESC, size, number LIMIT {int(best)})"
            )
        rows = self._read(f"SELECT {columns} FROM functions {chosen} ORDER BY number")
        for fingerprint, text, status, reward, score, error, latency, message, seeds, rung, is_reference, *more in rows:
            scores, gains = (json.loads(each) if each else {} for each in more)
            result = RewardResult(reward, Status(status), score, latency, message, error, scores, gains)
            yield fingerprint, Judged(Formula.parse(text), result, seeds, rung, bool(is_reference))

    def candidates(self) -> int:
        """How many functions the whole rounds have trained, references not counted."""
        return self._count_trained("DISTINCT fingerprint")

    def trainings(self) -> int:
        """How many trainings the whole rounds took, those of the references not counted."""
        return self._count_trained("*")

    def _count_trained(self, what: str) -> int:
        ((count,),) = self._read(
            f"SELECT COUNT({what}) FROM evaluations WHERE round BETWEEN 0 AND ? AND status IN (?, ?)",
            self.rounds() - 1,
            Status.OK.value,
            Status.DIVERGED.value,
        )
        return int(count)

    def rounds(self) -> int:
        """How many rounds were judged to their end."""
        ((count,),) = self._read("SELECT COALESCE(MAX(round) + 1, 0) FROM proposals")
        return int(count)

    def proposals(self, before_round: int) -> int:
        """How many formulas were proposed before a round."""
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

    def _read(self, query: str, *parameters: int | str) -> Iterator[tuple[Any, ...]]:
        # Around every row: a damaged page is met at the row that lies on it, not before.
        try:
            yield from self._connection.execute(query, parameters)
        except sqlite3.DatabaseError as error:
            raise RunError(f"{self.path} cannot be read: {why(error)}") from error


def _make(path: Path) -> None:
    """Makes an empty archive; a process that is killed here must not leave half of one."""
    with replacing(path) as partial:
        for ending in ("-wal", "-shm"):
            partial.with_name(f"{partial.name}{ending}").unlink(missing_ok=True)
        _make_tables(partial)


def _make_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN;{SCHEMA}{FUNCTIONS_SCHEMA}{SET_VERSION}COMMIT;")


def _insert(table: str, columns: str, verb: str = "INSERT") -> str:
    places = ", ".join("?" * len(columns.split(", ")))
    return f"{verb} INTO {table} ({columns}) VALUES ({places})"


def _put_functions(
    connection: sqlite3.Connection, round_number: int, functions: Iterable[tuple[int, str, Judged]]
) -> None:
    rows = []
    for number, fingerprint, judged in functions:
        result = judged.result
        row = (
            fingerprint,
            number,
            round_number,
            judged.formula.spelling,
            judged.formula.size,
            result.status.value,
            result.value,
            result.score,
            result.standard_error,
            result.latency,
            result.message,
            judged.seeds,
            judged.rung,
            judged.is_reference,
            _as_json(result.scores),
            _as_json(result.gains),
        )
        rows.append(row)
    connection.executemany(_insert("functions", FUNCTION_COLUMNS, "INSERT OR REPLACE"), rows)


def _as_json(numbers: Mapping[str, float]) -> str | None:
    # A user's own arithmetic may give numbers of numpy.
    return json.dumps({name: float(number) for name, number in numbers.items()}) if numbers else None


def _details(evaluation: Evaluation) -> str | None:
    """What a plain reward said besides, under the names that a result has for it; and learned parameters."""
    result, said = evaluation.result, dict[str, Any]()
    if evaluation.parameters:
        said["parameters"] = dict(evaluation.parameters)
    if result.standard_error is not None:
        said["standard_error"] = float(result.standard_error)
    for name, numbers in (("scores", result.scores), ("gains", result.gains)):
        if numbers:
            said[name] = {key: float(number) for key, number in numbers.items()}
    return json.dumps(said) if said else None


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=30, isolation_level=None)


def _needs_more_than_reading(path: Path) -> bool:
    """Whether SQLite would have to write to read this: it makes two files beside a database in WAL mode.

    Where the folder cannot be written and nobody is writing to the archive, it is read as a file that never changes.
    """
    return not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
