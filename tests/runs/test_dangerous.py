"""Whole runs on code of a user's own that hangs, ends its process, or fails for everything."""

import pytest
import torch
from helpers import archive_rows, make_config, proxies

from rlsearch import Formula, resume, train
from rlsearch.common import crew
from rlsearch.common.settings import RewardTarget
from rlsearch.errors import ConfigError, RewardError
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import Status
from rlsearch.rewards.own import IsolatedReward

torch.set_num_threads(1)

DANGEROUS = {"kind": "train", "target": "helpers_tasks:dangerous"}
SMALL = {
    "search": {"method": "random"},
    "language": {"operators": ["neg", "abs", "mul", "relu"], "constants": [2.0], "max_length": 6},
}


def evaluations(run):
    return {row[3]: (row[6], row[10]) for row in archive_rows(run.folder)["evaluations"]}


def test_a_training_that_ends_its_process_fails_and_the_run_goes_on(tmp_path):
    reward = proxies(tmp_path, proxies=[DANGEROUS], baselines=["relu", "elu"])
    config = make_config(reward, 2, 6, **SMALL)
    run = train(config, "whole", runs=tmp_path).run
    found = {formula: said for formula, said in evaluations(run).items() if said[0] != "unfit"}
    for formula, said in found.items():
        ends = float(Formula.parse(formula)(1.0)) < 0
        assert said == (("failed", "the training ended its process with exit code 3") if ends else ("ok", ""))
    assert {status for status, _ in found.values()} == {"ok", "failed"}
    # What has failed is known, and does not end anything again.
    part = train(make_config(reward, 1, 6, **SMALL), "part", runs=tmp_path).run
    resume(part.folder, 2)
    assert archive_rows(part.folder) == archive_rows(run.folder)


def test_a_reward_with_a_limit_may_hang_or_end_its_process(monkeypatch):
    """The call with all of them hangs, and then each is asked for by itself."""
    # In place of a minute; a worker that has answered once has only the second of the limit.
    monkeypatch.setattr(crew, "PREPARATION_SECONDS", 30.0)
    reward = IsolatedReward(RewardTarget(target="helpers_rewards:Dangerous", time_limit=1.0), 0)
    texts = ("x + 1", "sin(x) + 1", "tanh(x) + 1", "x")
    wanted = [Training(Formula.parse(text), reward.proxy_names[0], 0) for text in texts]
    found = []
    for stage in reward.evaluate(wanted):
        found += [(each.status, each.result.message) for each in stage]
    assert found == [
        (Status.OK, ""),
        (Status.FAILED, "the reward gave no answer in 1 s"),
        (Status.FAILED, "the reward ended its process with exit code 3"),
        (Status.OK, ""),
    ]


def test_a_run_stops_where_everything_fails_and_goes_on_when_it_is_mended(tmp_path, monkeypatch):
    reward = proxies(tmp_path, proxies=[DANGEROUS], baselines=["relu", "elu"])
    config = make_config(reward, 2, 24)
    broken = {"is": False}
    monkeypatch.setattr("rlsearch.proxies.own.training.find_target", lambda target: _training(broken))
    monkeypatch.setattr("rlsearch.runs.build.is_of_main", lambda target: True)  # in this process
    whole = train(config, "whole", runs=tmp_path).run

    first = train(make_config(reward, 1, 24), "broken", runs=tmp_path).run
    broken["is"] = True
    with pytest.raises(RewardError, match=r"the last \d+ functions have all failed.*no licence was to be had"):
        resume(first.folder, 2)
    broken["is"] = False
    resume(first.folder, 2)
    assert archive_rows(first.folder)["proposals"] == archive_rows(whole.folder)["proposals"]
    assert archive_rows(first.folder)["functions"] == archive_rows(whole.folder)["functions"]


def _training(broken):
    def train(activation, seed, device):
        if broken["is"]:
            raise OSError("no licence was to be had")
        return float(activation(torch.ones(1)))

    return train


def test_a_reference_that_fails_says_why(tmp_path):
    reward = proxies(tmp_path, proxies=[{"kind": "train", "target": "helpers_tasks:out_of_order"}])
    message = r"relu has no score on helpers_tasks:out_of_order: .* raised OSError: no licence was to be had"
    with pytest.raises(RewardError, match=message):
        train(make_config(reward, 1, 4), "never", runs=tmp_path)


@pytest.mark.parametrize(
    ("target", "message"),
    [("helpers_rewards:Staged", "it is a reward in stages"), ("__main__:reward", "put it into a module")],
)
def test_what_has_no_limit(tmp_path, target, message):
    with pytest.raises(ConfigError, match=message):
        train(make_config({"target": target, "time_limit": 5.0}, 1, 4), "never", runs=tmp_path)
