import csv
import io
import json

import pytest
from helpers_findings import NATS, baseline, finding, findings_of, noisy, panel, typical

from rlsearch.studies.files import to_csv, to_json


def test_the_json_has_everything():
    found = typical()
    tree = json.loads(to_json(found, {}, {"config_seed": 7}))
    assert tree["config_seed"] == 7
    assert tree["seeds"] == 20
    assert tree["confidence"] == 0.95
    assert tree["latency_label"] == "some kernel, some cpu"
    assert tree["verdicts"] == found.verdicts
    assert (tree["task"], tree["score"]) == ("classification", "accuracy")
    assert [f["formula"] for f in tree["functions"]] == ["x * atan(x)", "x * x", "exp(x)", "gelu(x)", "relu(x)"]
    assert [f["pareto"] for f in tree["functions"]] == [True, True, False, False, False]
    first = tree["functions"][0]
    assert first["scores"] == found.formulas[0].scores.tolist()
    assert first["mean"] == found.formulas[0].mean
    assert (first["searched"], first["learning_rates"], first["latency"]) == (0.66, [0.03], 1.8)
    assert (first["drop_at_lower_rate"], first["drop_at_higher_rate"], first["rates_tried"]) == (0.1, 0.2, [[]])
    assert tree["functions"][1]["rates_tried"] == [
        [{"rate": 0.003, "score": 0.4}, {"rate": 0.01, "score": 0.5}, {"rate": 0.03, "score": 0.3}]
    ]
    assert [f["source"] is None for f in tree["functions"]] == [True, True, True, False, False]
    assert (tree["by_proxy"], tree["spread"], first["gain"], first["outside"]) == ({}, None, None, None)
    pair = tree["comparisons"][0]
    assert (pair["formula"], pair["baseline"], pair["better"]) == ("x * atan(x)", "gelu", True)
    d = found.differences
    assert (pair["difference"], pair["low"], pair["high"]) == (d.mean[0, 0], d.low[0, 0], d.high[0, 0])
    assert pair["p"] == d.p[0, 0]
    assert pair["latency_ratio"] == pytest.approx(0.9)
    assert len(tree["comparisons"]) == 4


def test_the_json_says_what_a_score_is():
    tree = json.loads(to_json(typical(words=NATS), {}, {}))
    assert (tree["task"], tree["score"]) == ("next token", "minus cross-entropy")
    assert tree["verdicts"] == typical(words=NATS).verdicts
    assert "nats lower" in tree["verdicts"][0]


def test_a_panel_has_every_proxy_in_its_own_unit():
    whole, proxies = panel()
    tree = json.loads(to_json(whole, proxies, {}))
    assert (tree["task"], tree["score"], tree["spread"]) == ("panel", "gain", 1.0)
    assert list(tree["by_proxy"]) == ["spots-mlp", "chars-mlp"]
    on_proxy = tree["by_proxy"]["chars-mlp"]
    found = proxies["chars-mlp"]
    assert (on_proxy["task"], on_proxy["score"], on_proxy["spread"]) == ("next token", "minus cross-entropy", 0.5)
    assert on_proxy["verdicts"] == found.verdicts
    first = on_proxy["functions"][0]
    assert (first["formula"], first["mean"], first["gain"], first["outside"]) == (
        "x * x", found.formulas[0].mean, 1.25, 0.375
    )  # fmt: skip
    # Where it diverges at the higher rate there is no number.
    assert (first["drop_at_lower_rate"], first["drop_at_higher_rate"]) == (0.25, None)
    assert len(on_proxy["comparisons"]) == 4
    assert [pair["difference"] for pair in on_proxy["comparisons"]] == found.differences.mean.ravel().tolist()


def test_the_csv_of_a_panel_has_columns_for_each_proxy():
    whole, proxies = panel()
    rows = list(csv.DictReader(io.StringIO(to_csv(whole, proxies))))
    assert [row["formula"] for row in rows] == ["x * x", "sin(x)", "gelu(x)", "relu(x)"]
    by_formula = {row["formula"]: row for row in rows}
    for name, found in proxies.items():
        for function in (*found.formulas, *found.baselines):
            row = by_formula[function.formula]
            assert float(row[f"mean_{name}"]) == function.mean
            assert float(row[f"gain_{name}"]) == function.gain
            assert float(row[f"drop_at_lower_rate_{name}"]) == function.drops[0]
    assert rows[0]["outside_spots-mlp"] == "0.375"
    assert rows[1]["outside_spots-mlp"] == ""
    assert rows[0]["learning_rates"] == "0.01 0.03"
    assert rows[0]["drop_at_lower_rate"] == "0.5"


def test_what_is_not_finite_is_null():
    tree = json.loads(to_json(typical(), {}, {}))
    diverged = tree["functions"][2]
    assert (diverged["mean"], diverged["standard_error"], diverged["diverged"]) == (None, None, 1)
    assert diverged["scores"][0] is None
    few = findings_of([finding("x", noisy(0.5, 0, 2))], [baseline("relu", noisy(0.4, 1, 2))])
    pair = json.loads(to_json(few, {}, {}))["comparisons"][0]
    assert (pair["low"], pair["high"], pair["better"]) == (None, None, False)


def test_the_csv_has_a_row_per_function_and_four_columns_per_baseline():
    found = typical()
    rows = list(csv.DictReader(io.StringIO(to_csv(found, {}))))
    assert [row["formula"] for row in rows] == ["x * atan(x)", "x * x", "exp(x)", "gelu(x)", "relu(x)"]
    assert [row["name"] for row in rows] == ["", "", "", "gelu", "relu"]
    assert float(rows[1]["difference_relu"]) == found.differences.mean[1, 1]
    assert float(rows[1]["p_gelu"]) == found.differences.p[1, 0]
    assert rows[2]["mean"] == rows[2]["difference_gelu"] == rows[3]["difference_gelu"] == ""
    assert rows[0]["learning_rates"] == "0.03"
    assert {"low_relu", "high_relu", "latency_low", "latency_high", "searched", "pareto"} <= set(rows[0])
    assert "\r" not in to_csv(found, {})
