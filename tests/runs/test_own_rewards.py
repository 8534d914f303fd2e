"""Whole runs on a user's own reward."""

import json
import os
import shutil
import sys

import pytest
import torch
from helpers import archive_rows, make_config, proxies, rlsearch

from rlsearch import Formula, resume, train
from rlsearch.errors import ConfigError, InputError
from rlsearch.runs.config import dump_config, load_config

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("method", ["ppo", "evolution"])
def test_a_reward_that_seeds_the_global_random_numbers_does_not_disturb_the_search(tmp_path, method):
    """Seen before: from the third round on half of the slots held the formula of the round before."""
    found = []
    for disturbs in (False, True):
        reward = {"target": "helpers_rewards:Reseeding", "disturbs": disturbs}
        run = train(make_config(reward, 5, 32, search={"method": method}), f"{method}-{disturbs}", runs=tmp_path).run
        rows = archive_rows(run.folder)
        found.append((rows["proposals"], [row[:-1] for row in rows["functions"]]))
    assert found[0] == found[1]
    assert len(found[0][0]) == 5 * 32


def test_a_plain_function_may_be_the_reward():
    outcome = train(make_config({"target": "helpers_rewards:plain", "scale": -0.5}), "plain")
    evaluations = archive_rows(outcome.run.folder)["evaluations"]
    # Formula and value as they are stored.
    assert [row[9] for row in evaluations] == [-0.5 * Formula.parse(row[3]).size for row in evaluations]
    assert len({row[9] for row in evaluations}) > 3


# --- modules beside the config file ---

NETWORK = {
    "target": "nets_beside:build", "data": {"target": "nets_beside:vectors", "examples": 128}, "batch_size": 32,
    "epochs": 1, "population": 4, "batched": True,
}  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that is not the current one, with a reward, a network, and a config for each."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "rew_beside.py").write_text("from helpers_rewards import plain\n")
    (folder / "nets_beside.py").write_text("from helpers_networks import mlp as build, vectors\n")
    (folder / "reward.yaml").write_text(dump_config(make_config({"target": "rew_beside:plain"}, 1, 4)))
    config = make_config(proxies(tmp_path, proxies=[NETWORK]), 1, 8, workers=2)
    (folder / "network.yaml").write_text(dump_config(config))
    here = tmp_path / "here"
    here.mkdir()
    os.chdir(here)
    return folder


@pytest.mark.parametrize("name", ["reward", "network"])
def test_a_module_beside_the_config_is_found_when_it_trains_and_when_it_goes_on(elsewhere, name):
    """In a process of its own; the network in two worker processes, too."""
    trained = rlsearch("train", elsewhere / f"{name}.yaml")
    assert trained.returncode == 0, trained.stderr
    os.chdir("..")
    resumed = rlsearch("train", "--resume", f"here/runs/{name}", "--rounds", 2)
    assert resumed.returncode == 0, resumed.stderr
    read = rlsearch("top", f"here/runs/{name}")
    assert read.returncode == 0, read.stderr


def test_where_the_module_lies_is_kept_and_nothing_else_is(elsewhere):
    found = load_config(elsewhere / "reward.yaml")
    assert found.code == elsewhere.resolve()
    assert load_config(elsewhere / "reward.yaml", ["code=../here"]).code == (elsewhere.parent / "here").resolve()
    (elsewhere / "rew_beside.py").unlink()
    assert load_config(elsewhere / "reward.yaml").code is None


def test_a_folder_that_is_gone_is_said_and_the_run_can_be_read(elsewhere):
    assert rlsearch("train", elsewhere / "reward.yaml").returncode == 0
    shutil.rmtree(elsewhere)
    resumed = rlsearch("train", "--resume", "runs/reward", "--rounds", 2)
    assert resumed.returncode == 2
    assert "No module named 'rew_beside'; searched besides Python's packages: " in resumed.stderr
    assert str(elsewhere) in resumed.stderr
    assert os.getcwd() in resumed.stderr
    assert rlsearch("top", "runs/reward").returncode == 0


# --- the right code ---

REWARD = "from rlsearch import RewardResult\ndef give(formulas): return [RewardResult({}) for _ in formulas]\n"


@pytest.fixture
def of_folder(tmp_path, monkeypatch):
    """Writes a reward of a value into a folder, and gives its config file."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(folder, value):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "rew_of_folder.py").write_text(REWARD.format(value))
        file = tmp_path / folder / "c.yaml"
        file.write_text(dump_config(make_config({"target": "rew_of_folder:give"}, 1, 4)))
        return file

    yield write
    sys.modules.pop("rew_of_folder", None)


def best_reward(outcome):
    return outcome.leaderboard[0].reward


def test_two_configs_in_one_process_have_their_own_reward(of_folder):
    files = [of_folder("a", 1.0), of_folder("b", 2.0)]
    assert [best_reward(train(file)) for file in (*files, *files)] == [1.0, 2.0, 1.0, 2.0]


def test_the_config_s_folder_comes_before_the_current_one(of_folder, tmp_path, monkeypatch):
    of_folder("a", 1.0)
    of_folder("b", 2.0)
    monkeypatch.chdir(tmp_path / "a")
    done = rlsearch("train", "../b/c.yaml", "--name", "r")
    assert done.returncode == 0, done.stderr
    assert {row[9] for row in archive_rows(tmp_path / "a" / "runs" / "r")["evaluations"]} == {2.0}


def test_a_reward_that_was_edited_is_used_as_it_is_now(of_folder):
    assert [best_reward(train(of_folder("a", value))) for value in (1.0, 2.0)] == [1.0, 2.0]


def test_a_run_does_not_go_on_with_an_edited_reward(of_folder):
    file = of_folder("a", 1.0)
    run = train(file, "r").run
    source = file.parent / "rew_of_folder.py"
    source.write_text("# A comment does not count.\n" + REWARD.format(1.0))
    assert resume(run.folder, rounds=2).finished
    source.write_text(REWARD.format(2.0))
    with pytest.raises(
        ConfigError, match=r"the source of rew_of_folder:give was edited since runs/r began: its digest"
    ):
        resume(run.folder, rounds=3)
    # Runs of earlier versions do not know their reward's digest.
    meta = run.read_meta()
    assert len(meta.pop("reward_code")) == 16
    run.meta.write_text(json.dumps(meta))
    assert resume(run.folder, rounds=3).finished


@pytest.mark.parametrize("name", ["../evil", "", ".", "a/b", "x" * 201])
def test_a_name_that_is_not_one_is_refused(of_folder, tmp_path, name):
    file = of_folder("a", 1.0)
    with pytest.raises(InputError, match=r"^the name '.* is (not the name of a folder|longer than 200 bytes)"):
        train(file, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
