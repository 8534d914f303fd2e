"""Every search method as a run: interrupted, ended by its budget, begun with a warm start, made longer."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import (
    InterruptAfter,
    Recorder,
    archive_rows,
    make_config,
    proposals_after,
    proxies,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rlsearch
from rlsearch import Formula
from rlsearch.controller import methods
from rlsearch.errors import ConfigError, RunError
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.train import train
from rlsearch.search.enumeration import Enumeration


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


SMALL = {"operators": ["neg", "cos", "mul"], "constants": [2.0], "min_length": 1, "max_length": 5}
# Mining trains by rungs, and has tests of its own in test_mining_run.py.
METHODS = tuple(name for name in methods.METHODS if name != "mining")


def method_config(method, rounds=6, **more):
    search = {"method": method, **more.pop("search", {})}
    more = {"language": {"min_length": 3, "max_length": 8}} | more
    return make_config(rounds=rounds, evolution={"population": 5, "tournament": 3}, search=search, **more)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_searches_and_goes_on_where_it_was_interrupted(method):
    """Between two rounds, and within one, of which the evaluations are there but not the round."""
    reward = {"target": "helpers_rewards:Picky"}
    whole = train(method_config(method, reward=reward), "whole")
    assert whole.finished
    assert archive_rows(whole.run.folder)["proposals"][-1][0] == 5
    for at, within in ((1, 0), (3, 1), (4, 0)):
        part = train(method_config(method, reward=reward), f"{at}", events=InterruptAfter(at, within))
        assert not part.finished
        assert load_checkpoint(part.run.checkpoint)["round"] in (at - 1, at)
        resumed = rlsearch.resume(part.run.folder)
        assert resumed.finished
        assert archive_rows(part.run.folder) == archive_rows(whole.run.folder)
        assert resumed.proposals == whole.proposals
        assert resumed.leaderboard == whole.leaderboard
    steps = {
        tag: [event.step for event in EventAccumulator(str(part.run.folder)).Reload().Scalars(tag)]
        for tag in EventAccumulator(str(part.run.folder)).Reload().Tags()["scalars"]
    }
    assert steps["search/mean_reward"] == proposals_after(6)
    assert ("search/entropy" in steps) == (method == "ppo")
    assert ("exhaustive/untested" in steps) == (method == "exhaustive")


@pytest.mark.parametrize("method", METHODS)
def test_a_run_ends_with_its_candidates(method):
    """With the round that trains the last of them; what is screened out does not count."""
    config = method_config(
        method, 500, reward={"target": "helpers_rewards:Picky"}, search={"candidates": 20}
    )  # fmt: skip
    recorder = Recorder()
    outcome = train(config, "a", events=recorder)
    assert outcome.finished
    rows = archive_rows(outcome.run.folder)
    by_round = [0] * (rows["proposals"][-1][0] + 1)
    for row in rows["evaluations"]:
        by_round[row[1]] += row[6] == "ok"
    assert sum(by_round[:-1]) < 20 <= sum(by_round)
    # A method that stays near the best may propose nothing that is screened out.
    assert method != "random" or sum(by_round) < len(rows["evaluations"])
    counts = [candidates for _, candidates, _ in recorder.rounds]
    assert counts == np.cumsum(by_round).tolist()
    assert recorder.progress[-1] == ("candidate", sum(by_round), 20)
    again = rlsearch.resume(outcome.run.folder)
    assert again.finished
    assert again.proposals == outcome.proposals
    assert archive_rows(outcome.run.folder) == rows


def test_the_nearer_budget_is_shown():
    recorder = Recorder()
    train(make_config(rounds=2, search={"candidates": 1000}), "a", events=recorder)
    assert recorder.progress[-1] == ("round", 2.0, 2)


def test_an_exhaustive_run_ends_with_the_last_function():
    """Of neg, cos, mul, x and 2 up to five tokens; the last round is what is left."""
    config = method_config("exhaustive", 500, language=SMALL)
    outcome = train(config, "a")
    assert outcome.finished
    rows = archive_rows(outcome.run.folder)["proposals"]
    functions = [f.fingerprint for f in Enumeration(config.language.grammar())]
    assert [Formula.parse(row[2]).fingerprint for row in rows] == functions
    assert len(functions) % 8
    assert outcome.proposals == outcome.functions == len(functions)
    assert rlsearch.resume(outcome.run.folder, 600).proposals == len(functions)


def test_a_template_decides_the_form():
    template = ["mul", "x", "unary", "x"]
    config = method_config("exhaustive", 500, language=SMALL, exhaustive={"template": template})
    found = [row[2] for row in archive_rows(train(config, "a").run.folder)["proposals"]]
    assert found == ["x * x", "x * -x", "x * cos(x)"]


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_start_is_in_the_first_round(method):
    config = method_config(method, 2, search={"warm_start": ["silu(x)", "x + tanh(x)"]})
    rows = archive_rows(train(config, "a").run.folder)["proposals"]
    first = [row[2] for row in rows if row[0] == 0]
    assert {"x * sigmoid(x)", "x + tanh(x)"} <= set(first)
    assert len(first) == 8
    assert {row[1] for row in rows if row[0] == 1} == set(range(8))


def test_a_wrong_warm_start_or_template_is_an_error():
    for more, message in (
        ({"search": {"warm_start": ["relu(x)"]}, "language": SMALL}, r"the warm start 'relu\(x\)' cannot be written"),
        ({"search": {"method": "exhaustive"}, "exhaustive": {"template": ["binry"]}}, "did you mean 'binary'"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            train(make_config(**more), "x")
        assert caught.value.exit_code == 2
        assert not Path("runs").exists()


@pytest.mark.parametrize("method", [name for name in METHODS if not methods.METHODS[name].has_policy])
def test_only_a_policy_can_be_sampled(method):
    run = train(method_config(method, 1), "a").run
    with pytest.raises(RunError, match=f"runs/a was searched by {method}, which has no policy to sample"):
        rlsearch.sample(run.folder)


def test_the_callers_random_numbers_stay_as_they_are():
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    run = train(make_config(), "a").run
    assert states() == before
    rlsearch.resume(run.folder, 3)
    assert states() == before


def test_a_language_that_the_proxies_cannot_train_is_refused_before_anything_is_written(tmp_path):
    message = (
        r"language.inputs is \['x', 'g'\], and gated formulas are not trained by digits-mlp, but by the network .*; "
        r"set it to \[x\], or take that network or a reward of your own"
    )
    with pytest.raises(ConfigError, match=message):
        make_config(proxies(tmp_path), language={"inputs": ["x", "g"]})
    assert train(make_config(language={"inputs": ["x", "g"]}), "free").finished  # a reward of one's own may


def test_a_run_that_its_candidates_ended_needs_more_of_them():
    run = train(make_config(rounds=500, search={"candidates": 20}), "a").run
    done = load_checkpoint(run.checkpoint)["round"]
    with pytest.raises(ConfigError, match=r"ended with its \d+ trained candidates .* larger number of candidates, too"):
        rlsearch.resume(run.folder, rounds=501)
    longer = rlsearch.resume(run.folder, candidates=40)
    assert load_checkpoint(run.checkpoint)["round"] > done
    whole = train(make_config(rounds=500, search={"candidates": 40}), "whole")
    assert archive_rows(longer.run.folder) == archive_rows(whole.run.folder)


def test_a_run_that_its_rounds_ended_needs_more_of_them():
    run = train(make_config(rounds=2, search={"candidates": 1000}), "a").run
    with pytest.raises(ConfigError, match=r"ended with its 2 rounds .* larger number of rounds, too"):
        rlsearch.resume(run.folder, candidates=2000)
    assert rlsearch.resume(run.folder, rounds=3, candidates=2000).proposals == 24


def test_a_budget_below_what_is_done_is_refused_and_written_nowhere():
    run = train(make_config(rounds=3), "a").run
    before = run.config_path.read_bytes()
    for budget in ({"candidates": 5}, {"candidates": 5, "rounds": 50}):
        with pytest.raises(ConfigError, match=r"has trained \d+ functions already; expected at least that, got 5"):
            rlsearch.resume(run.folder, **budget)
    assert run.config_path.read_bytes() == before
