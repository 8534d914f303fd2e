"""Whole runs on a user's own network and data."""

import json

import pytest
import torch
from helpers import DIGITS, archive_rows, make_config, proxies

from rlsearch import Formula, evaluate, resume, top, train
from rlsearch.errors import ConfigError
from rlsearch.kernels.latency import Latency
from rlsearch.rewards.settings import RewardSettings
from rlsearch.runs.config import dump_config, load_config
from rlsearch.studies import study
from rlsearch.studies.confirm import confirm
from rlsearch.studies.retrain import Options

torch.set_num_threads(1)

NETWORK = {
    "target": "helpers_networks:mlp", "arguments": {"width": 8}, "batch_size": 32, "epochs": 1, "population": 4,
    "data": {"target": "helpers_networks:vectors", "examples": 256}, "batched": True,
}  # fmt: skip
FIXED = NETWORK | {"data": {"target": "helpers_networks:fixed_vectors"}, "batched": False}


def reward(folder, *own):
    return proxies(folder, proxies=own)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    """A run on a network trained together, one trained alone, and one of ours; interrupted by nothing."""
    config = make_config(reward(folder, NETWORK, FIXED, DIGITS), 3, 8, rescoring={"every": 2, "best": 3})
    return train(config, "own", runs=folder).run


def test_what_was_left_open_is_in_the_runs_config(run):
    decided = run.config.proxies
    assert [proxy.batched for proxy in decided[:2]] == [True, False]
    assert all(len(proxy.source) == 16 and proxy.is_complete for proxy in decided[:2])


def test_every_candidate_is_trained_on_every_proxy(run):
    trained = [row for row in archive_rows(run.folder)["evaluations"] if row[6] == "ok"]
    assert {row[4].rpartition("-")[0] for row in trained} == {"helpers_networks:mlp", "digits-mlp"}
    assert len({row[4] for row in trained}) == 3
    assert len(top(run, 3, mirrors=True)) == 3


def test_a_run_that_goes_on_ends_like_one_that_was_not_stopped(run, folder):
    config = make_config(reward(folder, NETWORK, FIXED, DIGITS), 1, 8, rescoring={"every": 2, "best": 3})
    short = train(config, "short", runs=folder).run
    resume(short.folder, 3)
    assert archive_rows(short.folder) == archive_rows(run.folder)


def test_the_same_with_workers(run, folder):
    config = make_config(reward(folder, NETWORK, FIXED, DIGITS), 3, 8, rescoring={"every": 2, "best": 3}, workers=2)
    assert archive_rows(train(config, "workers", runs=folder).run.folder) == archive_rows(run.folder)


def test_confirmed_on_fresh_data_where_there_is_some(run, monkeypatch):
    monkeypatch.setattr(study, "measure", lambda formulas, *_: [Latency(1.0, 0.9, 1.1) for _ in formulas])
    outcome = confirm(run, best=2, baselines=["relu", "gelu"], options=Options(seeds=2, rates=(1.0,)))
    verdicts = json.loads((outcome.folder / "confirm.json").read_text())["verdicts"]
    assert [text for text in verdicts if text.startswith("helpers_networks:fixed_vectors takes no seed")]
    assert not [text for text in verdicts if text.startswith("helpers_networks:vectors")]
    assert confirm(run, best=2, baselines=["relu", "gelu"], options=Options(seeds=2, rates=(1.0,))).trained == 0


def test_evaluated(run, folder):
    rows = evaluate([Formula.parse("x * x")], make_config(reward(folder, NETWORK)), seeds=2)
    assert all(0 < row.fresh.mean < 1 for row in rows)


def test_an_edited_network_is_refused_and_the_run_can_still_be_read(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "network_of_a_run.py"
    file.write_text("from helpers_networks import mlp as build\n")
    config = make_config(reward(tmp_path, NETWORK | {"target": "network_of_a_run:build"}), 1, 4)
    done = train(config, "edited", runs=tmp_path).run
    file.write_text('"""Mine."""\n\nfrom helpers_networks import mlp  as build # a comment\n')
    assert resume(done.folder, 2).finished
    best = [judged.formula for judged in top(done, 2, mirrors=True)]
    file.write_text("from helpers_networks import mlp as build\n\nWIDTH = 3\n")
    with pytest.raises(ConfigError, match=r"network_of_a_run:build or .* was edited since"):
        resume(done.folder, 3)
    file.unlink()
    monkeypatch.delitem(__import__("sys").modules, "network_of_a_run")
    assert [judged.formula for judged in top(done, 2, mirrors=True)] == best


def test_a_wrong_network_is_said_before_a_run_is_made(tmp_path):
    wrong = make_config(reward(tmp_path, NETWORK | {"arguments": {"widht": 8}}))
    with pytest.raises(ConfigError, match="'widht'"):
        train(wrong, "wrong", runs=tmp_path)
    assert not (tmp_path / "wrong").exists()


def test_both_kinds_in_a_file(tmp_path):
    config = make_config({"proxies": [NETWORK, DIGITS]})
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    changed = load_config(path, ["reward.proxies.0.arguments.width=12", "reward.proxies.0.data.examples=512"])
    assert changed.reward.proxies[0].arguments == {"width": 12}
    assert changed.reward.proxies[0].data.examples == 512


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            NETWORK | {"lerning_rate": 1},
            r"proxies.0.lerning_rate: unknown key; did you mean 'learning_rate'.*arguments",
        ),
        (DIGITS | {"arguments": {}}, "proxies.0.arguments: unknown key; did you mean 'parameters'. .known: .*widths"),
        ({"target": "a:b"}, "proxies.0.data: missing"),
        (NETWORK | {"data": {"examples": 3}}, "proxies.0.data.target: missing"),
        (NETWORK | {"data": "a:b"}, "proxies.0.data: expected a group of settings, got 'a:b'"),
        ("a:b", "proxies.0: expected a group of settings, got 'a:b'"),
    ],
)
def test_wrong_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        RewardSettings.check({"proxies": [values]})
