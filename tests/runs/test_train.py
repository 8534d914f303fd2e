import itertools
import json
import random

import numpy as np
import pytest
import torch
from helpers import (
    CURVE,
    DIGITS,
    InterruptAfter,
    Recorder,
    archive_rows,
    evaluated,
    make_config,
    proposals_after,
    proxies,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rlsearch
from rlsearch import Formula, Status
from rlsearch.common.seeds import search_seed
from rlsearch.errors import ConfigError, RewardError, RunError
from rlsearch.formula import RELU
from rlsearch.formula.named import BASELINES
from rlsearch.judging.ledger import Ledger
from rlsearch.rewards.scale import Scale
from rlsearch.rewards.settings import function
from rlsearch.runs.build import resolve
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.config import load_config
from rlsearch.runs.folder import Run
from rlsearch.runs.read import read_history
from rlsearch.runs.train import train


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_run_leaves_its_files_and_an_outcome():
    recorder = Recorder()
    outcome = train(make_config(rounds=3), "first", events=recorder)
    run = outcome.run
    assert str(run.folder) == "runs/first"
    assert outcome.finished
    assert not outcome.has_proxies
    assert outcome.proposals == 24
    rows = archive_rows(run.folder)
    slots = [(i, j) for i in range(3) for j in range(8)]
    assert [row[:2] for row in rows["proposals"]] == slots
    assert outcome.functions == len(rows["evaluations"]) == len({row[2] for row in rows["evaluations"]})
    assert outcome.leaderboard[0].result.value == max(row[6] for row in rows["proposals"])
    values = [judged.result.value for judged in outcome.leaderboard]
    assert values == sorted(values, reverse=True)
    assert load_config(run.config_path) == resolve(make_config(rounds=3))
    assert load_checkpoint(run.checkpoint)["round"] == 3
    assert {path.name.split(".")[0] for path in run.folder.iterdir()} - {"", "events"} == {
        "config", "meta", "archive", "checkpoints",
    }  # fmt: skip
    assert len(list(run.folder.glob("events.out.tfevents.*"))) == 1
    assert recorder.calls[0] == ("start", 0)
    assert recorder.calls[-1] == ("end", 3)
    assert [number for number, _, _ in recorder.rounds] == [1, 2, 3]
    assert {(what, wanted) for what, _, wanted in recorder.progress} == {("round", 3)}
    done = [done for _, done, _ in recorder.progress]
    assert done == sorted(done)
    assert done[-1] == 3
    _, candidates, leader = recorder.rounds[-1]
    assert candidates == outcome.functions  # of this reward all are trained
    assert leader == outcome.leaderboard[0]


def test_meta_says_what_the_run_was_made_with():
    run = train(make_config(seed=7), "m").run
    meta = run.read_meta()
    assert meta == json.loads((run.folder / "meta.json").read_text())
    assert meta["seed"] == 7
    assert meta["device"] == "cpu"
    assert meta["latency"] is None
    assert meta["versions"]["torch"] == torch.__version__
    assert meta["versions"]["rlsearch"] == rlsearch.__version__
    assert {"created", "python", "platform"} <= set(meta)


def test_tensorboard_has_every_scalar_once_a_round_over_proposals():
    run = train(make_config(rounds=4, logging={"every": 3}), "t").run
    events = EventAccumulator(str(run.folder)).Reload()
    tags = events.Tags()
    assert {
        "search/mean_reward", "search/elite_threshold", "search/best_reward", "search/best_score", "search/entropy",
        "search/mean_length", "search/candidates_per_second", "shares/fresh", "shares/repeated", "shares/unfit",
        "shares/diverged", "rollout/ep_rew_mean", "train/loss", "train/approx_kl",
    } <= set(tags["scalars"])  # fmt: skip
    for tag in tags["scalars"]:
        assert [event.step for event in events.Scalars(tag)] == proposals_after(4), tag
    assert "search/leaderboard/text_summary" in tags["tensors"]
    assert {"search/curves", "search/operators"} <= set(tags["images"])
    assert "search/rewards" in tags["distributions"]


def test_the_seed_decides_everything_and_nothing_else_does():
    first = train(make_config(rounds=3), "a").run
    random.seed(5)
    np.random.seed(6)
    torch.manual_seed(7)
    again = train(make_config(rounds=3), "b").run
    other = train(make_config(rounds=3, seed=1), "c").run
    assert archive_rows(first.folder) == archive_rows(again.folder)
    assert archive_rows(first.folder)["proposals"] != archive_rows(other.folder)["proposals"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_existing_run_is_left_alone_unless_it_is_to_be_overwritten():
    run = train(make_config(), "a").run
    before = contents(run.folder)
    with pytest.raises(RunError, match=r"runs/a exists already: go on with --resume, or choose another --name"):
        train(make_config(seed=1), "a")
    assert contents(run.folder) == before
    train(make_config(seed=1), "a", overwrite=True)
    assert load_config(run.config_path).seed == 1
    assert len(list(run.folder.glob("events.*"))) == 1


def test_what_is_not_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "runs" / "thesis").mkdir(parents=True)
    (tmp_path / "runs" / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(RunError, match="not a run of rlsearch; it is not overwritten"):
        train(make_config(), "thesis", overwrite=True)
    (tmp_path / "runs" / "file").write_text("x")
    with pytest.raises(RunError, match="exists already"):
        train(make_config(), "file")
    assert (tmp_path / "runs" / "thesis" / "chapter.tex").read_text() == "years of work"
    assert (tmp_path / "runs" / "file").read_text() == "x"


def test_runs_are_numbered_after_their_config_file(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "device: cpu\nsearch: {rounds: 1, formulas_per_round: 4}\nreward: {target: 'rlsearch_envs:CurveReward'}\n"
    )
    folders = [train("mine.yaml", runs="elsewhere").run.folder for _ in range(2)]
    assert [str(folder) for folder in folders] == ["elsewhere/mine", "elsewhere/mine-2"]
    created = Run(folders[0]).read_meta()
    assert train("mine.yaml", runs="elsewhere", overwrite=True).run.folder == folders[0]
    assert Run(folders[0]).read_meta().keys() == created.keys()
    assert not (tmp_path / "elsewhere" / "mine-3").exists()
    assert train(make_config(rounds=1), runs="elsewhere").run.name == "run"


def test_a_reward_that_is_called_once_a_round_has_nothing_beside_it(tmp_path):
    with pytest.raises(ConfigError, match="overlap does not go with rlsearch_envs:CurveReward"):
        train(make_config(controller={"overlap": True}), "a", runs=tmp_path)
    assert not (tmp_path / "a").exists()
    staged = make_config({"target": "helpers_rewards:Staged"}, controller={"overlap": True})
    assert train(staged, "b", runs=tmp_path).finished


def test_a_wrong_config_leaves_no_run_behind(tmp_path):
    for reward, message in (
        ({"target": "rlsearch_envs:CurveRewrd"}, "no 'CurveRewrd'; did you mean 'CurveReward'"),
        ({"target": "no_such_module:X"}, "cannot be imported: No module named 'no_such_module'"),
        ({"target": "rlsearch_envs"}, "not of the form 'package.module:name'"),
        ({"target": "helpers:CONFIGS"}, "is a list, not a class or function"),
        ({"target": "helpers_rewards:nothing"}, "made a NoneType, which is not callable"),
        (CURVE | {"curved": "x"}, "CurveReward does not take .*'curved'"),
        (CURVE | {"curve": "sin("}, r"'\(' was never closed"),
        (proxies(tmp_path, latency_costs="no/where.json"), "no/where.json is not a table of latency costs"),
    ):
        with pytest.raises(rlsearch.RlsearchError, match=message) as caught:
            train(make_config(reward), "x")
        assert caught.value.exit_code == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there_is_refused(device, tmp_path):
    with pytest.raises(ConfigError, match=f"device '{device}': torch sees 0 CUDA"):
        train(make_config(device=device))
    assert not (tmp_path / "runs").exists()
    assert resolve(make_config(device="auto")).device == "cpu"


def statuses(run):
    return {row[2]: (row[5], row[6]) for row in archive_rows(run.folder)["proposals"]}


def test_a_reward_that_raises_fails_those_formulas_alone(caplog):
    config = make_config({"target": "helpers_rewards:Fussy"}, 3, 16, status_values={"failed": -3.0})
    outcome = train(config, "fussy")
    assert outcome.finished
    assert {status for status, _ in statuses(outcome.run).values()} == {"ok", "failed"}
    # The reward saw one spelling of each function; another spelling of it has the same result, with a sine or without.
    seen = {Formula.parse(row[3]).fingerprint: row[3] for row in archive_rows(outcome.run.folder)["evaluations"]}
    for formula, result in statuses(outcome.run).items():
        has_sine = "sin" in Formula.parse(seen[Formula.parse(formula).fingerprint]).tokens
        assert result == (("failed", -3.0) if has_sine else ("ok", 1.0))
    failed = [row for row in archive_rows(outcome.run.folder)["evaluations"] if row[6] == "failed"]
    assert {row[10] for row in failed} == {"the reward raised ValueError: no sines please"}
    assert f"'{Formula.parse(failed[0][3])}' failed: the reward raised ValueError: no sines please" in caplog.messages


@pytest.mark.parametrize(
    ("target", "message"), [("miscounting", "returned 0 result"), ("not_a_number", "its value is nan")]
)
def test_a_reward_without_an_answer_gives_a_status_and_the_search_goes_on_for_a_while(target, message):
    few, many = (
        make_config({"target": f"helpers_rewards:{target}"}, 2, 3),
        make_config({"target": f"helpers_rewards:{target}"}, 5, 3),
    )
    outcome = train(few, target)
    assert outcome.finished
    assert outcome.leaderboard == []
    assert set(statuses(outcome.run).values()) == {("failed", -1.0)}
    assert all(message in row[10] for row in archive_rows(outcome.run.folder)["evaluations"])
    with pytest.raises(RewardError, match=f"functions have all failed, so the search has stopped.*{message}"):
        train(many, f"{target}-for-long")


def test_a_search_goes_on_where_all_formulas_are_unfit():
    outcome = train(make_config({"target": "helpers_rewards:unfit"}), "unfit")
    assert outcome.finished
    assert outcome.leaderboard == []
    assert set(statuses(outcome.run).values()) == {("unfit", -1.0)}
    assert all("a matter of taste" in row[10] for row in archive_rows(outcome.run.folder)["evaluations"])


def test_a_reward_gets_each_function_once(tmp_path):
    log = tmp_path / "log"
    outcome = train(make_config({"target": "helpers_rewards:Size", "log": str(log)}, 4, 32), "size")
    asked = log.read_text().split()
    assert len(asked) == len(set(asked)) == outcome.functions
    assert outcome.proposals == 4 * 32 > outcome.functions


def test_a_staged_reward_may_be_the_target():
    config = make_config({"target": "helpers_rewards:Staged"}, seed=2, rescoring={"every": 2, "best": 3})
    outcome = train(config, "staged")
    evaluations = archive_rows(outcome.run.folder)["evaluations"]
    assert {row[4] for row in evaluations} == {"size", "depth"}
    assert {row[5] for row in evaluations} == {20_000, 20_001}
    assert sorted(judged.seeds for judged in outcome.leaderboard)[-3:] == [2, 2, 2]
    assert outcome.leaderboard[0].result.value > 20_000


def scale_of(references, protocol):
    """The scale of a proxy from the archive's rows of references."""
    scores = {
        text: [row[7] for row in references if row[4] == protocol and row[3] == function(text).spelling]
        for text in BASELINES
    }
    return Scale.of(scores["relu"], scores)


def test_two_real_proxies_are_trained_relative_to_relu_and_the_best_again(tmp_path):
    config = make_config(proxies(tmp_path), 4, 12, rescoring={"every": 2, "best": 4, "max_seeds": 3})
    outcome = train(config, "real")
    rows = archive_rows(outcome.run.folder)
    assert outcome.has_proxies
    assert outcome.run.read_meta()["latency"] == "costs of a test"
    assert (outcome.run.folder / "latency.json").exists()
    protocols = {row[4] for row in rows["evaluations"]}
    assert len(protocols) == 2
    baseline = [row for row in rows["evaluations"] if row[1] == -1]
    # The identity has two seeds at most, and so have the others here.
    references = [function(text).spelling for text in (*BASELINES, "x")]
    wanted = itertools.product(references, protocols, [search_seed(0, i) for i in range(2)])
    assert {(row[3], row[4], row[5]) for row in baseline} == set(wanted)
    rescored = [row for row in rows["evaluations"] if row[5] > 0 and row[1] >= 0]
    assert {row[1] for row in rescored} == {1, 3}
    assert len(rescored) == 2 * 2 * 4
    assert max(judged.seeds for judged in outcome.leaderboard) in (2, 3)

    scales = {protocol: scale_of(baseline, protocol) for protocol in protocols}
    for judged in outcome.leaderboard:
        own = [row for row in rows["evaluations"] if row[2] == judged.formula.fingerprint]
        gain = np.mean([scales[p].gain(np.mean([row[7] for row in own if row[4] == p])) for p in protocols])
        latency = 0.5 + 0.5 * len(judged.formula.program.instructions)
        assert judged.result.latency == latency
        assert judged.result.value == pytest.approx(gain - 0.1 * np.log2(latency), abs=1e-12)
    by_status = {row[6] for row in rows["evaluations"]}
    assert by_status <= {"ok", "unfit", "diverged"}
    assert all((row[7] is None) == (row[6] != "ok") for row in rows["evaluations"])


def test_the_best_are_trained_longer_before_they_lead(tmp_path):
    """With ``epochs_factor`` the leaders get a score by the longer protocol, which is theirs, on resume too."""
    config = make_config(
        proxies(tmp_path, proxies=[DIGITS]),
        4,
        12,
        rescoring={"every": 2, "best": 4, "max_seeds": 3, "epochs_factor": 3},
    )
    outcome = train(config, "longer")
    rows = archive_rows(outcome.run.folder)["evaluations"]
    _, long = sorted({row[4] for row in rows}, key=[row[4] for row in rows].index)
    first_long = [row for row in rows if row[4] == long and row[1] >= 0]
    assert {row[1] for row in first_long} == {1, 3}
    assert len(first_long) == 2 * 4
    relu = np.mean([row[7] for row in rows if row[1] == -1 and row[4] == long and row[3] == str(RELU)])
    trained_long = {row[2] for row in rows if row[4] == long}
    rescored = [judged for judged in outcome.leaderboard if judged.formula.fingerprint in trained_long]
    assert len(rescored) >= 4
    for judged in rescored:
        scores = [row[7] for row in rows if row[2] == judged.formula.fingerprint and row[4] == long]
        expected = np.mean(scores) - relu - 0.01 * np.log2(judged.result.latency)
        assert judged.result.value == pytest.approx(expected, abs=1e-12)
    again = read_history(outcome.run)
    assert [j.result for j in again.leaderboard(5)] == [j.result for j in outcome.leaderboard[:5]]


def test_workers_change_nothing_but_the_time(tmp_path):
    alone = train(make_config(proxies(tmp_path), 1, 16), "one").run
    together = train(make_config(proxies(tmp_path), 1, 16, workers=2), "two").run
    assert archive_rows(alone.folder) == archive_rows(together.folder)


def test_an_interrupt_leaves_an_outcome_that_is_not_finished():
    outcome = train(make_config(rounds=4), "a", events=InterruptAfter(2))
    assert not outcome.finished
    assert outcome.proposals == 16
    assert outcome.leaderboard
    finished = rlsearch.resume(outcome.run.folder)
    assert finished.finished
    assert archive_rows(finished.run.folder) == archive_rows(train(make_config(rounds=4), "b").run.folder)


def test_an_interrupt_during_the_baseline_leaves_an_outcome_too(tmp_path, monkeypatch):
    def interrupted(self, round_number, wanted):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "evaluate", interrupted)
        outcome = train(make_config(proxies(tmp_path)), "a")
    assert (outcome.finished, outcome.proposals, outcome.functions, outcome.leaderboard) == (False, 0, 0, [])
    assert rlsearch.resume(outcome.run.folder).finished


def test_a_proxy_on_which_relu_does_not_train_is_an_error(tmp_path, monkeypatch):
    def diverging(self, requests):
        yield [evaluated(request, None, Status.DIVERGED) for request in requests]

    monkeypatch.setattr("rlsearch.rewards.panel.PanelReward.evaluate", diverging)
    with pytest.raises(
        rlsearch.RlsearchError, match=r"relu has no score on digits-mlp: .*lower its learning_rate"
    ) as e:
        train(make_config(proxies(tmp_path)), "a")
    assert e.value.exit_code == 1


def test_a_data_seed_of_fresh_data_is_refused(tmp_path):
    reward = proxies(tmp_path)
    reward["proxies"][0] = reward["proxies"][0] | {"data_seed": 2**31}
    with pytest.raises(ConfigError, match="data_seed of 2147483648 is one of those that confirm makes fresh data from"):
        make_config(reward)


def test_numbers_of_numpy_from_a_reward_of_ones_own_are_stored():
    outcome = train(make_config({"target": "helpers_rewards:NumpyStaged"}), "numpy")
    assert outcome.finished
    assert type(outcome.leaderboard[0].result.value) is float
