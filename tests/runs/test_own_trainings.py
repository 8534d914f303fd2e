"""Whole runs on a user's own training, and on a network with a loss and a reference of the user's own."""

import json

import pytest
import torch
from helpers import archive_rows, make_config, proxies

from rlsearch import Formula, evaluate, resume, top, train
from rlsearch.kernels.latency import Latency
from rlsearch.runs.config import dump_config, load_config
from rlsearch.studies import study
from rlsearch.studies.check import check
from rlsearch.studies.confirm import confirm
from rlsearch.studies.retrain import Options

torch.set_num_threads(1)

TRAINING = {"kind": "train", "target": "helpers_tasks:train", "arguments": {"steps": 3}}
BARE = {"kind": "train", "target": "helpers_tasks:bare"}
NETWORK = {
    "target": "helpers_networks:Transformer", "data": {"target": "helpers_tasks:padded_sequences", "examples": 128},
    "batch_size": 32, "epochs": 1, "population": 4, "batched": True, "ignore_index": -100,
    "loss": "cross_entropy", "score": "loss", "optimiser": "adamw", "schedule": "cosine", "clip_norm": 1.0,
}  # fmt: skip


def config(folder, rounds, **more):
    chosen = proxies(folder, proxies=[TRAINING, BARE, NETWORK], reference="gelu")
    return make_config(chosen, rounds, 6, rescoring={"every": 2, "best": 2}, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    return train(config(folder, 2), "own", runs=folder).run


def test_every_candidate_is_trained_on_every_proxy_and_gelu_is_at_zero(run):
    trained = [row for row in archive_rows(run.folder)["evaluations"] if row[6] == "ok"]
    assert {row[4].rpartition("-")[0] for row in trained} == {
        "helpers_tasks:train", "helpers_tasks:bare", "helpers_networks:Transformer",
    }  # fmt: skip
    reference = [judged for judged in top(run, 50, mirrors=True) if judged.is_reference]
    (gelu,) = [judged for judged in reference if judged.formula == Formula.parse("gelu(x)")]
    assert set(gelu.result.gains.values()) == {0.0}


def test_a_run_that_goes_on_ends_like_one_that_was_not_stopped(run, folder):
    short = train(config(folder, 1), "short", runs=folder).run
    resume(short.folder, 2)
    assert archive_rows(short.folder) == archive_rows(run.folder)


def test_the_same_with_workers(run, folder):
    assert archive_rows(train(config(folder, 2, workers=2), "two", runs=folder).run.folder) == archive_rows(run.folder)


def test_confirmed(run, monkeypatch):
    monkeypatch.setattr(study, "measure", lambda formulas, *_: [Latency(1.0, 0.9, 1.1) for _ in formulas])
    outcome = confirm(run, best=1, baselines=["relu", "gelu"], options=Options(seeds=2, selection_seeds=1))
    verdicts = json.loads((outcome.folder / "confirm.json").read_text())["verdicts"]
    assert [text for text in verdicts if text.startswith("helpers_tasks:bare takes no data_seed and no part")]
    assert not [text for text in verdicts if text.startswith("helpers_tasks:train takes no")]


def test_evaluated_and_checked(folder):
    rows = evaluate([Formula.parse("x * x")], config(folder, 1), seeds=2)
    assert len(rows) > 1
    found = check(config(folder, 1))
    assert [proxy.way for proxy in found.proxies] == ["by itself", "by itself", "together"]


def test_the_config_comes_back(folder, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config(folder, 1)))
    assert load_config(path) == config(folder, 1)
