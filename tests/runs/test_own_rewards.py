"""Whole runs on a user's own reward."""

import pytest
import torch
from helpers import archive_rows, make_config

from rlsearch import Formula, train

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
