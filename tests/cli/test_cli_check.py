"""``rlsearch check``: what a config's proxies cost and can tell."""

import json
import math
import re
from itertools import pairwise

import numpy as np
import pytest
from helpers import CURVE, DIGITS, make_config, proxies

from rlsearch.formula import Formula
from rlsearch.proxies.tasks import CLASSIFICATION, REGRESSION
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.scale import Scale
from rlsearch.runs.config import dump_config
from rlsearch.studies import check as checking
from rlsearch.studies.check import BankEntry, Check, ProxyCheck, bank_check

NAMES = ("relu", "gelu", "silu", "mish", "tanh", "sin", "x", "x * atan(x)", "elu", "softplus")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def folder(tmp_path):
    """A folder with a config of a panel, one of a single classifier, and a bank."""
    for name, chosen in (("panel", [DIGITS, DIGITS | {"dataset": "physics"}]), ("single", [DIGITS])):
        (tmp_path / f"{name}.yaml").write_text(dump_config(make_config(proxies(tmp_path, proxies=chosen))))
    (tmp_path / "own.yaml").write_text(dump_config(make_config(CURVE)))
    lines = [f"{name},{i},{-i}" for i, name in enumerate(NAMES, start=1)]
    (tmp_path / "bank.csv").write_text("\n".join(["formula,merit,accuracy", *lines]) + "\n")
    return tmp_path


def tables(out):
    """The tables of an output: for each its rows as lists of cells, the heading's last line first."""
    parts = re.split(r"^ ─+ *$", out, flags=re.MULTILINE)
    found = []
    for before, after in pairwise(parts):
        rows = [before.rstrip().splitlines()[-1], *after.lstrip("\n").split("\n\n")[0].splitlines()]
        found.append([re.split(r" {2,}", row.strip()) for row in rows if row.strip()])
    return found


def test_proxies_alone(run, folder):
    code, out, err = run("check", "panel.yaml", "--set", "seed=2")
    assert code == 0
    assert "references: 24 done" in err
    (table,) = tables(out)
    assert table[0] == ["seconds", "ref.", "identity", "spread", "noise", "trained", "proxy"]
    assert [row[-1] for row in table[1:3]] == ["1 digits-mlp", "2 physics-mlp"]
    assert re.search(r"A candidate takes \d+\.\d{3} s in all; 1 worker\(s\) train about [\d,]+ in an hour\.", out)
    assert re.search(r"For a search of 10 minutes: --set search.candidates=[1-9]\d*\n", out)
    assert max(map(len, out.splitlines())) <= 80


def test_a_single_classifier_has_a_spread_and_no_number(run, folder):
    """Its gains are in points: the baselines are trained for the check alone."""
    code, out, err = run("check", "single.yaml")
    assert code == 0
    assert "references: 12 done" in err
    (table,) = tables(out)
    assert float(table[1][3]) >= float(table[1][4]) > 0
    assert "the unit of gains" not in out
    assert table[1][-1] == "digits-mlp"


def test_a_bank(run, folder):
    code, out, err = run("check", "panel.yaml", "--bank", "bank.csv")
    assert code == 0
    assert "bank: 20 done" in err
    _, functions, orders, between = tables(out)
    assert functions[0] == ["merit", "gain", "1", "2", "function"]
    assert {row[-1] for row in functions[1 : 1 + len(NAMES)]} == set(NAMES)
    assert [row[-1] for row in orders[1:4]] == ["all", "1 digits-mlp", "2 physics-mlp"]
    assert between[0] == ["1", "2", "correlation between gains"]
    assert "Spearman's correlation with merit over 10 functions" in out
    assert "The mean merit of the best 5 is 3.0; of 5 drawn at random\n5.5." in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_bank_on_a_single_classifier(run, folder):
    code, out, _ = run("check", "single.yaml", "--bank", "bank.csv")
    assert code == 0
    _, functions, orders = tables(out)
    assert functions[0] == ["merit", "gain", "function"]
    assert [row[-1] for row in orders[1:2]] == ["all"]


def test_everything_as_json(run, folder):
    code, out, _ = run("check", "panel.yaml", "--bank", "bank.csv", "--json")
    assert code == 0
    (fields,) = json.loads(out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert [proxy["proxy"] for proxy in fields["proxies"]] == ["digits-mlp", "physics-mlp"]
    assert [proxy["task"] for proxy in fields["proxies"]] == ["classification", "regression"]
    assert all(proxy["spread"] >= proxy["noise"] > 0 for proxy in fields["proxies"])
    assert {function["formula"] for function in fields["functions"]} == set(NAMES)
    for function in fields["functions"]:
        assert function["gain"] == pytest.approx(np.mean(list(function["gains"].values())))
    assert [order["by"] for order in fields["orders"]] == ["the reward's gain", "digits-mlp", "physics-mlp"]
    assert np.shape(fields["correlations"]) == (2, 2)
    assert (fields["first"], fields["merit_of_best"], fields["merit_by_chance"]) == (5, 3.0, 5.5)
    again = json.loads(run("check", "panel.yaml", "--bank", "bank.csv", "--json")[1])[0]
    assert (again["orders"], again["functions"]) == (fields["orders"], fields["functions"])


def test_a_merit_of_which_more_is_better(run, folder):
    """The column ``accuracy`` is minus the rank: the same order, told the other way round."""
    (rank,) = json.loads(run("check", "single.yaml", "--bank", "bank.csv", "--json")[1])
    options = ["--merit", "accuracy", "--higher-is-better", "--json"]
    code, out, _ = run("check", "single.yaml", "--bank", "bank.csv", *options)
    assert code == 0
    (accuracy,) = json.loads(out)
    assert accuracy["orders"][0]["correlation"] == rank["orders"][0]["correlation"]
    assert accuracy["orders"][0]["interval"] == rank["orders"][0]["interval"]
    assert accuracy["orders"][0]["merit_of_first"] == -rank["orders"][0]["merit_of_first"]
    assert accuracy["merit_of_best"] == -3.0
    assert accuracy["proxies"][0]["spread"] == rank["proxies"][0]["spread"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.yaml"], "no.yaml cannot be read"),
        (["own.yaml"], "the reward rlsearch_envs:CurveReward has no proxies to train"),
        (["panel.yaml", "--merit", "accuracy"], "--merit and --higher-is-better go with --bank"),
        (["panel.yaml", "--higher-is-better"], "--merit and --higher-is-better go with --bank"),
        (["panel.yaml", "--bank", "no.csv"], "no.csv cannot be read: "),
        (["panel.yaml", "--bank", "bank.csv", "--merit", "acuracy"],
         "bank.csv has no column 'acuracy'; did you mean 'accuracy'?; it has formula, merit, accuracy"),
        (["panel.yaml", "--set", "reward.reference=gelo"], "--set reward.reference: unknown name 'gelo'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_input_is_one_message(run, folder, arguments, message):
    code, out, err = run("check", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"rlsearch: {message}")


def large(proxies, seconds=0.5, gains=None):
    """A check as of long trainings on many proxies, with a bank of long formulas."""
    scale = Scale(reference=-2.1084, spread=0.0299, noise=0.0174)
    titles = ["digits-residual", *(f"digits-residual ({i})" for i in range(2, proxies + 1))]
    checked = [
        ProxyCheck(title, (CLASSIFICATION, REGRESSION)[i % 2], seconds, "one by one", scale, None)
        for i, title in enumerate(titles)
    ]
    formulas = [Formula.parse(f"max(x * sigmoid({i}.25 * x), atan(asinh(x)) - {i})") for i in range(10)]
    gains = np.random.default_rng(0).normal(size=(10, proxies)) if gains is None else gains
    results = []
    for row in np.asarray(gains).tolist():
        of_proxies = dict(zip(titles, row, strict=True))
        results.append(RewardResult(0.0, Status.OK, math.fsum(row) / len(row), gains=of_proxies))
    entries = [BankEntry(str(formula), formula, -1.5 * i) for i, formula in enumerate(formulas)]
    bank = bank_check(entries, results, titles, higher_is_better=False)
    return Check(checked, True, 16, bank)


def test_many_proxies_and_long_formulas_go_on_80_columns(run, folder, monkeypatch):
    monkeypatch.setattr(checking, "check", lambda *arguments, **options: large(6))
    code, out, _ = run("check", "panel.yaml", "--bank", "bank.csv")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    proxies, functions, _, between = tables(out)
    assert functions[0] == ["merit", "gain", *"123456", "function"]
    assert proxies[6][-1] == "6 digits-residual (6)"
    assert proxies[6][1:3] == ["-2.108", "diverged"]
    assert between[0] == [*"123456", "correlation between gains"]
    # A formula is folded, not cut.
    assert re.sub(r"\s", "", out).count("asinh(x)") == 10


def test_what_is_not_known_is_a_dash_and_a_null(run, folder, monkeypatch):
    """A reward that finds all alike has no order; and a search of ten minutes has one candidate at least."""
    found = large(2, seconds=1e5, gains=np.zeros((10, 2)))
    monkeypatch.setattr(checking, "check", lambda *arguments, **options: found)
    out = run("check", "panel.yaml", "--bank", "bank.csv")[1]
    *_, orders, between = tables(out)
    assert orders[1][:3] == ["-", "-", "-"]
    assert between[1] == ["-", "-", "1 digits-residual"]
    assert out.count("nan") == 0
    assert "--set search.candidates=1\n" in out
    (fields,) = json.loads(run("check", "panel.yaml", "--bank", "bank.csv", "--json")[1])
    assert fields["orders"][0] == {
        "by": "the reward's gain", "correlation": None, "interval": [None, None], "better_half": None,
        "merit_of_first": -6.75,
    }  # fmt: skip
    assert fields["correlations"] == [[None, None]] * 2


OWN = {
    "target": "helpers_networks:Recurrent", "data": {"target": "helpers_networks:sequences", "examples": 128},
    "batch_size": 32, "epochs": 1,
}  # fmt: skip


def test_an_own_network_says_how_it_is_trained_and_why(run, folder, monkeypatch):
    monkeypatch.setenv("RLSEARCH_CACHE", str(folder / "cache"))
    (folder / "mine.yaml").write_text(dump_config(make_config(proxies(folder, proxies=[OWN, OWN | {"epochs": 2}]))))
    code, out, _ = run("check", "mine.yaml")
    assert code == 0
    assert out.count("helpers_networks:Recurrent: trained one by one: vmap has no rule for aten::gru.input\n") == 1
    assert "helpers_networks:Recurrent (2): trained one by one: vmap" in out
    assert re.search(r"worker\(s\) train about [\d,]+ in an hour", out)
    fields = json.loads(run("check", "mine.yaml", "--json")[1])[0]
    assert fields["proxies"][0]["why"] == "one by one: vmap has no rule for aten::gru.input"
    assert fields["candidates_an_hour"] == pytest.approx(3600 * fields["workers"] / fields["seconds"])
    # A search says it before its first training; on a busy machine, whose costs are not kept, it calibrates before.
    code, _, err = run("train", "mine.yaml", "--set", "search.rounds=1")
    assert code == 0
    said = "helpers_networks:Recurrent: candidates are trained one by one: vmap has no rule for aten::gru"
    assert err.removeprefix("calibrating (once per machine; half a minute)\n").startswith(said)
