import json
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers import (
    InterruptAfter,
    Recorder,
    archive_rows,
    command,
    environment,
    make_config,
    proposals_after,
    proxies,
    rlsearch,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlsearch import resume, train
from rlsearch.errors import ConfigError, RlsearchError, RunError
from rlsearch.judging.archive import Archive
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.config import dump_config
from rlsearch.runs.folder import Run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def steps_by_tag(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def real_config(folder, **more):
    return make_config(proxies(folder), 6, 12, rescoring={"every": 2, "best": 4, "max_seeds": 4}, **more)


class Killed(BaseException):
    """As sudden as a signal: nothing catches it, and nothing is written after it."""


@contextmanager
def death(monkeypatch, moment):
    """Dies at the given one of all moments before and after something is written."""
    moments = 0

    def pass_by():
        nonlocal moments
        moments += 1
        if moments >= moment:
            raise Killed

    def dangerous(write):
        def wrapped(*arguments, **options):
            pass_by()
            write(*arguments, **options)
            pass_by()

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("add_evaluations", "add_round"):
            patch.setattr(Archive, name, dangerous(getattr(Archive, name)))
        import rlsearch.runs.train as training

        patch.setattr(training, "save_checkpoint", dangerous(training.save_checkpoint))
        patch.setattr(training.Monitor, "on_round", dangerous(training.Monitor.on_round))
        yield


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


def trained(folder):
    """The number of trainings in the archive of a process that is writing it; 0 before there is one."""
    try:
        with sqlite3.connect(f"file:{folder / 'archive.sqlite'}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()
        connection.close()
    except sqlite3.Error:
        return 0
    return count


def start(*arguments):
    return subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_for(condition, process):
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


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
    config = real_config(tmp_path)
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


def test_nothing_that_was_scored_is_asked_for_again(tmp_path):
    def config(log):
        return make_config({"target": "helpers_rewards:Size", "log": str(tmp_path / log)}, 6, 16)

    assert not train(config("log"), "a", events=InterruptAfter(3)).finished
    outcome = resume("runs/a")
    asked = (tmp_path / "log").read_text().split()
    assert len(asked) == len(set(asked)) == outcome.functions


@pytest.mark.parametrize(
    ("real", "overlap"), [(False, False), (True, False), (True, True)], ids=["free reward", "real proxies", "overlap"]
)
def test_more_rounds_equal_a_run_that_had_them_from_the_start(tmp_path, real, overlap):
    reward = {"reward": proxies(tmp_path)} if real else {}
    more = {"rescoring": {"every": 2, "best": 3}, "controller": {"overlap": overlap}, **reward}
    whole = train(make_config(rounds=5, **more), "whole")
    part = train(make_config(rounds=2, **more), "part")
    longer = resume("runs/part", 5)
    assert longer.finished
    assert longer.proposals == 40
    assert archive_rows(part.run.folder) == archive_rows(whole.run.folder)
    assert longer.leaderboard[0].result == whole.leaderboard[0].result
    assert longer.run.config == whole.run.config
    assert steps_by_tag(part.run.folder) == steps_by_tag(whole.run.folder)


def test_a_finished_run_resumes_to_its_leaderboard_and_does_nothing():
    run = train(make_config(), "a")
    before = archive_rows(run.run.folder)
    recorder = Recorder()
    again = resume("runs/a", events=recorder)
    assert again.finished
    assert recorder.calls == [("start", 2), ("end", 2)]
    assert [judged.formula for judged in again.leaderboard] == [judged.formula for judged in run.leaderboard]
    assert archive_rows(run.run.folder) == before
    assert load_checkpoint(run.run.checkpoint)["round"] == 2


def test_a_budget_may_be_cut_to_what_is_done_but_not_below():
    train(make_config(rounds=3), "a")
    config = Path("runs/a/config.yaml").read_text()
    for rounds in (2, 0, -1):
        with pytest.raises(ConfigError, match=f"has done 3 rounds already; expected at least that, got {rounds}"):
            resume("runs/a", rounds)
    assert Path("runs/a/config.yaml").read_text() == config
    assert resume("runs/a", 3).finished


def test_a_run_that_has_done_nothing_still_needs_a_round():
    train(make_config(rounds=3), "a", events=InterruptAfter(0, within=1))
    Path("runs/a/checkpoints/latest.pt").unlink()
    with pytest.raises(ConfigError, match="rounds: input should be greater than or equal to 1, got 0"):
        resume("runs/a", 0)
    assert resume("runs/a", 1).proposals == 8


class Hack:
    def __reduce__(self):
        return (Path.touch, (Path("hacked"),))


def garbage(path):
    path.write_bytes(b"garbage" * 1000)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def foreign_database(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cats (name)")
    connection.close()


def code(path):
    path.write_bytes(pickle.dumps(Hack()))


def torch_code(path):
    torch.save({"round": 1, "method": {"policy": Hack(), "optimiser": {}, "random_state": {}}}, path)


def other_tensors(path):
    torch.save({"weights": torch.zeros(3)}, path)


def other_policy(path):
    state = torch.load(path, weights_only=True)
    state["method"]["policy"] = {name: value[..., :1] for name, value in state["method"]["policy"].items()}
    torch.save(state, path)


def wrong_key(path):
    path.write_text(path.read_text().replace("rounds:", "rownds:"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("archive.sqlite", garbage, "archive.sqlite is not a readable archive"),
        ("archive.sqlite", half, "archive.sqlite is "),
        ("archive.sqlite", empty, "archive.sqlite is an archive of version 0; expected 3"),
        ("archive.sqlite", remove, "a is not a run of rlsearch: it has no archive.sqlite"),
        ("archive.sqlite", foreign_database, "archive.sqlite is an archive of version 0; expected 3"),
        ("checkpoints/latest.pt", garbage, "latest.pt is not a checkpoint of rlsearch"),
        ("checkpoints/latest.pt", half, "latest.pt is not a checkpoint of rlsearch"),
        ("checkpoints/latest.pt", empty, "latest.pt is not a checkpoint of rlsearch"),
        ("checkpoints/latest.pt", code, "latest.pt is not a checkpoint of rlsearch"),
        ("checkpoints/latest.pt", torch_code, "latest.pt is not a checkpoint of rlsearch"),
        ("checkpoints/latest.pt", other_tensors, "its contents are of another kind"),
        ("checkpoints/latest.pt", other_policy, "the checkpoint does not fit the run's config"),
        ("config.yaml", wrong_key, "a is damaged:\n.*config.yaml:[0-9]+: search.rownds: unknown key"),
        ("config.yaml", garbage, "the config of .*a is damaged"),
        ("meta.json", remove, "a is not a run of rlsearch: it has no meta.json"),
    ],
)
def test_a_damaged_run_is_refused_and_left_as_it_is(name, damage, message):
    run = train(make_config(rounds=3), "a").run
    damage(run.folder / name)
    kept = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file() and "events" not in p.name}
    with pytest.raises(RunError, match=message) as caught:
        resume("runs/a", 5)
    assert caught.value.exit_code == 2
    assert not Path("hacked").exists()
    for path, content in kept.items():
        assert path.read_bytes() == content or path.name == "config.yaml", path


def test_what_is_not_a_run_is_refused(tmp_path):
    train(make_config(rounds=1), "mine")
    with pytest.raises(RunError, match="there is no run runs/mein; there is runs/mine"):
        resume("runs/mein")
    with pytest.raises(RunError, match=r"there is no run runs/mine/meta\.json"):
        resume("runs/mine/meta.json")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a")
    with pytest.raises(RunError, match=r"photos is not a run of rlsearch: it has no config\.yaml"):
        resume("photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_one_process_at_a_time():
    run = train(make_config(rounds=1), "a").run
    with run.lock():
        with pytest.raises(RunError, match="runs/a is in use by another process"):
            resume("runs/a", 2)
        with pytest.raises(RunError, match="runs/a is in use by another process"):
            train(make_config(), "a", overwrite=True)
    assert resume("runs/a", 2).proposals == 16


def test_a_run_whose_reward_is_gone_is_refused_by_its_name():
    train(make_config({"target": "helpers_rewards:Size"}), "a")
    path = Path("runs/a/config.yaml")
    path.write_text(path.read_text().replace("helpers_rewards:Size", "helpers_rewards:Gone"))
    with pytest.raises(RlsearchError, match="helpers_rewards has no 'Gone'"):
        resume("runs/a", 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_run_of_a_device_that_is_not_here_is_refused():
    run = train(make_config(), "a").run
    run.config_path.write_text(run.config_path.read_text().replace("device: cpu", "device: cuda"))
    with pytest.raises(ConfigError, match="device 'cuda': torch sees 0 CUDA"):
        resume("runs/a", 3)


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
    assert all(line.startswith("round ") for line in said), err
    assert " rank " in out
    assert out.endswith("Stopped; everything is saved. Go on with: rlsearch train --resume runs/c\n")
    done = load_checkpoint(Run(Path("runs/c")).checkpoint)["round"]
    assert resume("runs/c", done + 1).finished


def test_a_run_goes_on_when_the_table_of_operators_has_grown(tmp_path):
    """Its costs know nothing of an operator that its language does not have."""
    folder = train(real_config(tmp_path), "old").run.folder
    costs = json.loads((folder / "latency.json").read_text())
    used = Run(folder).config.language.operators
    unused = next(name for name in costs["costs"] if name not in used)
    del costs["costs"][unused]
    (folder / "latency.json").write_text(json.dumps(costs))
    assert resume(folder, rounds=7).finished
    del costs["costs"][used[0]]
    (folder / "latency.json").write_text(json.dumps(costs))
    with pytest.raises(ConfigError, match=f"has no cost for the operator '{used[0]}'"):
        resume(folder, rounds=8)
