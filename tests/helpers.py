"""Tiny configs, and what is common to the tests of whole runs."""

import math
import os
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

from rlsearch.formula import OPERATORS
from rlsearch.judging.judge import Judge
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.own import PlainReward
from rlsearch.rewards.staged import Evaluation
from rlsearch.runs.config import Config
from rlsearch.runs.events import RunEvents

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
SCRIPT = Path(sysconfig.get_path("scripts")) / "rlsearch"

CURVE = {"target": "rlsearch_envs:CurveReward", "curve": "silu(x)"}
DIGITS = {
    "dataset": "digits", "widths": [8], "epochs": 1, "train_size": 128, "validation_size": 64, "test_size": 64,
    "batch_size": 32, "population": 4,
}  # fmt: skip


def make_config(reward=CURVE, rounds=2, formulas_per_round=8, **more):
    """A config that takes well under a second, with a free reward unless told otherwise."""
    search = {"rounds": rounds, "formulas_per_round": formulas_per_round, **more.pop("search", {})}
    return Config.check({"device": "cpu", "workers": 1, "search": search, "reward": reward, **more})


def proposals_after(rounds, formulas_per_round=8):
    """Proposals after each round."""
    return [(i + 1) * formulas_per_round for i in range(rounds)]


class NoArchive:
    """Forgets everything: the archive of a judge that no one resumes."""

    def proposals(self, before_round):
        return 0

    def evaluations(self):
        return ()

    def spellings(self, before_round):
        return ()

    def add_evaluations(self, round_number, evaluations):
        pass

    def add_round(self, round_number, proposals, functions):
        pass

    def begin_at(self, round_number, functions):
        pass


def evaluated(training, score=None, status=Status.OK, *, wall_seconds=0.0, outside=None, **more):
    """What became of a training."""
    return Evaluation(training, RewardResult(math.nan, status, score, **more), wall_seconds, outside)


class Recorder(RunEvents):
    """Remembers what it is told; ``calls`` has all of it in order, as tuples."""

    def __init__(self):
        self.calls = []

    def on_start(self, judge):
        self.calls.append(("start", judge.round))

    def on_progress(self, what, done, wanted):
        self.calls.append(("progress", what, done, wanted))

    def on_round(self, judge, scalars):
        leader = judge.leaderboard(1)
        self.calls.append(("round", judge.round, judge.candidates, leader[0] if leader else None))

    def on_end(self, judge):
        self.calls.append(("end", judge.round))

    @property
    def progress(self):
        return [call[1:] for call in self.calls if call[0] == "progress"]

    @property
    def rounds(self):
        return [call[1:] for call in self.calls if call[0] == "round"]


class InterruptAfter(RunEvents):
    """Stops a run after so many rounds; or within the next, when so many of its populations are done."""

    def __init__(self, rounds, within=0):
        self.rounds = rounds
        self.within = within
        self.populations = None

    def on_start(self, judge):
        self._begin(judge.round)

    def on_progress(self, what, done, wanted):
        if self.populations is not None:
            self.populations += 1
            if self.populations == self.within:
                raise KeyboardInterrupt

    def on_round(self, judge, scalars):
        self._begin(judge.round)
        if judge.round == self.rounds and not self.within:
            raise KeyboardInterrupt

    def _begin(self, number):
        self.populations = 0 if number == self.rounds else None


def make_judge(reward, archive=None, first_round=0):
    """A judge of a plain reward, without an archive unless one is given."""
    return Judge(PlainReward(reward, "r"), archive or NoArchive(), lambda i: i, first_round=first_round)


def proxies(folder, **more):
    """A default reward of two tiny proxies, whose latency costs come from a file and so need no calibration."""
    path = folder / "costs.json"
    if not path.exists():
        LatencyCosts("costs of a test", 0.5, dict.fromkeys(OPERATORS, 0.5)).save(path)
    settings = {"proxies": [DIGITS, DIGITS | {"widths": [12]}], "baseline_seeds": 2, "latency_costs": str(path)}
    return settings | more


def archive_rows(run):
    """Everything in the archive of a run folder but the wall times, in order."""
    with sqlite3.connect(f"file:{run / 'archive.sqlite'}?mode=ro", uri=True) as connection:
        proposals = connection.execute("SELECT * FROM proposals ORDER BY round, slot").fetchall()
        columns = "id, round, fingerprint, formula, protocol, seed, status, score, latency, value, message"
        evaluations = connection.execute(f"SELECT {columns} FROM evaluations ORDER BY id").fetchall()
        functions = connection.execute("SELECT * FROM functions ORDER BY number").fetchall()
    connection.close()
    return {"proposals": proposals, "evaluations": evaluations, "functions": functions}


def command(*arguments):
    """The command line of ``rlsearch arguments``, with warnings as errors."""
    return [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)]


def environment(**more):
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "COLUMNS": "80", "PYTHONPATH": path, **more}


def rlsearch(*arguments, cwd=None, timeout=120, **variables):
    """Runs the command in a process of its own; returns it with its output as text."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=timeout
    )
