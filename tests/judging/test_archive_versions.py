"""Archives of earlier versions: read as they are, brought up to date by the run that goes on."""

import sqlite3

import numpy as np
import pytest
from helpers import DIGITS, evaluated, make_config, proxies
from helpers_judging import NEVER, RELU, ROUNDS, SILU, TANH, FakeReward, X, make_judge, rows, state

from rlsearch import resume, top, train
from rlsearch.errors import RunError
from rlsearch.judging.archive import Archive, Proposal
from rlsearch.judging.history import Judged
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.panel import IDENTITY_SEEDS, PanelReward

OLD_TABLES = """
CREATE TABLE proposals (
    round INTEGER NOT NULL, slot INTEGER NOT NULL, formula TEXT NOT NULL, fingerprint TEXT NOT NULL,
    fresh INTEGER NOT NULL, status TEXT NOT NULL, reward REAL NOT NULL, PRIMARY KEY (round, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY, round INTEGER NOT NULL, fingerprint TEXT NOT NULL, formula TEXT NOT NULL,
    protocol TEXT NOT NULL, seed INTEGER NOT NULL, status TEXT NOT NULL, score REAL, latency REAL,
    wall_seconds REAL NOT NULL, value REAL, message TEXT NOT NULL, UNIQUE (fingerprint, protocol, seed)
) STRICT;
"""
OLD_FUNCTIONS = """
CREATE TABLE functions (
    fingerprint TEXT PRIMARY KEY, number INTEGER NOT NULL, round INTEGER NOT NULL, formula TEXT NOT NULL,
    size INTEGER NOT NULL, status TEXT NOT NULL, reward REAL NOT NULL, score REAL, standard_error REAL, latency REAL,
    message TEXT NOT NULL, seeds INTEGER NOT NULL, rung INTEGER NOT NULL, is_reference INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""Since version 2."""

EVALUATION = evaluated(Training(SILU, "p", 7), 0.75, latency=2.5, wall_seconds=0.5)
JUDGED = Judged(SILU, RewardResult(0.125, Status.OK, 0.75, 2.5, standard_error=0.25), seeds=1)


def old_archive(path, version):
    """Writes an archive with one of each as an earlier version did; returns its content."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(OLD_TABLES + (OLD_FUNCTIONS if version == 2 else ""))
    f, text = SILU.fingerprint, str(SILU)
    connection.execute("INSERT INTO proposals VALUES (0, 0, ?, ?, 1, 'ok', 0.125)", (text, f))
    connection.execute("INSERT INTO evaluations VALUES (1, 0, ?, ?, 'p', 7, 'ok', 0.75, 2.5, 0.5, NULL, '')", (f, text))
    if version == 2:
        connection.execute(
            "INSERT INTO functions VALUES (?, 0, 0, ?, 4, 'ok', 0.125, 0.75, 0.25, 2.5, '', 1, 0, 0)", (f, text)
        )
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    return path.read_bytes()


def version_of(path):
    connection = sqlite3.connect(path)
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    return version


def as_of_version_2(path):
    """Takes from an archive what version 2 did not have."""
    connection = sqlite3.connect(path)
    for table, column in (("evaluations", "outside"), ("functions", "scores"), ("functions", "gains")):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.sqlite"


def read(path):
    """What is in an archive, as texts, since NaN equals nothing."""
    with Archive(path, read_only=True) as archive:
        return repr(list(archive.evaluations())), repr(list(archive.functions()))


def test_version_2_is_read_without_a_change(path):
    before = old_archive(path, 2)
    assert read(path) == (repr([(0, EVALUATION)]), repr([(SILU.fingerprint, JUDGED)]))
    assert path.read_bytes() == before


def test_version_1_is_not_read_without_its_run(path):
    before = old_archive(path, 1)
    with pytest.raises(RunError, match=f"by an earlier version of rlsearch; .*: rlsearch train --resume {path.parent}"):
        Archive(path, read_only=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_archive_goes_on_with_all_its_rows(path, version):
    old_archive(path, version)
    more = evaluated(Training(TANH, "p", 7), 0.5, outside=0.25)
    with Archive(path) as archive:
        archive.add_evaluations(1, [more])
        again = Judged(SILU, RewardResult(0.5, Status.OK, 0.75, scores={"p": 0.75}, gains={"p": 0.5}), seeds=1)
        archive.begin_at(1, [(0, SILU.fingerprint, again)])
        archive.add_round(1, [Proposal(TANH, True, Status.OK, -0.5)])
    assert version_of(path) == 3
    # What gains and rewards were is for the judge to say: it has all evaluations.
    assert read(path) == (repr([(0, EVALUATION), (1, more)]), repr([(SILU.fingerprint, again)]))
    with Archive(path) as archive:
        assert list(archive.spellings(2)) == [(SILU.fingerprint, SILU, 0), (TANH.fingerprint, TANH, 1)]


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_archive_is_old_until_its_functions_are_known_again(path, version):
    """A run that is killed before that is opened once more, and read as before until then."""
    old_archive(path, version)
    for _ in range(2):
        Archive(path).close()
        assert version_of(path) == version
    if version == 2:
        assert read(path) == (repr([(0, EVALUATION)]), repr([(SILU.fingerprint, JUDGED)]))


def test_scores_and_gains_come_back_as_they_went(path):
    """Numbers of numpy too, which a user's own arithmetic may give."""
    result = RewardResult(
        0.5,
        Status.OK,
        0.25,
        scores={"a": 0.1, "a (2)": np.float32(0.5), "a outside": -1e-3},
        gains={"a": np.float64(1.5), "a (2)": -3},
    )
    plain = RewardResult(0.25)
    with Archive(path, create=True) as archive:
        archive.begin_at(0, [(0, "f", Judged(SILU, result)), (1, "g", Judged(TANH, plain))])
        found = dict(archive.functions())
    assert found["f"].result == result
    assert {type(number) for number in (*found["f"].result.scores.values(), *found["f"].result.gains.values())} == {
        float
    }
    assert list(found["f"].result.scores) == ["a", "a (2)", "a outside"]
    assert (found["g"].result.scores, found["g"].result.gains) == ({}, {})


class WithMoreReferences(FakeReward):
    """As after a change of the package: the identity and the hyperbolic tangent are references, too."""

    def __init__(self, stop_at=None):
        super().__init__(stop_at)
        self.references += [Training(f, p, s) for f in (X, TANH) for p in self.proxy_names for s in range(3)]


@pytest.mark.parametrize("stop_at", [None, 0, 1])
def test_a_run_from_before_a_function_was_a_reference_goes_on(tmp_path, stop_at):
    """Both have been proposed and trained from two seeds of three; the third one's trainings are what is missing."""
    whole, path = tmp_path / "whole.sqlite", tmp_path / "old.sqlite"
    with Archive(whole, create=True) as archive:
        judge = make_judge(WithMoreReferences(), archive, rescoring=NEVER)
        for formulas in ROUNDS:
            judge(formulas)
        expected = state(judge)
    with Archive(path, create=True) as archive:
        judge = make_judge(FakeReward(), archive, rescoring=NEVER)
        for formulas in ROUNDS[:2]:
            judge(formulas)
    as_of_version_2(path)

    reward = WithMoreReferences(stop_at)
    with Archive(path) as archive:
        if stop_at is not None:
            with pytest.raises(KeyboardInterrupt):
                make_judge(reward, archive, 2, rescoring=NEVER)
            reward = WithMoreReferences()
        judge = make_judge(reward, archive, 2, rescoring=NEVER)
        missing = [(f, p, 2) for f in (X, TANH) for p in ("p", "q")]
        # Two trainings are a population.
        assert [(t.formula, t.proxy, t.seed) for t in reward.requested] == missing[2 * (stop_at or 0) :]
        assert [judge.known[f.fingerprint].is_reference for f in (RELU, X, TANH)] == [True] * 3
        for formulas in ROUNDS[2:]:
            judge(formulas)
        assert state(judge) == expected
        stored = {fingerprint: judged.result for fingerprint, judged in archive.functions()}
    assert stored == {fingerprint: judged.result for fingerprint, judged in judge.known.items()}
    assert rows(path)[1][16:] == rows(whole)[1][16:]
    assert version_of(path) == 3


def test_a_run_from_before_the_identity_was_trained_goes_on(tmp_path, monkeypatch):
    config = make_config(proxies(tmp_path, proxies=[DIGITS]), 2, 8, language={"max_length": 4})
    references = PanelReward.references.fget
    with monkeypatch.context() as patch:
        patch.setattr(
            PanelReward, "references", property(lambda self: [t for t in references(self) if t.formula == RELU])
        )
        run = train(config, "old", runs=tmp_path).run
    as_of_version_2(run.archive)
    outcome = resume(run.folder, 3)
    assert outcome.finished
    with Archive(run.archive, read_only=True) as archive:
        of_identity = [(n, e.training.seed) for n, e in archive.evaluations() if e.training.formula == X]
        functions = dict(archive.functions())
    seeds = [seed for _, seed in of_identity]
    assert len(set(seeds)) == len(seeds) >= IDENTITY_SEEDS
    assert functions[X.fingerprint].is_reference
    assert all(judged.result.gains for judged in functions.values() if judged.result.status is Status.OK)


def test_a_run_of_several_proxies_from_before_does_not_go_on_on_another_scale(tmp_path):
    run = train(make_config(proxies(tmp_path), 1, 4), "old", runs=tmp_path).run
    as_of_version_2(run.archive)
    with pytest.raises(
        RunError, match=r"whose rewards were on another scale, and cannot go on; begin a new run: rlsearch"
    ):
        resume(run.folder, 2)
    assert version_of(run.archive) == 2
    assert [str(judged.formula) for judged in top(run, 1, mirrors=True)]
