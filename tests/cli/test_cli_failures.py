"""Files that are damaged, and places that cannot be written."""

import os
import subprocess
import sys

import pytest
from helpers import SCRIPT, archive_rows, environment, make_config

from rlsearch import resume, train
from rlsearch.judging.archive import Archive
from rlsearch.runs.config import dump_config


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_config(**more):
    with open("c.yaml", "w") as file:
        file.write(dump_config(make_config(**more)))


def test_a_damaged_archive_is_a_message_for_every_reader(run):
    folder = train(make_config(rounds=4, formulas_per_round=32), "a").run.folder
    path = folder / "archive.sqlite"
    content = path.read_bytes()
    for damaged in (b"no database" * 500, content[:5000], content[:4096] + b"\x07" * (len(content) - 4096), b""):
        path.write_bytes(damaged)
        for arguments in (["top", folder], ["sample", folder], ["export", folder], ["train", "--resume", folder]):
            code, out, err = run(*arguments)
            assert (code, out) == (2, ""), arguments
            assert "archive.sqlite" in err


def test_a_failure_to_write_is_a_message_and_the_run_goes_on_later(run, monkeypatch, tmp_path):
    """First the archive fails, then the checkpoint, then TensorBoard."""
    from rlsearch.errors import StorageError

    whole = train(make_config(rounds=3), "whole").run.folder
    write_config(rounds=3)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    def full_archive(*arguments):
        raise StorageError("archive.sqlite cannot be written: database or disk is full. Resume the run later.")

    for name, owner, attribute, failure in (
        ("archive", Archive, "add_round", full_archive),
        ("checkpoint", __import__("torch"), "save", full),
        ("tensorboard", __import__("torch.utils.tensorboard", fromlist=["SummaryWriter"]).SummaryWriter, "flush", full),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, attribute, failure)
            code, out, err = run("train", "c.yaml", "--name", name)
        assert (code, out) == (1, "")
        assert err.startswith("rlsearch: ")
        assert "cannot be written" in err
        assert len(err.splitlines()) == 1
        assert "esume the run later" in err
        assert resume(f"runs/{name}").finished
        assert archive_rows(tmp_path / "runs" / name) == archive_rows(whole)


def test_a_full_disk_stops_the_run_and_it_goes_on_later(tmp_path):
    """Files may not grow beyond a limit that the archive of 60 rounds exceeds."""
    write_config(rounds=60, formulas_per_round=64)
    limited = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, -1)); "
        f"sys.argv = ['rlsearch', 'train', 'c.yaml']; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", limited], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("rlsearch: runs/c")
    assert "cannot be written" in message
    assert "esume the run later" in message
    stopped = len(archive_rows(tmp_path / "runs" / "c")["proposals"])
    assert 0 < stopped < 60 * 64
    outcome = resume(tmp_path / "runs" / "c", stopped // 64 + 2)
    assert outcome.finished
    whole = train(make_config(rounds=stopped // 64 + 2, formulas_per_round=64), "whole").run.folder
    assert archive_rows(outcome.run.folder) == archive_rows(whole)


def test_a_read_only_place_is_a_message(run, tmp_path):
    if os.geteuid() == 0:
        place = "/proc/rlsearch"
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        place = "closed/runs"
    write_config()
    code, out, err = run("train", "c.yaml", "--runs", place)
    assert (code, out) == (1, "")
    assert err.startswith(f"rlsearch: {place}/c cannot be made: ")
