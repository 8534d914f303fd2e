"""``rlsearch top``, of runs with one proxy and with several."""

import csv
import io
import json
from types import SimpleNamespace

import pytest
from helpers import DIGITS, make_config, proxies

from rlsearch import Formula, train
from rlsearch.cli.tables import MIN_TEXT_WIDTH, leaderboard, panel_of, print_out
from rlsearch.formula.simplify import shown
from rlsearch.judging.history import Judged
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.runs import read as results

TINY_PANEL = [
    DIGITS,
    DIGITS | {"widths": [12]},
    DIGITS | {"dataset": "physics"},
    DIGITS | {"dataset": "teacher", "score": "loss"},
]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def panel_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = make_config(proxies(folder, proxies=TINY_PANEL), 1, 12, search={"method": "random"})
    return train(config, "panel", runs=folder).run.folder


NAMES = ["digits-mlp", "digits-mlp (2)", "physics-mlp", "teacher-mlp"]


def test_the_best_on_a_panel_have_their_gains_in_the_table(run, panel_run, monkeypatch):
    code, out, err = run("top", panel_run, "-n", 20)
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["digits", "digits", "physics", "teacher"]
    # Where there is no room for formulas, the least needed columns are left out.
    assert lines[2].split() == ["rank", "reward", "mlp", "mlp", "(2)", "mlp", "mlp", "latency", "formula"]
    assert lines[2].index("formula") <= 80 - MIN_TEXT_WIDTH
    monkeypatch.setenv("COLUMNS", "120")
    wide = run("top", panel_run, "-n", 20)[1].splitlines()
    assert "seeds" in wide[2]
    board = results.top(panel_run, 20, mirrors=True)
    first = board[0].result
    assert [float(cell) for cell in lines[4].split()[1:6]] == pytest.approx(
        [first.value, *first.gains.values()], abs=0.0051
    )
    assert list(first.gains) == NAMES
    # The baselines are there by the names that people give them; the linear network is not one.
    text = out.replace("\n", " ")
    assert all(f" {title} " in text for title in ("ReLU", "GELU", "SiLU", "Mish", "Tanh"))
    assert "0.5 * x * (1" not in text


def test_the_best_on_a_panel_as_csv(run, panel_run):
    code, out, err = run("top", panel_run, "-n", 3, "--csv", "--all")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == [
        "rank", "reward", "score", "seeds", "latency", "formula", "mirrored",
        *(f"scores.{name}" for name in NAMES), *(f"gains.{name}" for name in NAMES),
    ]  # fmt: skip
    for row, judged in zip(rows, results.top(panel_run, 3, mirrors=True), strict=True):
        assert (row["formula"], row["mirrored"]) == (shown(judged.formula), "0")
        assert {name: float(row[f"scores.{name}"]) for name in NAMES} == judged.result.scores
        assert {name: float(row[f"gains.{name}"]) for name in NAMES} == judged.result.gains
        assert float(row["score"]) == pytest.approx(sum(judged.result.gains.values()) / 4)


def test_the_best_on_a_panel_as_json(run, panel_run):
    code, out, err = run("top", panel_run, "-n", 3, "--json", "--all")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    for row, judged in zip(rows, results.top(panel_run, 3, mirrors=True), strict=True):
        assert (row["formula"], row["reward"], row["seeds"]) == (shown(judged.formula), judged.reward, judged.seeds)
        assert (row["scores"], row["gains"]) == (judged.result.scores, judged.result.gains)


def one_of(gains, formula="x", **more):
    result = RewardResult(0.25, Status.OK, 0.5, scores=dict.fromkeys(gains, 0.5), gains=gains)
    return Judged(Formula.parse(formula), result, **more)


def printed(board, capsys):
    print_out(leaderboard(board))
    return capsys.readouterr().out


def test_on_a_single_proxy_the_score_says_all(capsys):
    board = [one_of({"digits-mlp": 0.125})]
    assert panel_of(board) == []
    out = printed(board, capsys)
    assert out.split()[:6] == ["rank", "reward", "score", "seeds", "latency", "formula"]
    assert "0.5000" in out


def test_functions_of_an_older_run_have_no_gains(capsys):
    old = Judged(Formula.parse("sin(x)"), RewardResult(0.5, Status.OK, 0.75))
    assert panel_of([old]) == panel_of([]) == []
    assert "0.7500" in printed([old], capsys)
    mixed = [old, one_of({"a": 1.0, "b": -0.125})]
    assert panel_of(mixed) == ["a", "b"]
    lines = printed(mixed, capsys).splitlines()
    assert lines[3].split() == ["1", "+0.5000", "-", "-", "0", "-", "sin(x)"]
    assert lines[4].split() == ["2", "+0.2500", "+1.00", "-0.12", "0", "-", "x"]


def test_networks_of_ones_own_are_known_by_the_factory(capsys):
    gains = {"some_package.of_mine:build_network": 1.0, "some_package.of_mine:build_network (2)": 2.0}
    head = printed([one_of(gains, "gelu(x)", is_reference=True)], capsys).splitlines()
    assert head[1].split()[2:5] == ["build_network", "build_network", "(2)"]
    assert head[3].split()[-1] == "GELU"


@pytest.fixture
def mirrored_board(monkeypatch):
    texts = ["softplus(x) - cos(x)", "cos(x) - softplus(x)", "max(x, x) * sqrt(x)", "x - 1 + 1"]
    board = [one_of({}, text) for text in texts]
    history = SimpleNamespace(leaderboard=lambda count: board[:count])
    monkeypatch.setattr(results, "read_history", lambda run, best: history)
    return board


def test_mirror_images_are_one_row_unless_all_are_wanted(run, mirrored_board):
    lines = run("top", ".")[1].splitlines()
    assert [" ".join(line.split()[5:]) for line in lines[4:7]] == [
        "+1 softplus(x) - cos(x)", "x * sqrt(abs(x))", "x",
    ]  # fmt: skip
    lines = run("top", ".", "--all")[1].splitlines()
    assert [" ".join(line.split()[5:]) for line in lines[3:7]] == [
        "softplus(x) - cos(x)", "cos(x) - softplus(x)", "x * sqrt(abs(x))", "x",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(run("top", ".", "--csv", "-n", 2)[1])))
    assert [(row["rank"], row["formula"], row["mirrored"]) for row in rows] == [
        ("1", "softplus(x) - cos(x)", "1"), ("2", "x * sqrt(abs(x))", "0"),
    ]  # fmt: skip
