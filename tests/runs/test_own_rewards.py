"""Whole runs on a user's own reward."""

import os
import shutil

import pytest
import torch
from helpers import archive_rows, make_config, proxies, rlsearch

from rlsearch import Formula, train
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
