import math
import os
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CURVE, DIGITS, archive_rows, command, environment, make_config, proxies, rlsearch

from rlsearch import Formula, Status, export, resume, train
from rlsearch.common.seeds import fresh_seed, search_seed
from rlsearch.errors import ConfigError, InputError, RunError
from rlsearch.formula.simplify import simplified
from rlsearch.runs import read as results
from rlsearch.runs.events import RunEvents
from rlsearch.runs.folder import Run
from rlsearch.runs.sample import sample
from rlsearch.studies import evaluate as evaluation

parse = Formula.parse


@pytest.fixture(scope="module")
def curve_run(tmp_path_factory):
    """A run that has converged far enough to repeat itself."""
    config = make_config(rounds=12, formulas_per_round=64, language={"max_length": 4, "operators": ["sigmoid", "mul"]})
    return train(config, "curve", runs=tmp_path_factory.mktemp("runs")).run


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return train(
        make_config(proxies(folder), 3, 12, seed=3, rescoring={"every": 2, "best": 4}), "real", runs=folder
    ).run


def test_samples_are_functions_and_their_counts_sum_to_what_was_asked(curve_run):
    samples = sample(curve_run, 200)
    assert sum(s.count for s in samples) == 200
    assert len({s.formula.fingerprint for s in samples}) == len(samples) < 200
    assert [s.count for s in samples] == sorted((s.count for s in samples), reverse=True)
    grammar = curve_run_grammar(curve_run)
    assert all(grammar.min_length <= s.formula.size <= grammar.max_length for s in samples)


def curve_run_grammar(run):
    return run.config.language.grammar()


def test_samples_carry_what_the_run_knows_of_them(curve_run):
    stored = {row[3]: row[6] for row in archive_rows(curve_run.folder)["proposals"]}
    samples = sample(curve_run.folder, 100)
    known = [s for s in samples if s.result is not None]
    assert known
    for s in known:
        assert s.result.value == stored[s.formula.fingerprint]
    assert all(s.formula.fingerprint not in stored for s in samples if s.result is None)


def test_the_seed_of_sampling_decides_the_samples_alone(curve_run):
    def written(**options):
        return [(s.formula, s.count) for s in sample(str(curve_run.folder), 50, **options)]

    first = written()
    torch.manual_seed(99)
    np.random.seed(99)
    assert written(seed=0) == first
    assert written(seed=1) != first


def test_the_greedy_formula_is_one_whatever_the_seed(curve_run):
    (only,) = sample(curve_run, 50, greedy=True)
    assert only.count == 1
    assert sample(curve_run, 3, greedy=True, seed=8) == [only]
    likely = [s.formula.fingerprint for s in sample(curve_run, 200)]
    assert only.formula.fingerprint in likely


def test_sampling_leaves_the_callers_random_numbers_and_threads_alone(curve_run):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate(), torch.get_num_threads()
    sample(curve_run, 5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
    assert torch.get_num_threads() == before[3]


@pytest.mark.parametrize("count", [0, -3])
def test_nothing_asked_for_is_refused(curve_run, count):
    with pytest.raises(InputError, match=f"expected at least one formula to sample, got {count}"):
        sample(curve_run, count)
    with pytest.raises(InputError, match=f"expected at least one function to show, got {count}"):
        results.top(curve_run, count, mirrors=True)
    with pytest.raises(InputError, match=f"expected 1 to 1000 seeds, got {count}"):
        evaluation.evaluate([parse("x")], make_config(), seeds=count)


def test_the_top_is_the_archives_best_functions_in_order(curve_run):
    board = results.top(curve_run, 5, mirrors=True)
    best = {}
    for row in archive_rows(curve_run.folder)["proposals"]:
        best[row[3]] = max(row[6], best.get(row[3], -math.inf))
    assert [judged.result.value for judged in board] == sorted(best.values(), reverse=True)[:5]
    assert all(best[judged.formula.fingerprint] == judged.result.value for judged in board)
    assert results.top(curve_run, 3, mirrors=True) == board[:3]


def test_reading_a_run_changes_nothing_in_it(curve_run):
    def contents():  # but the lock and SQLite's empty companions, which a reader makes
        files = {path: path.read_bytes() for path in curve_run.folder.rglob("*") if path.is_file()}
        return {path: content for path, content in files.items() if content and path.suffix != ".sqlite-shm"}

    before = contents()
    results.top(curve_run, mirrors=True)
    sample(curve_run, 5)
    assert contents() == before


def test_a_run_that_is_being_written_can_be_read(curve_run):
    with curve_run.lock():
        assert results.top(curve_run, 1, mirrors=True)
        assert sample(curve_run, 1)


def test_a_run_without_a_formula_has_no_best(tmp_path):
    run = train(make_config({"target": "helpers_rewards:unfit"}), "none", runs=tmp_path).run
    assert results.top(run, mirrors=True) == []
    with pytest.raises(RunError, match="none has no formula with a score yet"):
        export(run)


def test_what_the_search_saw_is_read_back_as_it_was(real_run):
    board = results.top(real_run, 100, mirrors=True)
    rows = archive_rows(real_run.folder)["evaluations"]
    relu = next(judged for judged in board if judged.formula == parse("relu(x)"))
    assert relu.result.value == pytest.approx(0.0, abs=1e-12)
    assert relu.seeds >= 2
    for judged in board:
        assert judged.seeds == len({row[5] for row in rows if row[2] == judged.formula.fingerprint})
        assert judged.result.status is Status.OK


def test_the_seeds_of_a_search_and_those_of_its_check_are_disjoint():
    for run_seed in (0, 1, 7):
        search = {search_seed(run_seed, i) for i in range(1000)}
        fresh = {fresh_seed(run_seed, i) for i in range(1000)}
        assert not search & fresh
        assert not (search | fresh) & {search_seed(run_seed + 1, i) for i in range(1000)}


def test_an_export_can_be_imported_and_is_the_same_function(curve_run, tmp_path):
    formula = simplified(results.top(curve_run, 1, mirrors=True)[0].formula)
    namespace = {}
    exec(compile(export(formula), "exported", "exec"), namespace)
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    assert torch.equal(namespace["Activation"]()(x), formula.to_module()(x))
    assert export(formula, "latex").endswith("\n\n" + formula.latex() + "\n")


class Hack:
    def __reduce__(self):
        return (Path.touch, (Path("hacked"),))


def test_nothing_in_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(make_config(), "a").run
    torch.save({"round": 1, "policy": Hack(), "optimiser": {}, "random_state": {}}, run.checkpoint)
    with pytest.raises(RunError, match="is not a checkpoint of rlsearch"):
        sample(run)
    run.checkpoint.write_bytes(pickle.dumps(Hack()))
    with pytest.raises(RunError, match="is not a checkpoint of rlsearch"):
        sample(run)
    assert not Path("hacked").exists()
    pickle.loads(pickle.dumps(Hack()))
    assert Path("hacked").exists()  # so the test would have seen it
    run.checkpoint.unlink()
    with pytest.raises(RunError, match="the run has not begun its first round"):
        sample(run)
    assert results.top(run, mirrors=True)


def test_a_run_whose_reward_is_gone_can_still_be_read(tmp_path):
    run = train(make_config({"target": "helpers_rewards:Size"}), "a", runs=tmp_path).run
    board = results.top(run, mirrors=True)
    run.config_path.write_text(run.config_path.read_text().replace("helpers_rewards:Size", "gone_package:Size"))
    assert [judged.formula for judged in results.top(run, mirrors=True)] == [judged.formula for judged in board]
    assert all(s.formula for s in sample(run, 5))


def test_a_run_that_stands_in_its_baseline_can_be_read(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("rlsearch.runs.train.save_checkpoint", interrupt)
    config = make_config(proxies(tmp_path))
    monkeypatch.setattr("rlsearch.judging.judge.Judge._take_up", lambda self: interrupt(None))
    run = train(config, "a", runs=tmp_path).run
    assert results.top(run, mirrors=True) == []


def test_folders_may_be_given_in_any_form(curve_run):
    expected = results.top(curve_run, 1, mirrors=True)
    assert results.top(str(curve_run.folder), 1, mirrors=True) == results.top(Path(curve_run.folder), 1) == expected
    assert CURVE["curve"] == "silu(x)"
    assert expected[0].formula.fingerprint == parse("silu(x)").fingerprint


def test_a_staged_reward_of_ones_own_is_read_as_it_was(tmp_path):
    """Neither its proxies nor its arithmetic are known to a reader; the archive has what came of them."""
    outcome = train(make_config({"target": "helpers_rewards:Staged"}, rounds=3), "staged", runs=tmp_path)
    board = results.top(outcome.run, 100, mirrors=True)
    assert [(j.formula, j.result, j.seeds) for j in board[:10]] == [
        (j.formula, j.result, j.seeds) for j in outcome.leaderboard
    ]
    history = results.read_history(outcome.run)
    assert len(history.known) == outcome.functions
    assert evaluation.evaluate([], make_config({"proxies": [DIGITS]}), run=outcome.run, best=1, seeds=1)


def test_a_history_is_what_the_judge_knew(real_run, tmp_path):
    """Also after rescoring, and in the order in which functions came."""
    config = make_config(proxies(tmp_path), 3, 12, seed=3, rescoring={"every": 2, "best": 4})
    judges = []

    class Keep(RunEvents):
        def on_end(self, judge):
            judges.append(judge)

    run = train(config, "again", runs=tmp_path, events=Keep()).run
    known = results.read_history(run).known
    assert list(known) == list(judges[0].known)
    for fingerprint, judged in judges[0].known.items():
        read = known[fingerprint]
        assert (read.formula, read.result, read.seeds, read.rung) == (
            judged.formula, judged.result, judged.seeds, judged.rung,
        )  # fmt: skip
        assert read.is_reference == judged.is_reference


READER = """
import sys
for name in ("torch", "numba", "triton", "stable_baselines3", "gymnasium", "sklearn", "matplotlib"):
    sys.modules[name] = None  # as if it were not installed
from rlsearch import top
from rlsearch import export
board = top(sys.argv[1], 3, mirrors=True)
print(len(board), board[0].formula)
assert "def forward" in export(board[0].formula)
"""


def test_a_run_can_be_read_where_nothing_is_installed_that_made_it(real_run):
    read = subprocess.run([sys.executable, "-c", READER, str(real_run.folder)], capture_output=True, text=True)
    assert read.stderr == ""
    assert read.stdout == f"3 {results.top(real_run, 1, mirrors=True)[0].formula}\n"


FOREIGN = """
reward:
  proxies:
    - target: "evil:network"
      source: "0123456789abcdef"
      batched: true
      population: 4
      data: {target: "evil:data"}
"""


@pytest.mark.parametrize("verb", ["top", "sample", "export"])
def test_reading_a_foreign_run_imports_nothing_that_it_names(curve_run, tmp_path, verb):
    """Neither what the config names nor what lies in the current folder, whatever it is called."""
    shutil.copytree(curve_run.folder, tmp_path / "runs" / "foreign")
    run = Run.open(tmp_path / "runs" / "foreign")
    text = run.config_path.read_text()
    start, end = text.index("reward:"), text.index("status_values:")
    run.config_path.write_text(text[:start] + FOREIGN.lstrip() + text[end:])
    for module in ("evil", "dill", "ruamel", "helpers_rewards"):
        (tmp_path / f"{module}.py").write_text("from pathlib import Path; Path('imported').touch()")
    done = rlsearch(verb, "runs/foreign", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists()
    (tmp_path / "c.yaml").write_text("reward: {target: 'evil:Reward'}")
    assert "evil has no 'Reward'" in rlsearch("train", "c.yaml", cwd=tmp_path).stderr
    assert (tmp_path / "imported").exists()  # so the test would have seen it


def made_by_an_earlier_version(folder, **more):
    """A run as it was before archives had a table of functions."""
    run = train(make_config(**more), folder.name, runs=folder.parent).run
    with sqlite3.connect(run.archive) as connection:
        connection.execute("DROP TABLE functions")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    text = run.config_path.read_text()
    run.config_path.write_text(text.replace("status_values: {", "status_values: {illegal: -1.0, "))
    assert "illegal" in run.config_path.read_text()
    return Run.open(run.folder)


def test_a_run_of_an_earlier_version_is_told_and_brought_up_to_date(tmp_path):
    expected = results.top(train(make_config(), "new", runs=tmp_path).run)
    run = made_by_an_earlier_version(tmp_path / "old")
    with pytest.raises(RunError, match=r"made by an earlier version of rlsearch; .* rlsearch train --resume"):
        results.top(run, mirrors=True)
    resume(run.folder)
    assert results.top(run, mirrors=True) == expected


def test_a_run_is_brought_up_to_date_at_once_or_not_at_all(tmp_path, monkeypatch):
    run = made_by_an_earlier_version(tmp_path / "old")
    with monkeypatch.context() as patch:
        patch.setattr("rlsearch.runs.train.make_reward", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            resume(run.folder)
    with pytest.raises(RunError, match="made by an earlier version"):
        results.top(run, mirrors=True)


def test_a_budget_of_a_run_of_an_earlier_version_is_known(tmp_path):
    run = made_by_an_earlier_version(tmp_path / "old", rounds=500, search={"candidates": 20})
    with pytest.raises(ConfigError, match="larger number of candidates, too"):
        resume(run.folder, rounds=501)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root writes anywhere")
def test_a_run_in_a_folder_that_cannot_be_written_is_read(real_run, tmp_path):
    """As somebody else's on a shared disk; root has to give up its right to write anywhere."""
    copy = tmp_path / "runs" / "theirs"
    shutil.copytree(real_run.folder, copy, ignore=shutil.ignore_patterns("evaluate", "*-wal", "*-shm"))
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.geteuid() == 0 else []
    read = subprocess.run(
        [*drop, *command("top", copy)], capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=60
    )
    assert read.stderr == ""
    assert "reward" in read.stdout
