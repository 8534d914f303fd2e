import csv
import io
import json
import math
import signal
import sqlite3

import numpy as np
import pytest
from helpers import DIGITS, make_config, proxies
from helpers_proxies import trained_scores

from rlsearch import Formula, train
from rlsearch.common.progress import Events
from rlsearch.common.seeds import fresh_seed, search_seed
from rlsearch.errors import FormulaError, InputError, RunError, StorageError
from rlsearch.formula.named import CONFIRMED_AGAINST
from rlsearch.formula.simplify import shown
from rlsearch.kernels import default_kernel
from rlsearch.kernels.latency import Latency, label
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.tasks import CLASSIFICATION
from rlsearch.runs import read as results
from rlsearch.studies import study
from rlsearch.studies.confirm import confirm, confirm_formulas
from rlsearch.studies.paired import paired_differences
from rlsearch.studies.retrain import Options

parse = Formula.parse
FEW = Options(seeds=3, selection_seeds=2)


def single(folder):
    """A reward of one classifier, whose gains are in points."""
    return proxies(folder, proxies=[DIGITS | {"widths": [12]}])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return train(make_config(single(folder), 3, 12, seed=3), "real", runs=folder).run


@pytest.fixture(scope="module")
def confirmed(run):
    return confirm(run, best=3, options=FEW)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".csv", ".png")}


def stored(folder):
    with sqlite3.connect(folder / "evaluations.sqlite") as connection:
        rows = connection.execute("SELECT fingerprint, protocol, seed, score FROM evaluations ORDER BY id").fetchall()
    connection.close()
    return rows


def test_the_best_of_a_run_beside_nine_baselines(run, confirmed):
    found = confirmed.findings
    names = {parse(f"{name}(x)").fingerprint for name in CONFIRMED_AGAINST}
    board = [j for j in results.read_history(run).found(50) if j.formula.fingerprint not in names][:3]
    assert {f.formula for f in found.formulas} == {shown(judged.formula) for judged in board}
    assert {f.name for f in found.baselines} == set(CONFIRMED_AGAINST)
    assert all(f.scores.shape == (3,) for f in (*found.formulas, *found.baselines))
    searched = {shown(judged.formula): judged.result.score for judged in board}
    assert {f.formula: f.searched for f in found.formulas} == searched
    relu = next(f for f in found.baselines if f.name == "relu")
    assert relu.searched is not None  # the search trains it for reference
    assert all(f.latency_low < f.latency < f.latency_high for f in found.formulas)
    assert (confirmed.proxies, found.words, found.spread) == ({}, CLASSIFICATION, pytest.approx(math.nan, nan_ok=True))


def test_scores_are_those_of_fresh_seeds_and_data_on_the_test_part_at_the_chosen_rate(run, confirmed):
    """Everything again, one training at a time."""
    found, (settings,) = confirmed.findings.formulas[0], run.config.reward.proxies
    expected = []
    for j in range(3):
        seed = fresh_seed(3, 1000 + j)
        fresh = {"data_seed": 2**31 + seed, "validation_size": 4, "learning_rate": found.rates[0].rate}
        proxy = Proxy(ProxySettings.check(settings.model_dump() | fresh), default_kernel("cpu"), "cpu")
        expected += trained_scores(proxy, [Training(parse(found.formula), "", seed, "test")])
    assert found.scores.tolist() == expected


def test_the_learning_rate_is_the_best_of_those_tried_on_a_validation_part_of_its_own(run, confirmed):
    (settings,) = run.config.reward.proxies
    chosen = set()
    for found in (*confirmed.findings.formulas, *confirmed.findings.baselines):
        (rate,) = found.rates
        assert [tried for tried, _ in rate.tried if 0.002 < tried < 0.05] == [0.01 * (1 / 3), 0.01, 0.03]
        for tried, score in rate.tried:
            fresh = {"data_seed": 2**31 + fresh_seed(3, 4000), "test_size": 4, "learning_rate": tried}
            proxy = Proxy(ProxySettings.check(settings.model_dump() | fresh), default_kernel("cpu"), "cpu")
            members = [Training(parse(found.formula), "p", fresh_seed(3, 4000 + j)) for j in range(2)]
            assert score == sum(trained_scores(proxy, members)) / 2
        assert found.drops == rate.drops
        chosen.add(rate.rate)
    assert len(chosen) > 1  # or the test would show little


def test_no_seed_and_no_data_of_the_search_is_used_again(run, confirmed):
    seeds = {seed for _, _, seed, _ in stored(confirmed.folder)}
    assert len(seeds) == 3 + 2
    assert not seeds & {search_seed(3, i) for i in range(5000)}
    assert not seeds & {fresh_seed(3, i) for i in range(1000)}  # those of evaluation.evaluate
    assert len({protocol for _, protocol, _, _ in stored(confirmed.folder)}) > 3


def test_the_differences_are_those_of_the_scores(confirmed):
    found = confirmed.findings
    again = paired_differences(
        np.array([f.scores for f in found.compared]), np.array([f.scores for f in found.compared_with])
    )
    np.testing.assert_array_equal(found.differences.mean, again.mean)
    np.testing.assert_array_equal(found.differences.p, again.p)


def test_the_files_say_what_was_found(confirmed):
    assert confirmed.folder.name == "confirm"
    assert set(contents(confirmed.folder)) == {
        "confirm.json",
        "confirm.csv",
        "forest.png",
        "pareto.png",
        "latencies.json",
    }
    tree = json.loads((confirmed.folder / "confirm.json").read_text())
    assert tree["options"] == {"seeds": 3, "rates": [1 / 3, 1.0, 3.0], "selection_seeds": 2}
    assert [f["formula"] for f in tree["functions"][:3]] == [f.formula for f in confirmed.findings.formulas]
    assert tree["verdicts"] == confirmed.findings.verdicts
    assert tree["config_seed"] == 3
    assert [proxy["widths"] for proxy in tree["proxies"]] == [[12]]
    assert tree["by_proxy"] == {}
    rows = list(csv.DictReader(io.StringIO((confirmed.folder / "confirm.csv").read_text())))
    assert len(rows) == 3 + 9


def test_tensorboard_has_the_figures_beside_the_searchs_own(run, confirmed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder))
    events.Reload()
    assert {"confirm/forest", "confirm/pareto", "search/curves"} <= set(events.Tags()["images"])
    assert "confirm/verdicts/text_summary" in events.Tags()["tensors"]
    last_round = events.Scalars("search/mean_reward")[-1].step
    assert events.Images("confirm/forest")[0].step == last_round


def test_a_second_time_trains_nothing_and_says_the_same(run, confirmed, monkeypatch):
    def forbidden(*arguments, **options):
        raise AssertionError("trained or measured again")

    monkeypatch.setattr(Proxy, "train", forbidden)
    monkeypatch.setattr(study, "measure", forbidden)
    before = contents(confirmed.folder)
    again = confirm(str(run.folder), best=3, options=FEW)
    assert again.trained == 0
    assert confirmed.trained > 0
    after = contents(confirmed.folder)
    assert {name: after[name] for name in after if not name.endswith("png")} == {
        name: before[name] for name in before if not name.endswith("png")
    }


def test_more_seeds_train_only_those_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "write_confirmation", lambda *arguments: None)  # drawing takes a second
    config, formulas = make_config({"proxies": [DIGITS]}), [parse("x * x"), parse("sin(x)")]
    options = {"config": config, "baselines": ["relu", "gelu"]}
    few = confirm_formulas(formulas, output=tmp_path / "out", options=FEW, **options)
    tried = sum(len(f.rates[0].tried) for f in (*few.findings.formulas, *few.findings.baselines))
    assert few.trained == 4 * 3 + 2 * tried  # final seeds of four functions, and two seeds at each rate
    more = confirm_formulas(formulas, output=tmp_path / "out", options=Options(seeds=5, selection_seeds=2), **options)
    assert more.trained == 4 * 2
    by_formula = {f.formula: f for f in more.findings.formulas}
    for found in few.findings.formulas:
        assert by_formula[found.formula].scores[:3].tolist() == found.scores.tolist()
        assert by_formula[found.formula].rates == found.rates
    whole = confirm_formulas(formulas, output=tmp_path / "new", options=Options(seeds=5, selection_seeds=2), **options)
    assert [f.scores.tolist() for f in whole.findings.formulas] == [f.scores.tolist() for f in more.findings.formulas]
    added = confirm_formulas([*formulas, parse("x**3")], output=tmp_path / "out", options=FEW, **options)
    (cube,) = [f for f in added.findings.formulas if f.formula == "x**3"]
    assert added.trained == 2 * len(cube.rates[0].tried) + 3
    options["baselines"] = ["mish", "relu"]
    against = confirm_formulas(formulas, output=tmp_path / "out", options=FEW, **options)
    assert [f.name for f in against.findings.baselines if f.name != "mish"] == ["relu"]
    (mish,) = [f for f in against.findings.baselines if f.name == "mish"]
    assert against.trained == 2 * len(mish.rates[0].tried) + 3


def test_an_interrupted_confirmation_goes_on_where_it_was(tmp_path):
    config, formulas = make_config({"proxies": [DIGITS]}), [parse("x * x")]

    class Interrupt(Events):
        def on_progress(self, what, done, wanted):
            if what == "final trainings" and done >= 12:
                signal.raise_signal(signal.SIGINT)

    stopped = confirm_formulas(formulas, config, output=tmp_path / "out", options=FEW, events=Interrupt())
    assert stopped.findings is None
    assert len(stored(tmp_path / "out")) == stopped.trained
    assert not (tmp_path / "out" / "confirm.json").exists()
    rest = confirm_formulas(formulas, config, output=tmp_path / "out", options=FEW)
    whole = confirm_formulas(formulas, config, output=tmp_path / "whole", options=FEW)
    assert 12 <= whole.trained - rest.trained == stopped.trained < whole.trained
    assert 0 < rest.trained <= 10 * 3 - 12
    assert rest.findings.formulas[0].scores.tolist() == whole.findings.formulas[0].scores.tolist()


def test_a_stop_while_functions_are_compared_loses_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    config, formulas, options = make_config({"proxies": [DIGITS]}), [parse("x * x")], Options(2, (1.0,))
    with monkeypatch.context() as patch:
        patch.setattr(study, "write_confirmation", interrupted)
        stopped = confirm_formulas(formulas, config, output=tmp_path / "out", options=options)
    assert stopped.findings is None
    assert stopped.trained == len(stored(tmp_path / "out")) == 2 * (1 + len(CONFIRMED_AGAINST))
    again = confirm_formulas(formulas, config, output=tmp_path / "out", options=options)
    assert again.trained == 0
    assert again.findings is not None


def test_a_function_that_diverges_is_reported_and_gets_no_verdict():
    found = confirm_formulas(
        [parse("1e30 * (x * 1e30)"), parse("x * x")], make_config({"proxies": [DIGITS]}), options=FEW
    )
    first, last = found.findings.formulas
    assert (first.diverged, last.diverged) == (0, 3)
    assert np.isnan(last.scores).all()
    assert last.rates[0].rate == 0.01  # the config's own, where every rate diverges
    assert not last.at_an_end
    assert "`1e+30 * (x * 1e+30)` diverged from 3 of 3 seeds; nothing is claimed of it" in found.findings.verdicts
    assert len(found.findings.differences.mean) == 1
    assert found.folder is None


def test_spellings_are_merged_and_a_formula_that_is_a_baseline_is_that_baseline():
    formulas = [parse("x * x"), parse("x**2"), parse("x / (1 + exp(-x))")]
    found = confirm_formulas(formulas, make_config({"proxies": [DIGITS]}), options=Options(2, (1.0,))).findings
    assert [f.formula for f in found.formulas] == ["x * x"]
    assert sorted(f.name for f in found.baselines) == sorted(CONFIRMED_AGAINST)
    assert {f.rates[0].rate for f in (*found.formulas, *found.baselines)} == {0.01}
    assert not any(f.at_an_end for f in found.formulas)  # there was nothing to choose from


def test_a_formula_that_is_a_baseline_alone_is_compared_with_nothing():
    found = confirm_formulas([parse("gelu(x)")], make_config({"proxies": [DIGITS]}), options=Options(2, (1.0,)))
    assert found.findings.formulas == ()
    assert found.findings.verdicts[-1] == "nothing could be compared"


def test_latencies_of_another_kernel_or_machine_are_measured_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "write_confirmation", lambda *arguments: None)  # drawing takes a second
    config, options = make_config({"proxies": [DIGITS]}), Options(2, (1.0,))
    confirm_formulas([parse("x * x")], config, output=tmp_path, options=options)
    store = tmp_path / "latencies.json"
    kept = json.loads(store.read_text())
    assert kept["label"] == label(default_kernel("cpu"), "cpu")
    assert kept["functions"]["x * x"] == {"ratio": 3, "low": 0.9 * 3, "high": 1.2 * 3}
    kept["functions"]["x * x"]["ratio"] = 3.5
    for change, expected in ((kept, 3.5), (kept | {"label": "another"}, 3), ([], 3)):
        store.write_text(json.dumps(change))
        again = confirm_formulas([parse("x * x")], config, output=tmp_path, options=options)
        assert again.findings.formulas[0].latency == expected


def test_a_latency_from_a_busy_moment_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "write_confirmation", lambda *arguments: None)  # drawing takes a second
    monkeypatch.setattr(study, "measure", lambda formulas, *rest: [Latency(2, 1, 9) for _ in formulas])
    config, options = make_config({"proxies": [DIGITS]}), Options(2, (1.0,))
    found = confirm_formulas([parse("x * x")], config, output=tmp_path, options=options).findings
    assert found.formulas[0].has_rough_latency
    assert json.loads((tmp_path / "latencies.json").read_text())["functions"] == {}
    monkeypatch.setattr(study, "measure", lambda formulas, *rest: [Latency(2, 1.9, 2.1) for _ in formulas])
    again = confirm_formulas([parse("x * x")], config, output=tmp_path, options=options).findings
    assert not again.formulas[0].has_rough_latency


def test_files_in_a_run_folder_leave_the_run_as_it_was(tmp_path):
    run = train(make_config(single(tmp_path), 1, 4), "a", runs=tmp_path).run
    before = {path: path.read_bytes() for path in (run.latency_costs, run.config_path, run.meta)}
    board = [judged.formula for judged in results.top(run, mirrors=True)]
    confirm_formulas([parse("x * x")], make_config({"proxies": [DIGITS]}), output=run.folder, options=FEW)
    assert {path: path.read_bytes() for path in before} == before
    assert [judged.formula for judged in results.top(run, mirrors=True)] == board


def test_a_data_set_that_cannot_be_generated_anew_is_named(confirmed):
    caveats = [text for text in confirmed.findings.verdicts if text.startswith("digits cannot be generated anew")]
    assert len(caveats) == 1
    assert json.loads((confirmed.folder / "confirm.json").read_text())["verdicts"].count(caveats[0]) == 1
    generated = ProxySettings(train_size=40, validation_size=40, test_size=40, widths=(4,), epochs=1, batch_size=20)
    fresh = confirm_formulas([parse("x * x")], make_config({"proxies": [generated.model_dump()]}), options=FEW)
    assert not [text for text in fresh.findings.verdicts if "anew" in text]


def test_what_cannot_be_confirmed_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="there is no run"):
        confirm(tmp_path / "no")
    with pytest.raises(InputError, match="expected at least one function to confirm, got 0"):
        confirm(run, best=0)
    with run.lock(), pytest.raises(RunError, match="is in use by another process"):
        confirm(run)
    with pytest.raises(FormulaError, match="did you mean 'relu'"):
        confirm(run, baselines=["rleu"])
    with pytest.raises(InputError, match="expected at least one baseline"):
        confirm(run, baselines=[])
    with pytest.raises(InputError, match="nothing to confirm"):
        confirm_formulas([], make_config({"proxies": [DIGITS]}))
    with pytest.raises(InputError, match="gated formulas are not trained by digits-mlp"):
        confirm_formulas([parse("x * g")], make_config({"proxies": [DIGITS]}), output=tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file cannot be made"):
        confirm_formulas([parse("x")], make_config({"proxies": [DIGITS]}), output=tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1}, "expected 2 to 1000 seeds, got 1"),
        ({"seeds": 1001}, "expected 2 to 1000 seeds, got 1001"),
        ({"selection_seeds": 0}, "expected 1 to 1000 selection seeds, got 0"),
        ({"rates": ()}, "expected positive factors on the learning rate, got none"),
        ({"rates": (1.0, -1.0)}, "expected positive factors on the learning rate, got -1.0"),
        ({"rates": (math.nan,)}, "expected positive factors on the learning rate, got nan"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        Options(**options)
