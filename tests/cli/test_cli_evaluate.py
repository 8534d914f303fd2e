"""``rlsearch evaluate``, of a run and of formulas."""

import csv
import io
import json
import re

import pytest
from helpers import DIGITS, make_config, proxies

from rlsearch import train
from rlsearch.formula.named import BASELINES
from rlsearch.runs.config import dump_config
from rlsearch.studies import evaluate as evaluation


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_an_evaluation_as_a_table_and_as_json(run, real_run):
    code, out, err = run("evaluate", real_run, "x * sin(x)", "--best", 2, "--seeds", 2, "--json")
    assert code == 0
    assert re.fullmatch(r"fresh seeds: \d+ done\n", err)
    rows = json.loads(out)
    assert {row["name"] for row in rows if row["name"]} == set(BASELINES)
    assert "x * sin(x)" in {row["formula"] for row in rows}
    assert all(set(row["fresh"]) == {"mean", "standard_error", "seeds"} for row in rows)
    assert all(list(row["proxies"]) == ["digits-mlp", "digits-mlp (2)"] for row in rows)
    assert any(row["searched"] for row in rows)
    code, out, _ = run("evaluate", real_run, "x * sin(x)", "--best", 2, "--seeds", 2, "--csv")
    flat = list(csv.DictReader(io.StringIO(out)))
    assert {"name", "formula", "searched.mean", "fresh.mean", "latency.ratio", "proxies.digits-mlp.seeds"} <= set(
        flat[0]
    )
    assert [row["formula"] for row in flat] == [row["formula"] for row in rows]
    assert [row["fresh.mean"] for row in flat] == [str(row["fresh"]["mean"]) for row in rows]
    # What the search did not see is empty.
    assert {bool(row["searched.mean"]) for row in flat} == {bool(row["searched"]) for row in rows} == {True, False}
    code, out, _ = run("evaluate", real_run, "x * sin(x)", "--best", 2, "--seeds", 2)
    assert code == 0
    lines = out.splitlines()
    assert lines[2].split() == ["saw", "(test)", "mlp", "mlp", "(2)", "latency", "function"]
    assert lines[1].split() == ["search", "2", "fresh", "seeds", "digits", "digits"]
    assert "\nGain: in spreads of the baselines; mean ± standard error over seeds.\n" in out
    assert "\nBeside it the mean scores: accuracy on digits-mlp, accuracy on digits-mlp (2).\n" in out
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("Gain"))]
    assert max(map(len, table)) <= 80
    assert all(any(name in line.split() for line in table) for name in BASELINES)
    assert f"\n  rlsearch export {real_run} -o activation.py  # a torch module" in out


def test_a_stopped_evaluation_of_a_run_says_that_it_is_stored(run, real_run, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    said = f"Stopped; what was trained is stored in {real_run}. The same command goes on from there.\n"
    assert run("evaluate", real_run) == (0, said, "")
    assert run("evaluate", "x * x") == (1, "", "rlsearch: interrupted\n")


def test_an_evaluation_of_formulas_alone(run, tmp_path):
    (tmp_path / "c.yaml").write_text(dump_config(make_config(proxies(tmp_path, proxies=[DIGITS]))))
    arguments = ["--set", "seed=2", "--seeds", 1, "--baselines", "gelu,max(x, sin(x))"]
    code, out, _ = run("evaluate", "x * x", "--config", "c.yaml", *arguments)
    assert code == 0
    assert out.splitlines()[2].split() == ["(test)", "latency", "function"]
    assert sorted(" ".join(line.split()[2:]) for line in out.splitlines()[4:7]) == ["gelu", "max(x, sin(x))", "x * x"]
    assert "\nAccuracy: mean ± standard error over seeds.\n" in out
    assert "Next" not in out


def test_a_run_without_proxies_cannot_be_evaluated(run):
    curve_run = train(make_config(rounds=1), "curve").run.folder
    code, out, err = run("evaluate", curve_run)
    assert (code, out) == (2, "")
    assert err.startswith("rlsearch: the reward rlsearch_envs:CurveReward has no proxies to train")
    code, _, err = run("evaluate", curve_run, curve_run)
    assert code == 2
    assert err.startswith("rlsearch: expected at most one run, got ")
