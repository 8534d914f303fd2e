"""The verbs as functions: settings by name, listeners, progress, and the same results as the commands."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import CURVE, DIGITS, environment, make_config, proxies
from stable_baselines3 import PPO

import rlsearch
from rlsearch import (
    Options,
    RunEvents,
    check,
    compare,
    confirm,
    evaluate,
    load_config,
    mine,
    resume,
    runs_in,
    train,
    transfer,
)
from rlsearch.errors import ConfigError, InputError
from rlsearch.formula.mirrors import mirror_key
from rlsearch.runs import given
from rlsearch.runs import train as training
from rlsearch.runs.config import Config, dump_config
from rlsearch.runs.read import top_groups
from rlsearch.studies import confirm as confirming
from rlsearch.studies import evaluate as evaluation
from rlsearch.studies import transfer as transferring
from rlsearch_envs import ActivationEnv, CurveReward

SMALL = {"search": {"rounds": 2, "formulas_per_round": 8}, "reward": CURVE, "language": {"max_length": 6}}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_public_name_is_there():
    for name in rlsearch.__all__:
        assert getattr(rlsearch, name) is not None
    assert {"train", "mine", "resume", "check", "evaluate", "confirm", "transfer", "compare"} <= set(dir(rlsearch))


def test_a_config_may_be_a_file_a_dict_or_itself(tmp_path):
    config = Config.check(SMALL)
    (tmp_path / "c.yaml").write_text(dump_config(config))
    outcomes = [train(each, name) for name, each in (("a", SMALL), ("b", config), ("c", "c.yaml"))]
    boards = [[(j.formula, j.result.value) for j in outcome.leaderboard] for outcome in outcomes]
    assert boards[0] == boards[1] == boards[2]
    assert train("c.yaml").run.name == "c-2"
    assert train(SMALL).run.name == "run"
    assert [run.name for run in runs_in(tmp_path / "runs")] == ["a", "b", "c", "c-2", "run"]


@pytest.mark.parametrize("form", ["dict", "file"])
def test_settings_by_their_path_and_by_their_shortcut(tmp_path, form):
    (tmp_path / "c.yaml").write_text(dump_config(Config.check(SMALL)))
    config = SMALL if form == "dict" else "c.yaml"
    outcome = train(config, rounds=1, seed=5, method="random", settings={"language.max_length": 5, "logging.every": 2})
    used = outcome.run.config
    assert (used.search.rounds, used.seed, used.search.method) == (1, 5, "random")
    assert (used.language.max_length, used.logging.every, used.search.formulas_per_round) == (5, 2, 8)
    assert SMALL["search"] == {"rounds": 2, "formulas_per_round": 8}  # what was given stays as it is


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"epochs": 3}, InputError, r"there is no argument 'epochs' \(known: rounds, candidates, .*settings=\{...\}"),
        ({"rounds": 0}, ConfigError, r"search.rounds: .* greater than or equal to 1, got 0"),
        ({"settings": {"search.ronds": 3}}, ConfigError, r"search.ronds: unknown key; did you mean 'rounds'"),
        ({"settings": {"seed.x": 3}}, InputError, "seed is no group of settings, so there is no seed.x"),
    ],
    ids=str,
)
def test_wrong_settings_are_told_and_leave_nothing(tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        train(SMALL | {"seed": 1}, **more)
    assert not (tmp_path / "runs").exists()


class Rounds(RunEvents):
    """Counts rounds, and may stop the run after some."""

    def __init__(self, stop_after=100):
        self.seen, self.stop_after = [], stop_after

    def on_round(self, judge, scalars):
        self.seen.append(judge.round)
        if judge.round >= self.stop_after:
            raise KeyboardInterrupt


def test_listeners_are_told_and_may_stop(tmp_path):
    one, other = Rounds(), Rounds(stop_after=1)
    outcome = train(SMALL, events=[one, other])
    assert (one.seen, other.seen, outcome.finished) == ([1], [1], False)
    later = Rounds()
    assert resume(outcome.run, rounds=3, events=later).finished
    assert later.seen == [1, 2, 3]  # the stopped round is gone through once more, from what is stored


def test_progress_is_shown_where_it_is_wanted(capsys):
    train(SMALL, "silent")
    assert capsys.readouterr().err == ""
    train(SMALL, "told", progress=True)
    assert capsys.readouterr().err.startswith("round 1/2: 8 new functions, ")


def test_mining_is_a_method(tmp_path):
    reward = proxies(tmp_path)
    rungs = [{"functions": 4}]
    outcome = mine(
        {"reward": reward, "language": {"max_length": 3, "operators": ["tanh", "mul"]}, "mining": {"rungs": rungs}}
    )
    assert outcome.run.config.search.method == "mining"
    assert outcome.counts["trained"] == 4


def test_studies_of_a_run_and_of_formulas(tmp_path):
    outcome = train(make_config(proxies(tmp_path), 1, 6), "r")
    options = Options(seeds=2, rates=(1.0,), selection_seeds=1)
    of_run = confirm(outcome.run, best=1, baselines=["relu"], options=options)
    assert of_run.folder == outcome.run.folder / "confirm"
    assert len(of_run.findings.formulas) == 1
    of_formulas = confirm(["x * tanh(x)"], make_config(proxies(tmp_path)), baselines=["relu"], options=options)
    assert of_formulas.folder is None
    assert {row.name for row in evaluate(["x * x"], make_config(proxies(tmp_path)), baselines=["relu"], seeds=1)} == {
        "",
        "relu",
    }
    elsewhere = {"small": make_config(proxies(tmp_path))}
    assert list(transfer(outcome.run, elsewhere, best=1, baselines=["relu"], options=options)) == ["small"]
    with pytest.raises(InputError, match="config, settings and output go with formulas"):
        confirm(outcome.run, make_config())
    with pytest.raises(InputError, match=r"there is no task 'digit'; expected some of "):
        transfer(outcome.run, ["digit"])
    with pytest.raises(InputError, match="expected a list of formulas, got the text 'x'"):
        evaluate("x")


def test_what_proxies_can_tell_as_the_command_says_it(run, tmp_path):
    config = make_config(proxies(tmp_path, proxies=[DIGITS]))
    (tmp_path / "c.yaml").write_text(dump_config(config))
    found = check("c.yaml", settings={"reward.baseline_seeds": 3})
    (fields,) = json.loads(run("check", "c.yaml", "--set", "reward.baseline_seeds=3", "--json")[1])
    (proxy,) = found.proxies
    assert (proxy.title, proxy.scale.reference, proxy.scale.spread, proxy.linear) == tuple(
        fields["proxies"][0][name] for name in ("proxy", "reference", "spread", "identity")
    )
    assert found.bank is None
    with pytest.raises(ConfigError, match="has no proxies to train"):
        check(SMALL)


def test_a_text_is_no_list(tmp_path):
    run = train(SMALL).run
    for call, message in (
        (lambda: transfer(run, "deep-text"), "expected a list of tasks, got the text 'deep-text'"),
        (lambda: compare(SMALL, "ppo", folder="c"), "expected a list of methods, got the text 'ppo'"),
        (lambda: confirm("x * atan(x)"), r"expected a list of formulas, got the text 'x \* atan\(x\)'"),
        (lambda: confirm("runs/other"), "runs/other"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_studies_take_what_their_commands_take(monkeypatch, tmp_path):
    """What they are called with; that it acts is shown where they are tested."""
    calls = []
    for module, name in ((confirming, "confirm"), (confirming, "confirm_formulas"), (transferring, "transfer")):
        monkeypatch.setattr(module, name, lambda *given, name=name, **more: calls.append((name, given, more)))
    monkeypatch.setattr(evaluation, "evaluate", lambda *given, **more: calls.append(("evaluate", given, more)))
    confirm("runs/r", mirrors=True)
    transfer("runs/r", {"small": SMALL}, mirrors=True)
    confirm(["x"], SMALL, settings={"seed": 7})
    evaluate(["x"], SMALL, settings={"seed": 7})
    assert [name for name, _, _ in calls] == ["confirm", "transfer", "confirm_formulas", "evaluate"]
    assert [more["mirrors"] for _, _, more in calls[:2]] == [True, True]
    assert [given[1].seed for _, given, _ in calls[2:]] == [7, 7]
    for wrong, message in (
        (lambda: confirm(["x"], mirrors=True), "mirrors goes with a run"),
        (lambda: confirm("runs/r", settings={"seed": 7}), "config, settings and output go with formulas"),
        (lambda: confirm(["x"], settings={"seed": 7}), "settings go with a config"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()


@pytest.mark.parametrize("form", ["dict", "config", "file"])
def test_numbers_of_numpy_are_numbers(tmp_path, form):
    config = Config.check(SMALL)
    (tmp_path / "c.yaml").write_text(dump_config(config))
    given = {"dict": SMALL, "config": config, "file": "c.yaml"}[form]
    settings = {"controller.ppo.ent_coef": np.float32(0.25), "language.max_length": np.int32(5)}
    used = train(given, seed=np.int64(3), rounds=np.int16(1), settings=settings).run.config
    assert (used.seed, used.search.rounds, used.controller.ppo.ent_coef, used.language.max_length) == (3, 1, 0.25, 5)


@pytest.mark.parametrize("workers", [None, 3])
def test_what_a_notebook_defines_is_trained_in_its_process_by_a_config_too(workers):
    config = Config.check(SMALL | {"reward": {"target": "__main__:reward"}, "workers": workers})
    assert given.config_of(config).workers == (workers or 1)
    assert given.config_of(config.model_copy(update={"reward": Config.check(SMALL).reward})).workers == workers


def test_methods_are_compared(tmp_path):
    found = compare(SMALL, ["random", "evolution"], folder="c", seeds=2, candidates=8, options=None)
    assert {m.method for m in found.methods} == {"random", "evolution"}
    assert load_config("c/random-0/config.yaml").search.candidates == 8


def test_the_command_and_the_function_give_the_same(run, tmp_path):
    (tmp_path / "c.yaml").write_text(dump_config(Config.check(SMALL)))
    assert run("train", "c.yaml", "--name", "by-command")[0] == 0
    by_function = train("c.yaml", "by-function")
    boards = [rlsearch.top(f"runs/{name}") for name in ("by-command", "by-function")]
    assert [j.formula for j in boards[0]] == [j.formula for j in boards[1]]
    assert by_function.proposals == training.resume("runs/by-command").proposals


def shorter_is_better(formulas):
    return [rlsearch.RewardResult(-formula.size) for formula in formulas]


def test_a_reward_may_be_given_as_itself(tmp_path):
    outcome = train(SMALL | {"reward": {"target": shorter_is_better}})
    assert outcome.run.config.reward.target == "test_api:shorter_is_better"
    assert outcome.leaderboard[0].reward == -outcome.leaderboard[0].formula.size
    assert resume(outcome.run, rounds=3).finished
    with pytest.raises(ConfigError, match=r"test_a_reward.*<lambda> cannot be found by its name.*top of a module"):
        train(SMALL | {"reward": {"target": lambda formulas: []}})


def test_a_notebook_s_own_network(tmp_path):
    """Cells are executed without a file, as Jupyter does, and their source is known to linecache."""
    code = """
import linecache, sys
cell = '''
import torch
def build(activation):
    return torch.nn.Sequential(torch.nn.Linear(2, 4), activation, torch.nn.Linear(4, 2))
def data(seed=0):
    x = torch.randn(96, 2, generator=torch.Generator().manual_seed(seed))
    y = (x[:, 0] * x[:, 1] > 0).long()
    return [(x[i::3], y[i::3]) for i in range(3)]
'''
linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(True), "<cell 1>")
main = sys.modules["__main__"]
exec(compile(cell, "<cell 1>", "exec"), main.__dict__)
import rlsearch
proxy = {"target": main.build, "data": {"target": main.data}, "epochs": 1, "batch_size": 16}
outcome = rlsearch.train(
    {"reward": {"proxies": [proxy], "baseline_seeds": 2}}, "n", rounds=1, settings={"search.formulas_per_round": 4}
)
print(outcome.finished, outcome.run.config.workers, outcome.run.config.proxies[0].target)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "1", "__main__:build"]


def test_what_a_notebook_shows_is_short(tmp_path):
    outcome = train(SMALL)
    assert repr(outcome).startswith("<search runs/run: finished, ")
    html = outcome._repr_html_()
    assert html.count("<svg") == len(outcome.leaderboard)
    assert all(len(repr(judged)) < 200 for judged in outcome.leaderboard)
    table = outcome.run.table()
    assert list(table.columns[:3]) == ["formula", "status", "reward"]
    assert table.reward[0] == outcome.leaderboard[0].reward
    assert len(table) == outcome.functions


def test_plain_stable_baselines3_loads_the_policy(tmp_path, run):
    """It writes what the run's own policy writes when always the likeliest token is taken."""
    outcome = train(SMALL)
    rlsearch.save_policy(outcome.run, "policy.zip")
    model = PPO.load("policy.zip")
    config = outcome.run.config
    env = ActivationEnv(config.language.grammar(), CurveReward("gelu(x)"), render_mode="ansi")
    observation, _ = env.reset()
    done = False
    while not done:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, done, _, _ = env.step(int(action))
    (greedy,) = rlsearch.sample(outcome.run, greedy=True)
    assert env.render() == str(greedy.formula)
    assert run("sample", outcome.run.folder, "--save-policy", "policy.zip") == (
        2, "", "rlsearch: policy.zip exists already; it is not overwritten\n",
    )  # fmt: skip
    code, out, _ = run("sample", outcome.run.folder, "--save-policy", "again.zip")
    assert (code, out) == (0, "wrote again.zip; stable_baselines3.PPO.load reads it\n")


def test_the_best_of_mirror_images_stands_for_them(tmp_path):
    """As for the command; the order of both is that of the search."""
    outcome = train(SMALL, rounds=12)
    every, grouped = rlsearch.top(outcome.run, 40, mirrors=True), rlsearch.top(outcome.run, 40)
    assert [judged.formula for judged in grouped] == [group.best.formula for group in top_groups(outcome.run, 40)]
    assert grouped[0].formula == every[0].formula
    assert len({mirror_key(judged.formula) for judged in grouped if not judged.is_reference}) == len(grouped)
