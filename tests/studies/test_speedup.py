"""Effective speed-up: what is read off a baseline's curve, and the study and the command around it."""

import json

import numpy as np
import pytest
import torch
from helpers import proxies

from rlsearch import Formula
from rlsearch.errors import InputError
from rlsearch.proxies.settings import ProxySettings
from rlsearch.runs.config import Config, dump_config
from rlsearch.studies.learning_curve import compute_needed, speed_ups
from rlsearch.studies.retrain import Options
from rlsearch.studies.speedup import at_budgets, speedup

torch.set_num_threads(1)

BUDGETS = np.array([0.25, 0.5, 1.0])
# A nat for every doubling from the first to the second, half of one from there.
CURVE = np.array([-3.0, -2.0, -1.5])


@pytest.mark.parametrize(
    ("wanted", "compute"),
    [
        (-3.0, 0.25),
        (-5.0, 0.25),  # even the smallest budget is enough
        (-2.5, 0.25 * 2**0.5),  # half of the way in the logarithm
        (-2.0, 0.5),
        (-1.75, 0.5 * 2**0.5),
        (-1.5, 1.0),
        (-1.25, 2**0.5),  # beyond the last point, along its line
        (-1.0, 2.0),
        (-0.5, 2.0),  # no further than that
    ],
)
def test_lines_over_the_logarithm_of_compute(wanted, compute):
    assert compute_needed(BUDGETS, CURVE[None], np.array([wanted])) == pytest.approx([compute])


def test_of_a_curve_that_falls_the_first_crossing_counts():
    falling = np.array([[-3.0, -1.0, -2.0]])
    assert compute_needed(BUDGETS, falling, np.array([-1.5])) == pytest.approx([0.25 * 2**0.75])
    # It never comes to a score above its highest.
    assert compute_needed(BUDGETS, falling, np.array([-0.5])) == pytest.approx([2.0])


def test_equal_seeds_give_an_interval_without_width():
    baseline = np.repeat(CURVE[:, None], 5, axis=1)
    found = speed_ups(BUDGETS, baseline, np.full(5, -1.25), np.full(9, 1.25))
    assert found.difference.value == pytest.approx(0.25)
    steps, time = found.at_equal_steps, found.at_equal_time
    assert [each.number for each in (steps.low, steps.value, steps.high)] == pytest.approx([2**0.5] * 3)
    # A step takes a quarter longer, so that much of it is lost.
    assert [each.number for each in (time.low, time.value, time.high)] == pytest.approx([2**0.5 / 1.25] * 3)
    assert steps.is_ahead
    assert time.is_ahead


def test_what_lies_beyond_the_curve_is_a_limit():
    baseline = np.repeat(CURVE[:, None], 3, axis=1)
    far = speed_ups(BUDGETS, baseline, np.full(3, 0.0), np.ones(3))
    near = speed_ups(BUDGETS, baseline, np.full(3, -4.0), np.ones(3))
    assert str(far.at_equal_steps.value) == ">=2.00"
    assert str(near.at_equal_steps.value) == "<=0.25"
    assert near.at_equal_steps.is_behind


def test_the_interval_covers_what_seeds_leave_open():
    """The seeds differ by as much as the curve gains from a half to the whole, so 1 cannot be told from less."""
    noise = np.array([-0.5, -0.25, 0.0, 0.25, 0.5])
    baseline = CURVE[:, None] + noise
    found = speed_ups(BUDGETS, baseline, CURVE[-1] - noise, np.ones(5))
    assert found.at_equal_steps.low.number < 1 < found.at_equal_steps.high.number
    same = speed_ups(BUDGETS, baseline, CURVE[-1] - noise, np.ones(5))
    assert str(same.at_equal_steps.cell) == str(found.at_equal_steps.cell)


@pytest.mark.parametrize(
    ("epochs", "budgets", "trained_with"),
    [
        (4, (0.25, 0.5), [(1, 512), (2, 512), (4, 512)]),
        # Where an epoch would be cut, there are fewer examples, in whole batches.
        (1, (0.25, 0.5), [(1, 128), (1, 256), (1, 512)]),
    ],
)
def test_budgets(epochs, budgets, trained_with):
    proxy = ProxySettings(epochs=epochs, train_size=512, batch_size=64)
    found = at_budgets(proxy, budgets)
    assert list(found) == [0.25, 0.5, 1.0]
    assert [(each.epochs, each.sizes[0]) for each in found.values()] == trained_with


@pytest.mark.parametrize(
    ("budgets", "message"),
    [((0.0, 1.0), "got 0$"), ((2.0,), "got 2$"), ((1.0,), "got none but the whole"), ((0.01,), "more batches")],
)
def test_budgets_that_are_none(budgets, message):
    with pytest.raises(InputError, match=message):
        at_budgets(ProxySettings(epochs=1, train_size=512, batch_size=64), budgets)


DIGITS = {
    "dataset": "digits", "widths": [8], "batch_size": 32, "train_size": 256, "validation_size": 128, "test_size": 128,
    "epochs": 1, "population": 4, "learning_rate": 0.03,
}  # fmt: skip
FEW = Options(3, (1.0,), 1)


def config(folder):
    return Config.check({"device": "cpu", "workers": 1, "reward": proxies(folder, proxies=[DIGITS])})


def test_a_function_beside_itself_has_no_speed_up(tmp_path):
    """The baseline in another spelling trains to the same scores: it needs as many steps."""
    same, other = Formula.parse("x * sigmoid(x) * 1"), Formula.parse("tanh(x)")
    found = speedup([same, other], config(tmp_path), baseline="relu", output=tmp_path / "out", options=FEW)
    assert {function.title for function in found.functions} == {str(same), "tanh(x)"}
    assert [point.examples for point in found.points] == [64, 128, 256]
    assert all(len(point.scores) == 3 for point in found.points)
    tree = json.loads((tmp_path / "out" / "speedup.json").read_text())
    assert [point["budget"] for point in tree["baseline"]["curve"]] == [0.25, 0.5, 1.0]
    assert len(tree["functions"]) == 2
    assert len(found.verdicts) >= 2
    # What is stored is not trained again.
    again = speedup([same, other], config(tmp_path), baseline="relu", output=tmp_path / "out", options=FEW)
    assert again.trained == 0
    assert [f.scores.tolist() for f in again.functions] == [f.scores.tolist() for f in found.functions]


def test_the_command(tmp_path, run):
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config(tmp_path)))
    few = ["--seeds", "2", "--rates", "1", "--selection-seeds", "1"]
    code, out, _ = run("speedup", "tanh(x)", "--config", path, "--baseline", "relu", *few, "-o", tmp_path / "out")
    assert code == 0
    assert "tanh" in out.lower()
    assert "1/4" in out
    assert "2 seeds: the intervals are too narrow" in out.replace("\n", " ")
    assert (tmp_path / "out" / "speedup.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tanh(x)"], "formulas need --config"),
        (["tanh(x)", "--config", "smoke", "--budgets", "half"], "--budgets 'half' is not a list of shares"),
        (["x * g", "--config", "smoke"], "x, g"),
    ],
)
def test_wrong_use(tmp_path, run, arguments, message):
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config(tmp_path)))
    code, _, err = run("speedup", *(str(path) if argument == "smoke" else argument for argument in arguments))
    assert code == 2
    assert message in err
