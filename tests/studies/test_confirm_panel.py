"""A confirmation over proxies of different kinds: each in its own unit, and all together in gains."""

import csv
import io
import json
import math

import numpy as np
import pytest
from helpers import DIGITS, make_config, proxies
from helpers_proxies import trained_scores

from rlsearch import Formula, train
from rlsearch.common.seeds import fresh_seed
from rlsearch.errors import RewardError
from rlsearch.formula.simplify import shown
from rlsearch.kernels import default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.tasks import CLASSIFICATION, GAIN, REGRESSION
from rlsearch.runs import read as results
from rlsearch.studies.confirm import confirm, confirm_formulas
from rlsearch.studies.retrain import Options

parse = Formula.parse
FEW = Options(seeds=3, selection_seeds=1)
FIXED = Options(seeds=3, rates=(1.0,))
HARMONICS = {
    "dataset": "harmonics", "widths": [8], "epochs": 2, "train_size": 128, "validation_size": 64, "test_size": 64,
    "batch_size": 32, "population": 4, "outside_weight": 0.25, "learning_rates": [0.02, 0.1],
}  # fmt: skip
AGAINST = ["gelu", "softplus"]
BASELINES = ["relu", "tanh", "gelu"]


def panel(folder, **more):
    return proxies(folder, proxies=[DIGITS, HARMONICS], baselines=BASELINES, **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return train(make_config(panel(folder, combine="worst"), 3, 8, seed=3), "real", runs=folder).run


@pytest.fixture(scope="module")
def confirmed(run):
    return confirm(run, best=2, baselines=AGAINST, options=FEW)


@pytest.fixture(scope="module")
def again(run, confirmed):
    """The test scores of everything, one training at a time: by proxy and formula, one per seed."""
    kernel, scores = default_kernel("cpu"), {}
    chosen = {name: {f.formula: f.rates[0].rate for f in all_of(found)} for name, found in confirmed.proxies.items()}
    for name, settings in zip(run.config.reward.names, run.config.proxies, strict=True):
        for text, rate in chosen[name].items():
            scores[name, text] = []
            for seed in (fresh_seed(3, 1000 + j) for j in range(3)):
                fresh = {"data_seed": 2**31 + seed, "validation_size": 4, "learning_rate": rate, "learning_rates": ()}
                proxy = Proxy(settings.check(settings.model_dump() | fresh), kernel, "cpu")
                scores[name, text] += trained_scores(proxy, [Training(parse(text), "", seed, "test")])
    return scores


def all_of(findings):
    return (*findings.formulas, *findings.baselines)


def test_each_proxy_is_reported_in_its_own_unit(confirmed, again):
    assert list(confirmed.proxies) == ["digits-mlp", "harmonics-mlp"]
    for (name, found), task in zip(confirmed.proxies.items(), (CLASSIFICATION, REGRESSION), strict=True):
        assert (found.proxy, found.words) == (name, task)
        assert sorted(f.name for f in found.baselines) == sorted(AGAINST)
        assert found.differences.mean.shape == (2, 2)  # no others are compared, and so corrected for
        for finding in all_of(found):
            assert finding.scores.tolist() == again[name, finding.formula]
    verdicts = [" ".join(found.verdicts) for found in confirmed.proxies.values()]
    assert "points, 3 seeds are too few" in verdicts[0]
    assert "digits, 3 seeds are too few" in verdicts[1]
    # Warnings are those of the proxy.
    assert ["digits cannot be generated anew" in text for text in verdicts] == [True, False]


def test_the_whole_panel_is_reported_in_gains(run, confirmed):
    found = confirmed.findings
    assert (found.proxy, found.words, found.spread, confirmed.spread) == ("", GAIN, 1.0, 1.0)
    # The reference and the unit's baselines are trained, though they are not compared with.
    trained = confirm_formulas([parse("x")], run.config, baselines=BASELINES, options=FEW)
    scores = {name: {f.name: f.scores for f in found.baselines} for name, found in trained.proxies.items()}
    for name, by_function in scores.items():
        means = [by_function[baseline].mean() for baseline in BASELINES]
        assert confirmed.proxies[name].spread == pytest.approx(max(means) - min(means), abs=1e-12)
    for finding in all_of(found):
        gains = []
        for name, on_proxy in confirmed.proxies.items():
            (of_proxy,) = [f for f in all_of(on_proxy) if f.formula == finding.formula]
            counted = (of_proxy.scores - scores[name]["relu"]) / on_proxy.spread
            assert of_proxy.gain == pytest.approx(np.clip(counted, -3, 3).mean())
            gains.append(np.clip(counted, -3, 3))
        assert finding.scores == pytest.approx(np.minimum(*gains))  # as the run combines them
    assert "spreads, 3 seeds are too few for an interval" in found.verdicts[0]


def test_what_the_search_saw_is_its_gain(run, confirmed):
    board = {shown(judged.formula): judged.result.score for judged in results.top(run, 50, mirrors=True)}
    gelu = next(text for text in board if parse(text) == parse("gelu(x)"))
    for finding in confirmed.findings.formulas:
        assert finding.searched == board[finding.formula]
    assert {f.name: f.searched for f in confirmed.findings.baselines} == {"gelu": board[gelu], "softplus": None}
    assert all(f.searched is None for found in confirmed.proxies.values() for f in all_of(found))


def test_rates_and_drops_are_of_each_proxy_and_in_spreads_over_all(confirmed):
    for finding in all_of(confirmed.findings):
        of_proxies = []
        for place, found in enumerate(confirmed.proxies.values()):
            (on_proxy,) = [f for f in all_of(found) if f.formula == finding.formula]
            assert on_proxy.rates == (finding.rates[place],)
            assert on_proxy.drops == on_proxy.rates[0].drops
            of_proxies.append(np.array(on_proxy.drops) / found.spread)
        np.testing.assert_allclose(finding.drops, np.mean(of_proxies, axis=0))
    # The grid of a proxy that names its rates begins with them.
    for finding in all_of(confirmed.proxies["harmonics-mlp"]):
        assert {0.02, 0.1} <= {rate for rate, _ in finding.rates[0].tried}
        assert len(finding.rates[0].tried) >= 3  # the best of two lies at an end


def test_scores_outside_the_range_of_training_are_shown(confirmed):
    assert all(math.isnan(f.outside) for f in all_of(confirmed.proxies["digits-mlp"]))
    assert all(math.isfinite(f.outside) for f in all_of(confirmed.proxies["harmonics-mlp"]))
    tree = json.loads((confirmed.folder / "confirm.json").read_text())["by_proxy"]
    for found, written in zip(confirmed.proxies.values(), tree.values(), strict=True):
        for finding, fields in zip(all_of(found), written["functions"], strict=True):
            assert fields["outside"] == (None if math.isnan(finding.outside) else finding.outside)


def test_the_files_have_both(confirmed):
    assert {path.name for path in confirmed.folder.glob("*.png")} == {
        "forest.png", "pareto.png", "forest-digits-mlp.png", "pareto-digits-mlp.png", "forest-harmonics-mlp.png",
        "pareto-harmonics-mlp.png",
    }  # fmt: skip
    tree = json.loads((confirmed.folder / "confirm.json").read_text())
    assert tree["verdicts"] == confirmed.findings.verdicts
    assert {name: found["verdicts"] for name, found in tree["by_proxy"].items()} == {
        name: found.verdicts for name, found in confirmed.proxies.items()
    }
    rows = list(csv.DictReader(io.StringIO((confirmed.folder / "confirm.csv").read_text())))
    assert [row["formula"] for row in rows] == [f.formula for f in all_of(confirmed.findings)]
    assert {"mean_digits-mlp", "gain_harmonics-mlp", "outside_harmonics-mlp"} <= set(rows[0])


def test_tensorboard_has_the_figures_of_each_proxy(run, confirmed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert {"confirm/forest", "confirm/forest-digits-mlp", "confirm/pareto-harmonics-mlp"} <= set(
        events.Tags()["images"]
    )


def test_a_second_time_trains_nothing_and_says_the_same(run, confirmed):
    before = (confirmed.folder / "confirm.json").read_bytes()
    again = confirm(run, best=2, baselines=AGAINST, options=FEW)
    assert again.trained == 0
    assert (confirmed.folder / "confirm.json").read_bytes() == before


def test_two_proxies_of_one_name_have_files_of_their_own(tmp_path):
    config = make_config({"proxies": [DIGITS, DIGITS | {"widths": [12]}]})
    found = confirm_formulas([parse("x * x")], config, baselines=["gelu"], output=tmp_path / "out", options=FIXED)
    assert list(found.proxies) == ["digits-mlp", "digits-mlp (2)"]
    assert (tmp_path / "out" / "forest-digits-mlp-2.png").exists()


def test_a_single_regression_is_reported_in_its_own_unit(tmp_path):
    """There is nothing to combine; the gains of the search have no place beside it."""
    reward = proxies(tmp_path, proxies=[HARMONICS | {"learning_rates": []}])
    run = train(make_config(reward, 1, 8), "single", runs=tmp_path).run
    outcome = confirm(run, best=1, baselines=["gelu"], options=FIXED)
    found = outcome.findings
    assert (found.words, outcome.proxies) == (REGRESSION, {})
    (formula,) = found.formulas
    (judged,) = [judged for judged in results.top(run, 20, mirrors=True) if shown(judged.formula) == formula.formula]
    assert formula.searched == judged.result.scores["harmonics-mlp"] != judged.result.score
    assert math.isfinite(formula.outside)
    assert " digits, 3 seeds are too few for an interval" in found.verdicts[0]


def test_a_proxy_that_cannot_tell_the_baselines_apart_is_named():
    """After one step of training, from seeds that matter more than the functions."""
    blunt = DIGITS | {"train_size": 32, "learning_rate": 1e-6}
    config = make_config({"proxies": [blunt, HARMONICS]})
    found = confirm_formulas([parse("x * x")], config, baselines=["gelu"], options=FIXED).findings
    (warning,) = [text for text in found.verdicts if "cannot tell the baselines apart" in text]
    assert warning.startswith("digits-mlp cannot tell the baselines apart: their means lie within ")
    assert warning.endswith("; gains on it are mostly luck")


def test_a_reference_that_diverges_is_an_error_and_what_was_trained_is_kept(tmp_path):
    config = make_config({"proxies": [DIGITS, DIGITS | {"widths": [12]}], "reference": "1e30 * (x * 1e30)"})
    for _ in range(2):
        with pytest.raises(RewardError, match="diverges on digits-mlp from some seeds"):
            confirm_formulas([parse("x * x")], config, baselines=["gelu"], output=tmp_path, options=FIXED)
    assert (tmp_path / "evaluations.sqlite").exists()


def test_a_function_that_diverges_on_one_proxy_has_a_verdict_on_the_others():
    """Beyond 0.9 it is infinite, where the inputs of harmonics lead and those of digits do not."""
    steep = "x + 1e30 * (relu(x - 0.9) * 1e30)"
    config = make_config({"proxies": [DIGITS | {"learning_rate": 1e-3}, HARMONICS]})
    found = confirm_formulas([parse("x * x"), parse(steep)], config, baselines=["gelu"], options=FIXED)
    on_digits, on_harmonics = found.proxies.values()
    assert [f.diverged for f in on_digits.formulas] == [0, 0]
    times = on_harmonics.formulas[-1].diverged
    assert times > 0
    assert on_digits.differences.mean.shape == (2, 1)
    assert f"`{parse(steep)}` diverged from {times} of 3 seeds; nothing is claimed of it" in found.findings.verdicts
    assert len(found.findings.compared) == 1
