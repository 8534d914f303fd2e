import json
import pickle
import sqlite3
from pathlib import Path

import pytest
import torch
from helpers import InterruptAfter, Recorder, archive_rows, make_config, proxies
from helpers_deaths import steps_by_tag

from rlsearch import resume, train
from rlsearch.errors import ConfigError, RlsearchError, RunError
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.folder import Run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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


def test_a_run_goes_on_when_the_table_of_operators_has_grown(tmp_path):
    """Its costs know nothing of an operator that its language does not have."""
    folder = train(make_config(proxies(tmp_path), 6, 12), "old").run.folder
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
