"""A run that dies, or is stopped, at any moment ends as if it had not."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from helpers import archive_rows, make_config, proposals_after, proxies, rlsearch
from helpers_deaths import Killed, death, start, steps_by_tag, trained, wait_for

from rlsearch import resume, train
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.config import dump_config
from rlsearch.runs.folder import Run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def resumed_after_deaths(monkeypatch, config, *, every, first):
    """Kills a new run at one moment after the other, until one ends alive; yields how each ends when it is resumed."""
    for moment in range(first, 1000, every):
        try:
            with death(monkeypatch, moment):
                train(config, f"dies-{moment}")
        except Killed:
            yield moment, resume(f"runs/dies-{moment}")
        else:
            return


def test_a_run_that_dies_before_or_after_any_write_ends_as_if_it_had_not(monkeypatch, tmp_path):
    config = make_config(proxies(tmp_path), 2, 6, rescoring={"every": 1, "best": 2, "max_seeds": 3})
    expected = archive_rows(train(config, "whole").run.folder)
    deaths = 0
    # A third of all moments, of both kinds.
    for moment, outcome in resumed_after_deaths(monkeypatch, config, every=3, first=1):
        deaths += 1
        assert outcome.finished
        assert archive_rows(outcome.run.folder) == expected, moment
        steps = steps_by_tag(outcome.run.folder)
        assert set(map(tuple, steps.values())) == {(6, 12)}, moment
    # Baseline and every round: evaluations by population and proxy, rescoring, the round; and three checkpoints.
    assert deaths >= 2 * (2 + 2 * 4 + 3) // 3


def test_a_run_that_dies_in_every_session_ends_all_the_same(monkeypatch, tmp_path):
    config = make_config(proxies(tmp_path), 2, 6, rescoring={"every": 1, "best": 2, "max_seeds": 3})
    expected = archive_rows(train(config, "whole").run.folder)
    sessions = 1
    with pytest.raises(Killed), death(monkeypatch, 3):
        train(config, "mortal")
    while sessions < 40:
        sessions += 1
        try:
            with death(monkeypatch, 8):  # the second checkpoint of a session is written
                resume("runs/mortal")
        except Killed:
            continue
        break
    assert 4 < sessions < 40
    assert archive_rows(Path("runs/mortal")) == expected


@pytest.mark.parametrize(
    ("method", "overlap"), [("random", False), ("evolution", False), ("exhaustive", False), ("ppo", True)]
)
def test_any_method_dies_and_ends_as_if_it_had_not(monkeypatch, tmp_path, method, overlap):
    """With real proxies, which screen first: the population is of functions in the order of their proposals."""
    config = make_config(
        proxies(tmp_path), 4, 6, search={"method": method}, evolution={"population": 7, "tournament": 3},
        rescoring={"every": 2, "best": 2, "max_seeds": 3}, language={"max_length": 6}, controller={"overlap": overlap},
    )  # fmt: skip
    whole = train(config, "whole").run.folder
    deaths = 0
    for moment, outcome in resumed_after_deaths(monkeypatch, config, every=14, first=11):
        deaths += 1
        assert archive_rows(outcome.run.folder) == archive_rows(whole), moment
        # Event files of one process and one second are read in the order of "9" and "10", so not always in ours.
        steps = {tuple(sorted(steps)) for steps in steps_by_tag(outcome.run.folder).values()}
        late = {(12, 18, 24)} if overlap else set()  # what is said of learning, which begins a round late
        assert steps == {(6, 12, 18, 24), *late}, moment
    assert deaths >= 3


def kill_at(moments, config, dice):
    """Trains by the command, killing the process when it has done each of the given shares of its trainings."""
    Path("c.yaml").write_text(dump_config(config))
    whole = archive_rows(train(config, "whole").run.folder)
    folder = Path("runs/killed")
    for moment in moments:
        arguments = ["--resume", folder] if folder.exists() else ["c.yaml", "--name", "killed"]
        process = start("train", *arguments)
        wait_for(lambda m=moment: trained(folder) >= m * len(whole["evaluations"]) and folder.exists(), process)
        time.sleep(dice.random() * 0.05)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.communicate()
    if not (folder / "archive.sqlite").exists():
        folder.rmdir()
    last = rlsearch("train", "--resume", folder)
    assert last.returncode == 0, last.stderr
    assert archive_rows(folder) == whole
    return folder, last


def test_a_run_that_is_killed_twice_equals_one_that_never_was(tmp_path):
    config = make_config(proxies(tmp_path), 6, 12, rescoring={"every": 2, "best": 4, "max_seeds": 4})
    folder, last = kill_at([0.001, 0.6], config, random.Random(0))
    assert "72 proposals" in last.stdout
    for tag, steps in steps_by_tag(folder).items():
        assert steps == proposals_after(6, 12), tag


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_ten_kills_at_random_moments(tmp_path):
    dice = random.Random(0)
    config = make_config(
        proxies(tmp_path, seeds=2), 20, 32, workers=2, rescoring={"every": 3, "best": 4, "max_seeds": 4}
    )
    folder, _ = kill_at(sorted(dice.random() for _ in range(10)), config, dice)
    for tag, steps in steps_by_tag(folder).items():
        assert steps == proposals_after(20, 32), tag
    print(f"ten kills; {len(archive_rows(folder)['evaluations'])} trainings, none lost, none done twice")


@pytest.mark.parametrize(
    ("number", "workers", "overlap"),
    [
        (signal.SIGTERM, 1, False),
        (signal.SIGINT, 1, True),
        pytest.param(signal.SIGINT, 2, False, marks=pytest.mark.benchmark),
    ],
    ids=str,
)
def test_an_interrupt_ends_cleanly_and_says_how_to_go_on(tmp_path, number, workers, overlap):
    config = make_config(proxies(tmp_path), 500, 12, workers=workers, controller={"overlap": overlap})
    Path("c.yaml").write_text(dump_config(config))
    process = start("train", "c.yaml")
    wait_for(lambda: trained(Path("runs/c")) > 10, process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: every process of the group gets it
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    # What trains so little cannot tell functions apart, which is said too.
    beginnings = ("calibrating ", "training the references ")
    said = [line for line in err.splitlines() if "cannot tell activations apart" not in line]
    said = [line for line in said if not line.startswith(beginnings)]
    assert all(line.startswith(("round ", "stopping as soon as ")) for line in said if line), err
    assert " rank " in out
    assert out.endswith("Stopped; everything is saved. Go on with: rlsearch train --resume runs/c\n")
    done = load_checkpoint(Run(Path("runs/c")).checkpoint)["round"]
    assert resume("runs/c", done + 1).finished
