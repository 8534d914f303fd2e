import csv
import io
import json

import pytest
from helpers_findings import NATS, baseline, finding, findings_of, noisy, typical

from rlsearch.studies.files import to_csv, to_json


def test_the_json_has_everything():
    found = typical()
    tree = json.loads(to_json(found, {"config_seed": 7}))
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
    pair = tree["comparisons"][0]
    assert (pair["formula"], pair["baseline"], pair["better"]) == ("x * atan(x)", "gelu", True)
    d = found.differences
    assert (pair["difference"], pair["low"], pair["high"]) == (d.mean[0, 0], d.low[0, 0], d.high[0, 0])
    assert pair["p"] == d.p[0, 0]
    assert pair["latency_ratio"] == pytest.approx(0.9)
    assert len(tree["comparisons"]) == 4


def test_the_json_says_what_a_score_is():
    tree = json.loads(to_json(typical(task=NATS), {}))
    assert (tree["task"], tree["score"]) == ("next token", "minus cross-entropy")
    assert tree["verdicts"] == typical(task=NATS).verdicts
    assert "nats lower" in tree["verdicts"][0]


def test_what_is_not_finite_is_null():
    tree = json.loads(to_json(typical(), {}))
    diverged = tree["functions"][2]
    assert (diverged["mean"], diverged["standard_error"], diverged["diverged"]) == (None, None, 1)
    assert diverged["scores"][0] is None
    few = findings_of([finding("x", noisy(0.5, 0, 2))], [baseline("relu", noisy(0.4, 1, 2))])
    pair = json.loads(to_json(few, {}))["comparisons"][0]
    assert (pair["low"], pair["high"], pair["better"]) == (None, None, False)


def test_the_csv_has_a_row_per_function_and_four_columns_per_baseline():
    found = typical()
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["formula"] for row in rows] == ["x * atan(x)", "x * x", "exp(x)", "gelu(x)", "relu(x)"]
    assert [row["name"] for row in rows] == ["", "", "", "gelu", "relu"]
    assert float(rows[1]["difference_relu"]) == found.differences.mean[1, 1]
    assert float(rows[1]["p_gelu"]) == found.differences.p[1, 0]
    assert rows[2]["mean"] == rows[2]["difference_gelu"] == rows[3]["difference_gelu"] == ""
    assert rows[0]["learning_rates"] == "0.03"
    assert {"low_relu", "high_relu", "latency_low", "latency_high", "searched", "pareto"} <= set(rows[0])
    assert "\r" not in to_csv(found)
