import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from rlsearch.errors import RunError, StorageError
from rlsearch.judging.archive import Archive
from rlsearch.runs.folder import Run
from rlsearch.runs.train import _claimed


def make_run(folder):
    run = Run.create(folder)
    run.write_meta(seed=7)
    run.config_path.write_text("seed: 7\n")
    Archive(run.archive, create=True).close()
    return run


def test_where_everything_lies(tmp_path):
    run = Run(tmp_path / "a")
    assert run.name == "a"
    paths = [run.config_path, run.archive, run.checkpoint, run.latency_costs, run.meta]
    assert [str(p.relative_to(tmp_path)) for p in paths] == [
        "a/config.yaml", "a/archive.sqlite", "a/checkpoints/latest.pt", "a/latency.json", "a/meta.json",
    ]  # fmt: skip


def test_create_and_open(tmp_path):
    run = make_run(tmp_path / "runs" / "deep" / "a")
    assert Run.open(run.folder) == run
    assert run.read_meta()["seed"] == 7


def test_an_empty_folder_may_become_a_run(tmp_path):
    (tmp_path / "a").mkdir()
    assert Run.create(tmp_path / "a").folder == tmp_path / "a"


def test_an_existing_run_is_kept_unless_asked(tmp_path):
    run = make_run(tmp_path / "a")
    (run.folder / "notes.txt").write_text("precious")
    with pytest.raises(RunError, match="a exists already: go on with --resume, or choose another --name, or --overwr"):
        Run.create(run.folder)
    assert (run.folder / "notes.txt").read_text() == "precious"
    assert Run.create(run.folder, overwrite=True) == run
    assert list(run.folder.iterdir()) == []


def test_what_was_killed_before_it_became_a_run_may_be_overwritten(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").touch()
    assert Run.create(tmp_path / "a", overwrite=True).folder.is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_folder_or_file_is_never_overwritten(tmp_path, overwrite):
    folder, file = tmp_path / "thesis", tmp_path / "file"
    folder.mkdir()
    (folder / "chapter.txt").write_text("precious")
    file.write_text("precious")
    message = "is not a run of rlsearch; it is not overwritten" if overwrite else "exists already"
    for path in (folder, file):
        with pytest.raises(RunError, match=message):
            Run.create(path, overwrite=overwrite)
    assert (folder / "chapter.txt").read_text() == "precious"
    assert file.read_text() == "precious"


def test_a_run_in_use_is_not_overwritten(tmp_path):
    run = make_run(tmp_path / "a")
    with run.lock(), pytest.raises(RunError, match="in use by another process"):
        Run.create(run.folder, overwrite=True)
    assert run.meta.exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        Run.create(tmp_path / "file" / "a")


def test_a_missing_run_names_those_that_are_there(tmp_path):
    make_run(tmp_path / "first")
    make_run(tmp_path / "second")
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match=r"there is no run .*third; there is .*first, .*second$"):
        Run.open(tmp_path / "third")
    with pytest.raises(RunError, match=r"there is no run \S+$"):
        Run.open(tmp_path / "nowhere" / "third")


def test_what_may_have_been_meant_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    make_run(Path("runs") / "first")
    for typed in ("first", "runs\\first"):
        with pytest.raises(RunError, match=r"; did you mean runs/first\?$"):
            Run.open(Path(typed))
    with pytest.raises(RunError, match=r"runs is not a run of rlsearch: .*; it has the run\(s\) runs/first$"):
        Run.open(Path("runs"))


@pytest.mark.parametrize("missing", ["config.yaml", "meta.json", "archive.sqlite"])
def test_a_folder_that_lacks_something_is_no_run(tmp_path, missing):
    run = make_run(tmp_path / "a")
    (run.folder / missing).unlink()
    with pytest.raises(RunError, match=f"is not a run of rlsearch: it has no {missing}"):
        Run.open(run.folder)


def test_meta_says_what_it_was_made_with(tmp_path):
    run = make_run(tmp_path / "a")
    meta = json.loads(run.meta.read_text())
    assert meta["versions"].keys() == {"rlsearch", "torch", "stable-baselines3", "gymnasium", "numpy"}
    assert meta["python"] == ".".join(map(str, sys.version_info[:3]))
    assert meta["created"].endswith("+00:00")


@pytest.mark.parametrize("content", ["", "{", "[1]", '"a"', "\xff"])
def test_damaged_meta(tmp_path, content):
    run = make_run(tmp_path / "a")
    run.meta.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"meta\.json"):
        run.read_meta()


def test_one_writer_in_this_process(tmp_path):
    run = make_run(tmp_path / "a")
    message = "a is in use by another process; wait for it or stop it"
    with run.lock(), pytest.raises(RunError, match=message), run.lock():
        pass
    with run.lock():
        pass
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError
    with run.lock():  # an error gives it back
        assert Run.open(run.folder) == run


HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from rlsearch.runs.folder import Run\n"
    "with Run(Path(sys.argv[1])).lock():\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.readline()\n"
)


def test_one_writer_among_processes(tmp_path):
    run = make_run(tmp_path / "a")
    command = [sys.executable, "-c", HOLD, str(run.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(RunError, match="in use by another process"), run.lock():
                pass
        finally:
            other.kill()
            other.wait(timeout=30)
    with run.lock():  # a killed process holds nothing
        assert run.meta.exists()


def test_no_lock_without_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be locked"), Run(tmp_path / "file").lock():
        pass


def test_changed_versions(tmp_path):
    run = Run.create(tmp_path / "a")
    run.write_meta()
    assert run.changed_versions() == {}
    run.meta.write_text(run.meta.read_text().replace(version("torch"), "2.8.0"))
    assert run.changed_versions() == {"torch": ("2.8.0", version("torch"))}


def test_searches_that_start_at_one_moment_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        claimed = list(threads.map(lambda _: _claimed(tmp_path / "runs", "q", overwrite=False), range(24)))
    assert {folder.name for folder in claimed} == {"q"} | {f"q-{i}" for i in range(2, 25)}
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        _claimed(tmp_path / "file", "q", overwrite=False)
