import json
import sqlite3

import numpy as np
import pytest
from helpers import InterruptAfter, Recorder, archive_rows, make_config, proxies, rlsearch
from helpers_findings import baseline, finding, findings_of

from rlsearch import Formula, top
from rlsearch.errors import ConfigError, InputError
from rlsearch.proxies.tasks import GAIN
from rlsearch.runs.config import dump_config
from rlsearch.runs.events import RunEvents
from rlsearch.studies.compare import conclude, run_methods
from rlsearch.studies.comparison import Confirmed, SearchRecord
from rlsearch.studies.retrain import Options

METHODS = ("ppo", "random")


def test_methods_are_compared_at_equal_budget_and_nothing_is_trained_twice(tmp_path):
    config, folder = make_config(), tmp_path / "c"
    records = run_methods(config, METHODS, folder, seeds=2, candidates=20)
    assert {method: [r.seed for r in runs] for method, runs in records.items()} == {"ppo": [0, 1], "random": [0, 1]}
    assert all(len(record.rewards) == 20 for runs in records.values() for record in runs)
    before = archive_rows(folder / "ppo-1")
    assert run_methods(config, METHODS, folder, seeds=2, candidates=20) == records
    assert archive_rows(folder / "ppo-1") == before

    comparison = conclude(config, records, folder, candidates=20, options=None)
    written = json.loads((folder / "compare.json").read_text())
    assert [m["method"] for m in written["methods"]] == list(METHODS)
    assert comparison.better["ppo", "random"].value + comparison.better["random", "ppo"].value == pytest.approx(1)
    assert len((folder / "compare.csv").read_text().splitlines()) == 21
    assert (folder / "compare.png").stat().st_size > 10_000

    longer = run_methods(config, METHODS, folder, seeds=2, candidates=30)
    for method in METHODS:
        assert [r.rewards[:20] for r in longer[method]] == [r.rewards for r in records[method]]
    with pytest.raises(ConfigError, match=r"controller\.parents = 32, and now it is with controller\.parents = 5"):
        run_methods(make_config(controller={"parents": 5}), METHODS, folder, seeds=2, candidates=30)
    with pytest.raises(
        ConfigError, match=r"ppo-0 was made with 30 candidates.*expected at least 30, or another --name"
    ):
        run_methods(config, METHODS, folder, seeds=2, candidates=20)


def test_settings_of_another_method_do_not_make_another_comparison(tmp_path):
    """So that a controller can be tuned against rivals that have run once."""
    folder = tmp_path / "c"
    rivals = run_methods(make_config(), ("random", "evolution"), folder, seeds=2, candidates=20)
    config = make_config(controller={"parents": 5})
    records = run_methods(config, ("ppo", "random"), folder, seeds=2, candidates=20)
    assert records["random"] == rivals["random"]
    with pytest.raises(ConfigError, match=r"evolution\.tournament = 10, and now it is with evolution\.tournament = 3"):
        run_methods(make_config(evolution={"tournament": 3}), ("evolution",), folder, seeds=2, candidates=20)


def test_the_best_of_every_run_is_confirmed(tmp_path):
    """Every run's best gets its own gain from the confirmation, and the probabilities are those of them."""
    config, folder = make_config(proxies(tmp_path), formulas_per_round=4), tmp_path / "c"
    records = run_methods(config, METHODS, folder, seeds=2, candidates=6)
    recorder = Recorder()
    comparison = conclude(
        config,
        records,
        folder,
        candidates=6,
        options=Options(2),
        events=recorder,
    )
    assert {"choosing rates", "final trainings", "latency"} <= {what for what, _, _ in recorder.progress}
    findings = json.loads((folder / "confirm" / "confirm.json").read_text())
    gain = {f["formula"]: f["mean"] for f in findings["functions"]}
    assert (findings["score"], comparison.confirmed.words) == ("gain", GAIN)
    for method, runs in records.items():
        of_runs = [gain[text] for record in runs for text in gain if is_same(text, record.best)]
        assert len(of_runs) == 2
        score = comparison.confirmed.scores[method]
        assert score.value == pytest.approx(np.mean(of_runs))  # of two runs, the interquartile mean is the mean
        assert score.low <= score.value <= score.high
    pair, back = comparison.confirmed.better["ppo", "random"], comparison.confirmed.better["random", "ppo"]
    assert pair.value + back.value == pytest.approx(1)
    written = json.loads((folder / "compare.json").read_text())
    assert written["confirmed_score"] == "gain"
    assert [m["confirmed"]["value"] for m in written["methods"]] == [
        comparison.confirmed.scores[method].value for method in METHODS
    ]
    trained = archive_trainings(folder)
    conclude(config, records, folder, candidates=6, options=Options(2))
    assert archive_trainings(folder) == trained


def test_a_best_that_diverges_when_it_is_confirmed_counts_as_the_worst_there_is():
    """Of gains that is -3 spreads, where they are cut."""
    findings = findings_of(
        [finding("x * x", [0.5, 0.7]), finding("sin(x)", [0.4, np.nan])], [baseline("relu", [0.0, 0.0])], words=GAIN
    )
    best = {"ppo": ["x * x", "relu(x)"], "random": ["sin(x)", "sin(x)"]}
    records = {
        method: [SearchRecord(i, (0.1,), 1, 0, 1, Formula.parse(text)) for i, text in enumerate(texts)]
        for method, texts in best.items()
    }
    confirmed = Confirmed.of(findings, records)
    assert confirmed.scores["ppo"].value == pytest.approx(0.3)  # the mean of 0.6 and 0
    assert confirmed.scores["random"].value == -3
    assert confirmed.better["ppo", "random"].value == 1
    assert confirmed.words == GAIN


def test_what_a_panels_gains_are_counted_from_is_no_find_of_a_search(tmp_path):
    """Reference, baselines and the identity are trained before it, and cost it nothing."""
    language = {"operators": ["relu", "tanh", "neg"], "constants": [], "max_length": 2, "min_length": 1}
    config = make_config(proxies(tmp_path), formulas_per_round=8, language=language)
    (record, _) = run_methods(config, ["random"], tmp_path / "c", seeds=2, candidates=1)["random"]
    # Of x, -x, relu(x) and tanh(x) one is new.
    assert len(record.rewards) == 1
    assert str(record.best) == "-x"


def is_same(text, formula):
    return Formula.parse(text).fingerprint == formula.fingerprint


def archive_trainings(folder):
    with sqlite3.connect(f"file:{folder / 'confirm' / 'evaluations.sqlite'}?mode=ro", uri=True) as connection:
        (count,) = connection.execute("SELECT count(*) FROM evaluations").fetchone()
    connection.close()
    return count


def test_a_free_reward_has_nothing_to_confirm(tmp_path):
    records = run_methods(make_config(), METHODS, tmp_path / "c", seeds=2, candidates=10)
    comparison = conclude(make_config(), records, tmp_path / "c", candidates=10)
    assert comparison.confirmed is None
    assert not (tmp_path / "c" / "confirm").exists()


def test_an_interrupted_comparison_goes_on(tmp_path):
    config, folder, ran = make_config(), tmp_path / "c", []

    class InterruptSecond(RunEvents):
        def on_round(self, judge, scalars):
            if len(ran) == 2:
                raise KeyboardInterrupt

    def run(**more):
        return run_methods(
            config, METHODS, folder, seeds=2, candidates=20, on_run=lambda name, *_: ran.append(name), **more
        )

    assert run(events=InterruptSecond()) is None
    assert ran == ["ppo-0", "random-0"]
    whole = run_methods(config, METHODS, tmp_path / "whole", seeds=2, candidates=20)
    assert run() == whole


def test_a_comparison_stopped_within_a_round_ends_as_if_it_had_not_been(tmp_path):
    """Stopped when all candidates are trained, but neither rescored nor, on the second proxy, trained at all."""
    reward = proxies(tmp_path)
    reward = reward | {"proxies": [*reward["proxies"], reward["proxies"][0] | {"data_seed": 1}]}
    config = make_config(reward, formulas_per_round=8, rescoring={"best": 4})

    def run(folder, **more):
        return run_methods(config, ["random"], tmp_path / folder, seeds=2, candidates=12, **more)

    assert run("stopped", events=InterruptAfter(1, within=1)) is None
    board = top(tmp_path / "stopped" / "random-0", 100, mirrors=True)
    assert board
    rows = archive_rows(tmp_path / "stopped" / "random-0")
    assert {row[0] for row in rows["proposals"]} == {0}  # the second round is not whole
    assert {row[1] for row in rows["evaluations"]} == {-1, 0, 1}
    whole = run("whole")
    assert run("stopped") == whole
    assert all(record.trainings > 2 * 12 for record in whole["random"])


def test_a_method_that_runs_out_of_functions_says_how_many_it_trained(tmp_path):
    language = {"operators": ["neg"], "constants": [], "max_length": 2, "min_length": 1}
    config, folder = make_config(language=language), tmp_path / "c"
    records = run_methods(config, ["random"], folder, seeds=2, candidates=9)
    assert [len(record.rewards) for record in records["random"]] == [2, 2]  # x and -x
    assert conclude(config, records, folder, candidates=9).methods[0].trained == 2
    assert run_methods(config, ["random"], folder, seeds=2, candidates=9) == records


@pytest.mark.parametrize("left", [[".lock"], ["meta.json", "config.yaml", "archive.sqlite.tmp"]], ids=str)
def test_what_a_kill_left_of_a_folder_is_no_obstacle(left, tmp_path):
    folder = tmp_path / "c" / "random-0"
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_text("{}")
    assert len(run_methods(make_config(), ["random"], tmp_path / "c", seeds=2, candidates=4)["random"]) == 2


def test_the_command(tmp_path, run, monkeypatch):
    """As a user calls it: the table, the same again at once, another method added, and wrong calls."""
    (tmp_path / "c.yaml").write_text(dump_config(make_config()))
    few = ["compare", "c.yaml", "--seeds", 2, "--candidates", 12]
    first = rlsearch(*few, "--methods", "ppo,random", "--rewards", "-0.2,5", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "random-1 (4/4)" in first.stdout
    assert "Best reward after 12 trained candidates, 2 seeds:" in first.stdout
    assert "never (0/2)" in first.stdout  # a reward of 5
    assert "ppo > random" in first.stdout
    assert (tmp_path / "runs/compare-c/compare.png").exists()
    # The rest in this process, which takes a fraction of the time.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    _, again, _ = run(*few, "--methods", "ppo,random", "--rewards=-0.2,5")
    assert again.splitlines()[-12:] == first.stdout.splitlines()[-12:]
    _, more, _ = run(*few, "--methods", "random,evolution")
    assert "evolution-1 (4/4)" in more
    for arguments, message in (
        (["--methods", "ppo,evolutoin"], "did you mean 'evolution'"),
        (["--rewards", "a"], "'a' is not a list of numbers"),
        (["--rewards", "nan"], "'nan' is not a list of numbers"),
        (["--confirm-seeds", 1, "--name", "new"], "expected 2 to 1000 seeds, got 1"),
        (["--set", "seed=214747", "--name", "new"], "seed: input should be less than"),
        (["--name", "../c"], "--name '../c' is not the name of a folder"),
        (["--seeds", 1, "--methods", "ppo"], "expected at least 2 seeds, got 1"),
        (["--set", "language.max_length=9"], "choose another --name"),
    ):
        code, _, errors = run(*few, *arguments)
        assert code == 2
        assert message in " ".join(errors.split())
    assert not (tmp_path / "runs/new").exists()
    _, out, _ = run(*few, "--methods", "random")
    assert "Probability" not in out
    assert "Confirmed" not in out


@pytest.mark.parametrize(
    ("methods", "seeds", "message"),
    [
        (("ppo", "randm"), 2, "randm.*random"),
        (("ppo", "ppo"), 2, "different methods"),
        ((), 2, "none"),
        (("ppo",), 1, "at least 2 seeds, got 1"),
    ],
)
def test_what_cannot_be_compared(tmp_path, methods, seeds, message):
    with pytest.raises(InputError, match=message):
        run_methods(make_config(), methods, tmp_path / "c", seeds=seeds)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("then", "now", "message"),
    [
        ({"curve": "silu(x)"}, {}, r"was made with reward.curve = silu\(x\), and now it is without reward.curve"),
        ({}, {"curve": "silu(x)"}, r"was made without reward.curve, and now it is with reward.curve = silu\(x\)"),
        ({"reach": 1}, {"reach": True}, r"reward.reach = 1, and now it is with reward.reach = True"),
        (
            {"curve": "silu(x)"},
            {"curve": "elu(x)"},
            r"reward.curve = silu\(x\), and now it is with reward.curve = elu\(x\)",
        ),
    ],
    ids=["removed", "added", "of another type", "changed"],
)
def test_a_study_does_not_go_on_with_another_reward(tmp_path, then, now, message):
    def config(arguments):
        return make_config({"target": "rlsearch_envs:CurveReward", **arguments})

    def run(arguments):
        return run_methods(config(arguments), ["random"], tmp_path / "c", seeds=2, candidates=10)

    assert run(then)
    with pytest.raises(ConfigError, match=message):
        run(now)
