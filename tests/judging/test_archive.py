import os
import signal
import sqlite3
import subprocess
import sys
import time

import pandas
import pytest
from helpers import evaluated

from rlsearch.errors import RunError, StorageError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive, Proposal
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.staged import Evaluation

SILU, OTHER, RELU = Formula.parse("x * sigmoid(x)"), Formula.parse("x / (1 + exp(-x))"), Formula.parse("relu(x)")


def evaluation(formula=SILU, seed=0, proxy="p", status=Status.OK, score=0.75, **more):
    return evaluated(Training(formula, proxy, seed), score, status, **more)


def proposal(formula=SILU, fresh=True, status=Status.OK, reward=0.5):
    return Proposal(formula, fresh, status, reward)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.sqlite"


@pytest.fixture
def archive(path):
    with Archive(path, create=True) as archive:
        yield archive


def query(path, text):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


def test_the_schema(archive, path):
    tables = dict(query(path, "SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    assert tables.keys() == {"proposals", "evaluations", "functions"}
    assert all("STRICT" in sql for sql in tables.values())
    assert query(path, "PRAGMA user_version") == [(3,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    columns = {t: [row[1] for row in query(path, f"PRAGMA table_info({t})")] for t in tables}
    assert columns == {
        "proposals": ["round", "slot", "formula", "fingerprint", "fresh", "status", "reward"],
        "evaluations": [
            "id", "round", "fingerprint", "formula", "protocol", "seed", "status", "score", "latency",
            "wall_seconds", "value", "message", "outside", "details",
        ],
        "functions": [
            "fingerprint", "number", "round", "formula", "size", "status", "reward", "score", "standard_error",
            "latency", "message", "seeds", "rung", "is_reference", "scores", "gains",
        ],
    }  # fmt: skip


def test_formulas_come_back_token_for_token(archive, path):
    """Though people are shown another text: a resumed run must go on with the formulas that were written."""
    fused = [Formula.parse(text) for text in ("gate(x, sqrt(x))", "gauss(x) - log(x)", "x * min0(x)")]
    spelled_out = [Formula.parse(str(formula)) for formula in fused]
    assert not set(fused) & set(spelled_out)
    formulas = [*fused, *spelled_out]
    archive.add_evaluations(0, [evaluation(formula) for formula in formulas[:3]])
    archive.add_round(0, [proposal(formula) for formula in formulas])
    assert [e.training.formula for _, e in archive.evaluations()] == fused
    assert [formula for _, formula, _ in archive.spellings(1)] == formulas
    assert query(path, "SELECT formula FROM proposals WHERE slot = 0") == [("gate(x, sqrt(x))",)]


def test_evaluations_come_back_as_they_went(archive, path):
    first = [
        Evaluation(
            Training(SILU, "p", 0), RewardResult(0.25, Status.OK, 0.75, 2.5, "a 'quoted'\nmessage, µ"), wall_seconds=0.1
        ),
        evaluation(RELU, 2**31, "q", Status.DIVERGED, None),
    ]
    later = evaluation(SILU, 1, outside=-0.125)
    archive.add_evaluations(-1, first)
    archive.add_evaluations(3, [later])
    expected = [repr(entry) for entry in [(-1, first[0]), (-1, first[1]), (3, later)]]  # NaN equals none
    assert [repr(entry) for entry in archive.evaluations()] == expected
    archive.close()
    with Archive(path) as again:
        assert [repr(entry) for entry in again.evaluations()] == expected


def test_proposals_as_rows(archive, path):
    archive.add_round(0, [proposal(), proposal(OTHER, False), proposal(RELU, True, Status.UNFIT, -1.0)])
    assert archive._connection.execute("SELECT COUNT(*) FROM proposals").fetchone()[0] == 3
    assert query(path, "SELECT * FROM proposals ORDER BY round, slot") == [
        (0, 0, "x * sigmoid(x)", SILU.fingerprint, 1, "ok", 0.5),
        (0, 1, "x / (1 + exp(-x))", SILU.fingerprint, 0, "ok", 0.5),
        (0, 2, "relu(x)", RELU.fingerprint, 1, "unfit", -1.0),
    ]


def test_a_round_takes_the_place_of_itself_and_of_later_ones(archive, path):
    for number in range(3):
        archive.add_round(number, [proposal(), proposal()])
    archive.add_round(1, [proposal(RELU)])
    assert query(path, "SELECT round, slot, formula FROM proposals ORDER BY round, slot") == [
        (0, 0, str(SILU)), (0, 1, str(SILU)), (1, 0, "relu(x)"),
    ]  # fmt: skip


def test_spellings_in_order_of_first_proposal(archive):
    archive.add_round(0, [proposal(RELU), proposal(OTHER)])
    archive.add_round(1, [proposal(OTHER), proposal(SILU)])
    archive.add_round(2, [proposal(Formula.parse("tanh(x)"))])
    assert list(archive.spellings(before_round=2)) == [
        (RELU.fingerprint, RELU, 0), (SILU.fingerprint, OTHER, 1), (SILU.fingerprint, SILU, 1),
    ]  # fmt: skip
    assert list(archive.spellings(before_round=1))[1] == (SILU.fingerprint, OTHER, 0)
    assert list(archive.spellings(before_round=0)) == []


def test_an_evaluation_is_stored_once(archive):
    """Keyed by function, proxy and seed: another spelling is the same evaluation."""
    archive.add_evaluations(0, [evaluation()])
    with pytest.raises(StorageError, match="UNIQUE"):
        archive.add_evaluations(0, [evaluation(RELU), evaluation(OTHER)])
    assert list(archive.evaluations()) == [(0, evaluation())]
    archive.add_evaluations(0, [evaluation(RELU), evaluation(seed=1), evaluation(proxy="q")])
    assert len(list(archive.evaluations())) == 4


def test_columns_are_typed(archive):
    with pytest.raises(StorageError, match="cannot store TEXT value in REAL column"):
        archive.add_evaluations(0, [evaluation(seed=7), evaluation(score="high")])
    with pytest.raises(StorageError, match="NOT NULL"):
        archive.add_round(0, [proposal(), proposal(reward=float("nan"))])
    assert list(archive.evaluations()) == []
    assert archive._connection.execute("SELECT COUNT(*) FROM proposals").fetchone()[0] == 0


def test_an_exception_inside_leaves_nothing(archive, path):
    def rows():
        yield evaluation()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.add_evaluations(0, rows())

    def interrupted():
        with archive._transaction() as connection:
            connection.execute("DELETE FROM proposals")
            connection.execute(
                "INSERT INTO evaluations (round, fingerprint, formula, protocol, seed, status, wall_seconds, message)"
                " VALUES (0, 'f', 'x', 'p', 0, 'ok', 0, '')"
            )
            raise ZeroDivisionError

    archive.add_round(0, [proposal()])
    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert archive._connection.execute("SELECT COUNT(*) FROM proposals").fetchone()[0] == 1
    assert list(archive.evaluations()) == []
    archive.add_evaluations(0, [evaluation()])  # it goes on
    assert len(query(path, "SELECT * FROM evaluations")) == 1


def test_readers_see_what_is_committed_while_the_writer_is_open(archive, path):
    archive.add_evaluations(0, [evaluation()])
    with Archive(path, read_only=True) as reader:
        assert list(reader.evaluations()) == [(0, evaluation())]
        with archive._transaction() as connection:
            connection.execute("DELETE FROM evaluations")
            assert list(reader.evaluations()) == [(0, evaluation())]
        assert list(reader.evaluations()) == []
        archive.add_evaluations(1, [evaluation(RELU)])
        assert list(reader.evaluations()) == [(1, evaluation(RELU))]


def test_a_reader_cannot_write(archive, path):
    with Archive(path, read_only=True) as reader, pytest.raises(StorageError, match="readonly"):
        reader.add_evaluations(0, [evaluation()])


def test_pandas_reads_it(archive, path):
    archive.add_evaluations(0, [evaluation(score=0.5), evaluation(RELU, status=Status.UNFIT, score=None)])
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    frame = pandas.read_sql_query("SELECT * FROM evaluations ORDER BY id", connection)
    connection.close()
    assert frame["formula"].tolist() == [str(SILU), "relu(x)"]
    assert frame["score"][0] == 0.5
    assert frame["score"].isna().tolist() == [False, True]


class TestFilesThatAreNotArchives:
    def test_missing(self, path):
        for read_only in (False, True):
            with pytest.raises(RunError, match=r"does not exist; is this a run folder\?"):
                Archive(path, read_only=read_only)
        assert not path.exists()

    def test_made_twice(self, archive, path):
        archive.add_evaluations(0, [evaluation()])
        with pytest.raises(RunError, match="exists already"):
            Archive(path, create=True)
        assert len(list(archive.evaluations())) == 1

    @pytest.mark.parametrize("read_only", [False, True])
    def test_garbage(self, path, read_only):
        garbage = bytes(range(256)) * 40
        path.write_bytes(garbage)
        with pytest.raises(RunError, match="is not a readable archive: file is not a database"):
            Archive(path, read_only=read_only)
        assert path.read_bytes() == garbage

    @pytest.mark.parametrize("read_only", [False, True])
    @pytest.mark.parametrize("version", [0, 4])
    def test_another_version(self, path, version, read_only):
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE mine (a)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        with pytest.raises(RunError, match=f"is an archive of version {version}; expected 3"):
            Archive(path, read_only=read_only)
        assert query(path, "SELECT name FROM sqlite_master") == [("mine",)]

    @staticmethod
    def large(path):
        with Archive(path, create=True) as archive:
            for number in range(20):
                archive.add_evaluations(number, [evaluation(seed=number, proxy="p" * 2000)])
                archive.add_round(number, [proposal()] * 20)
        return path.read_bytes()

    @staticmethod
    def read_all(path):
        with Archive(path, read_only=True) as reader:
            list(reader.evaluations())
            list(reader.spellings(before_round=99))

    @pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
    def test_truncated(self, path, share):
        content = self.large(path)
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(RunError, match=r"is damaged|is not a readable archive"):
            Archive(path)
        with pytest.raises(RunError, match=r"cannot be read|is not a readable archive"):
            self.read_all(path)

    def test_zeros_in_the_middle(self, path):
        content = bytearray(self.large(path))
        content[4096 : len(content) // 2] = bytes(len(content) // 2 - 4096)
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"is damaged|is not a readable archive"):
            Archive(path)
        with pytest.raises(RunError, match=r"cannot be read|is not a readable archive"):
            self.read_all(path)


def test_a_killed_writer_leaves_what_it_committed(path):
    """SIGKILL in the middle of a transaction: what was committed before is there, nothing of the rest."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from rlsearch.formula import Formula\n"
        "from rlsearch.proxies.base import Outcome, Training\n"
        "from rlsearch.rewards.staged import Evaluation\n"
        "from rlsearch.judging.archive import Archive\n"
        f"archive = Archive(Path({str(path)!r}), create=True)\n"
        "for seed in range(3):\n"
        "    request = Training(Formula.parse('relu(x)'), 'p', seed)\n"
        "    archive.add_evaluations(0, [Evaluation.of_outcome(request, Outcome(0.5))])\n"
        "with archive._transaction() as connection:\n"
        "    connection.execute('DELETE FROM evaluations')\n"
        "    print('now', flush=True)\n"
        "    time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "now\n"
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(timeout=30)
        writer.stdout.close()
    expected = [(0, evaluation(RELU, seed, score=0.5)) for seed in range(3)]
    with Archive(path, read_only=True) as reader:
        assert list(reader.evaluations()) == expected
    started = time.perf_counter()
    with Archive(path) as again:  # its lock died with it
        again.add_evaluations(1, [evaluation()])
        assert list(again.evaluations()) == [*expected, (1, evaluation())]
    assert time.perf_counter() - started < 10


def test_a_full_disk(archive, path):
    archive.add_evaluations(0, [evaluation()])
    (pages,) = archive._connection.execute("PRAGMA page_count").fetchone()
    archive._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageError, match=r"cannot be written: database or disk is full.*resume the run later"):
        archive.add_evaluations(1, [evaluation(seed=s, message="m" * 3000) for s in range(1, 50)])
    with pytest.raises(StorageError, match="disk is full"):
        archive.add_round(1, [proposal()] * 5000)
    assert list(archive.evaluations()) == [(0, evaluation())]
    assert archive._connection.execute("SELECT COUNT(*) FROM proposals").fetchone()[0] == 0
    archive.close()
    with Archive(path) as again:  # when there is room, it goes on
        again.add_evaluations(1, [evaluation(seed=s) for s in range(1, 50)])
        assert len(list(again.evaluations())) == 50


def test_an_archive_can_be_made_after_a_process_was_killed_while_making_it(path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("rlsearch.common.files.os.fsync", die)
        patch.setattr("rlsearch.common.files.Path.unlink", lambda *arguments, **options: None)  # as a kill
        with pytest.raises(Killed):
            Archive(path, create=True)
    assert path.with_name(f".{path.name}.tmp").exists()
    with Archive(path, create=True) as archive:
        archive.add_evaluations(0, [evaluation()])
        assert len(list(archive.evaluations())) == 1
