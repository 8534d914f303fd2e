"""What is there to begin with, and what is there already: ``init``, ``runs`` and the program's own options."""

import json
import subprocess
import sys
import threading

import pytest
from helpers import CONFIGS, make_config

from rlsearch import __version__, resume, train
from rlsearch.cli.init import find_templates
from rlsearch.runs.config import load_config
from rlsearch.runs.folder import Run
from rlsearch.runs.overview import summary_of


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_the_version(run):
    assert run("--version") == (0, f"rlsearch {__version__}\n", "")


def test_the_package_is_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-m", "rlsearch", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"rlsearch {__version__}\n")


def test_the_shell_can_complete(run, monkeypatch):
    # Which shell this runs in is not asked: a job in the background may have none.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "_rlsearch_completion" in run("--show-completion", "bash")[1]


def test_the_templates_are_listed(run):
    code, out, err = run("init")
    assert (code, err) == (0, "")
    assert out.splitlines()[2].split(maxsplit=1) == ["quickstart", "A useful result in minutes on a laptop"]
    assert {path.stem for path in CONFIGS} | {"my-network"} <= set(find_templates())


@pytest.mark.parametrize("name", sorted(find_templates()))
def test_a_template_is_a_valid_config_where_it_was_written(run, tmp_path, name):
    code, out, err = run("init", name, "--folder", "new")
    assert (code, err) == (0, "")
    written = find_templates()[name]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(file.name for file in written)
    config = f"new/{written[0].name}"
    assert out.endswith(f". Next:\n  rlsearch train {config}\n")
    assert run("config", "check", config)[0] == 0
    there, here = (load_config(path).model_copy(update={"code": None}) for path in (config, written[0]))
    assert there == here


def test_nothing_is_overwritten(run, tmp_path):
    (tmp_path / "my_network.py").write_text("mine")
    code, out, err = run("init", "my-network")
    assert (code, out) == (2, "")
    assert err == "rlsearch: my_network.py exists already; it is not overwritten (--folder writes elsewhere)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["my_network.py"]


def test_an_unknown_template_is_told_with_the_nearest(run):
    code, _, err = run("init", "quikstart")
    assert code == 2
    assert err.startswith("rlsearch: there is no template 'quikstart'; did you mean 'quickstart'? (known: quickstart, ")


def test_runs_are_listed_with_their_state(run):
    stopped = train(make_config(rounds=1), "old").run
    stopped.note(finished=False)
    train(make_config(rounds=2), "new")
    code, out, err = run("runs")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if "runs/" in line]
    assert [line[:2] for line in lines] == [["runs/old", "stopped"], ["runs/new", "finished"]]
    rows = json.loads(run("runs", "--json")[1])
    assert [row["run"] for row in rows] == ["runs/old", "runs/new"]
    assert [row["rounds"] for row in rows] == [1, 2]
    assert all(isinstance(row["reward"], float) for row in rows)
    assert run("runs", "--newest") == (0, "runs/new\n", "")


def test_a_run_that_is_made_longer_is_finished_at_its_end(tmp_path):
    ran = train(make_config(rounds=1), "r").run
    assert summary_of(ran).state == "finished"
    with ran.lock():
        assert summary_of(Run(ran.folder)).state == "running"
    resume(ran.folder, rounds=3)
    assert (summary_of(ran).state, summary_of(ran).rounds) == ("finished", 3)


def test_damaged_runs_and_those_of_earlier_versions_are_listed_too(tmp_path):
    ran = train(make_config(rounds=1), "r").run
    meta = ran.read_meta()
    del meta["finished"]
    ran.meta.write_text(json.dumps(meta))
    assert summary_of(ran).state == "unknown"
    ran.archive.write_text("nothing")
    assert summary_of(ran).state == "damaged"
    assert summary_of(ran).best is None


def test_one_damaged_run_hides_no_other(run, tmp_path):
    train(make_config(rounds=1), "good")
    train(make_config(rounds=1), "bad").run.meta.write_text("{")
    code, out, _ = run("runs")
    assert code == 0
    assert sorted(line.split()[:2] for line in out.splitlines() if "runs/" in line) == [
        ["runs/bad", "damaged"], ["runs/good", "finished"],
    ]  # fmt: skip


def test_whoever_asks_whether_a_run_is_in_use_keeps_nobody_out(tmp_path):
    """Asking takes the lock for a moment; who wants it waits longer than that."""
    ran = train(make_config(rounds=1), "r").run
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            ran.is_in_use()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            with Run(ran.folder).lock():
                pass
    finally:
        stop.set()
        asking.join()
    with ran.lock():
        assert ran.is_in_use()


@pytest.mark.parametrize(
    ("made", "message"), [(False, "there is no folder runs; expected one"), (True, "runs has no run yet; rlsearch ")]
)
def test_no_runs_is_told(run, tmp_path, made, message):
    if made:
        (tmp_path / "runs").mkdir()
    code, out, err = run("runs")
    assert (code, out) == (2, "")
    assert err.startswith(f"rlsearch: {message}")
