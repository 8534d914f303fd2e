import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import make_config, make_judge
from helpers_judging import NEVER, ROUNDS, FakeReward
from helpers_judging import make_judge as make_staged_judge
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlsearch.controller.ppo import PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, Grammar, Vocabulary
from rlsearch.judging.archive import Archive
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import RoundReport
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.runs import monitor
from rlsearch.runs.config import LoggingSettings
from rlsearch.runs.monitor import Monitor, leader_scalars, leaderboard_markdown, round_scalars
from rlsearch.runs.pictures import (
    MIN_FUNCTIONS_FOR_CORRELATION,
    contours_figure,
    curves_figure,
    front_figure,
    operators_figure,
    pareto_front,
    proxies_figure,
)
from rlsearch.runs.tags import describe
from rlsearch.search.random import RandomSearch
from rlsearch_envs import CurveReward

torch.set_num_threads(1)

GRAMMAR = Grammar(Vocabulary(("add", "mul", "exp", "tanh"), ("x",), (1.0,)), 2, 6)
PER_ROUND = 8


def train(folder, rounds, first_round=0, every=2, method=None):
    """Some rounds with a free reward, logged into ``folder``; returns each report with the best function by then."""
    method = method or PPOSearch(ControllerSettings(offspring=0), GRAMMAR, PER_ROUND, 0)
    reports = []
    with Archive(folder / "archive.sqlite", create=not (folder / "archive.sqlite").exists()) as archive:
        judge = make_judge(CurveReward("exp(x)"), archive, first_round)
        settings = LoggingSettings(every=every, best=3)
        log = Monitor(folder, settings, resumed_at=judge.proposals if first_round else None)
        for _ in range(rounds):
            method.run_round(judge)
            log.on_round(judge, method.scalars())
            reports.append((judge.report, judge.leaderboard(1)[0]))
        log.on_end(judge)
        log.close()
    return reports


def events(folder):
    accumulator = EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0, "histograms": 0}
    ).Reload()
    return accumulator, {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    reports = train(folder, rounds=5)
    return folder, reports, *events(folder)


def test_events_lie_directly_in_the_folder(logged):
    folder, *_ = logged
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_scalars_of_every_round_over_proposals(logged):
    _, reports, _, scalars = logged
    proposals = [8, 16, 24, 32, 40]
    always = {
        "search/mean_reward", "search/round_best_reward", "search/mean_reward_ok", "search/mean_length",
        "search/evaluations", "search/candidates_per_second", "search/trainings_per_second", "search/entropy",
        "search/elite_threshold",
        "search/best_reward", "search/best_score", "search/candidates", "shares/fresh", "shares/repeated", "shares/ok",
        "shares/unfit", "shares/diverged", "shares/failed", "rollout/ep_rew_mean", "rollout/ep_len_mean",
    }  # fmt: skip
    assert always <= set(scalars)
    for tag in always:
        assert [event.step for event in scalars[tag]] == proposals, tag
    for i, (report, leader) in enumerate(reports):
        values = [r.value for r in report.results]
        assert scalars["search/mean_reward"][i].value == pytest.approx(np.mean(values), rel=1e-5)
        assert scalars["search/round_best_reward"][i].value == pytest.approx(max(values), rel=1e-5)
        assert scalars["rollout/ep_rew_mean"][i].value == pytest.approx(np.mean(values), rel=1e-5)
        assert scalars["search/elite_threshold"][i].value == pytest.approx(
            np.quantile([v for v, new in zip(values, report.fresh, strict=True) if new], 0.95, method="lower"),
            rel=1e-4,
        )
        assert scalars["search/best_reward"][i].value == pytest.approx(leader.result.value, rel=1e-5)
        assert scalars["shares/fresh"][i].value == pytest.approx(sum(report.fresh) / 8)
        assert scalars["search/entropy"][i].value > 0


def test_ppo_s_own_scalars_are_there(logged):
    """Each round's update is logged with the round."""
    *_, scalars = logged
    for tag in ("train/entropy_loss", "train/policy_gradient_loss", "train/value_loss", "train/approx_kl",
                "train/clip_fraction", "train/loss", "train/explained_variance", "train/learning_rate"):  # fmt: skip
        assert [event.step for event in scalars[tag]] == [8, 16, 24, 32, 40], tag


def test_times_have_stable_baselines3_s_names(logged):
    *_, scalars = logged
    steps = [8, 16, 24, 32, 40]
    assert [event.value for event in scalars["time/iterations"]] == [1, 2, 3, 4, 5]
    # Eight formulas a round, each of six tokens with padding.
    assert [event.value for event in scalars["time/total_timesteps"]] == [48, 96, 144, 192, 240]
    assert [event.step for event in scalars["time/fps"]] == steps
    assert all(event.value > 0 for event in scalars["time/fps"])
    assert [event.value for event in scalars["train/n_updates"]] == [4, 8, 12, 16, 20]  # four epochs a round


def test_every_tag_says_what_it_means(logged):
    _, _, accumulator, scalars = logged
    for tag in scalars:
        assert describe(tag), tag
        assert accumulator.SummaryMetadata(tag).summary_description == describe(tag)
    assert describe("best_gain/text-mlp").startswith("Gain of the best function")
    assert describe("nothing/of/ours") == ""


def test_a_run_says_what_it_was_made_with(tmp_path):
    settings, config = LoggingSettings(), make_config(seed=3)
    Monitor(tmp_path, settings, config=config).close()
    accumulator, _ = events(tmp_path)
    assert b"seed: 3" in accumulator.Tensors("run/config/text_summary")[0].tensor_proto.string_val[0]
    tags = {tag for plugin in ("hparams", "custom_scalars") for tag in accumulator.PluginTagToContent(plugin)}
    assert tags == {
        "_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info",
        "custom_scalars__config__",
    }  # fmt: skip
    # A run that goes on says it once.
    Monitor(tmp_path, settings, resumed_at=8, config=config).close()
    assert len(events(tmp_path)[0].Tensors("run/config/text_summary")) == 1


def judged(text, score, latency, **more):
    return Judged(Formula.parse(text), RewardResult(score, Status.OK, score, latency), 1, **more)


def test_the_front_is_what_nothing_beats_in_both():
    texts = {"x": (0.1, 1.0), "tanh(x)": (0.3, 2.0), "exp(x)": (0.2, 3.0), "x * x": (0.4, 4.0)}
    functions = [judged(text, *of_it) for text, of_it in texts.items()]
    assert [str(f.formula) for f in pareto_front(functions[::-1])] == ["x", "tanh(x)", "x * x"]
    axes = front_figure(functions).axes[0]
    assert len(axes.collections[0].get_offsets()) == 4
    assert front_figure([]) is None


def test_pictures_of_a_long_run_have_bounded_many_points(monkeypatch):
    monkeypatch.setattr(monitor, "MAX_FUNCTIONS_DRAWN", 20)
    known = {str(i): judged("x", float(i % 37), 1.0, is_reference=i < 2) for i in range(100)}
    board = sorted(known.values(), key=lambda j: j.rank, reverse=True)
    drawn = monitor._drawn(SimpleNamespace(known=known, leaderboard=lambda count: board[:count]))
    assert len(drawn) <= 24
    assert {id(j) for j in list(known.values())[:2]} <= {id(j) for j in drawn}
    assert {id(j) for j in (*list(known.values())[-20:], *board[:2])} <= {id(j) for j in drawn}


def test_larger_records_every_some_rounds_and_at_the_end(logged):
    _, reports, accumulator, _ = logged
    tags = accumulator.Tags()
    steps = [16, 32, 40]  # after rounds 2 and 4, and at the end
    assert [event.step for event in accumulator.Tensors("search/leaderboard/text_summary")] == steps
    for tag in ("search/curves", "search/operators"):
        assert [event.step for event in accumulator.Images(tag)] == steps
        assert all(event.encoded_image_string.startswith(b"\x89PNG") for event in accumulator.Images(tag))
    histograms = accumulator.Histograms("search/rewards")
    assert [event.step for event in histograms] == steps
    assert [event.histogram_value.num for event in histograms] == [8, 8, 8]
    values = [r.value for r in reports[-1][0].results]
    assert histograms[-1].histogram_value.max == pytest.approx(max(values))
    assert histograms[-1].histogram_value.sum == pytest.approx(sum(values))
    text = accumulator.Tensors("search/leaderboard/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert f"| `{reports[-1][1].formula}` |" in text
    assert tags["scalars"]


def test_candidates_are_those_trained_so_far(tmp_path):
    """What overflows on the grid, such as ``exp(exp(exp(x)))``, is unfit and never trained."""
    reports = train(tmp_path, rounds=6)
    _, scalars = events(tmp_path)
    counts = np.cumsum([
        sum(new and r.status is Status.OK for new, r in zip(report.fresh, report.results, strict=True))
        for report, _ in reports
    ])  # fmt: skip
    assert [event.value for event in scalars["search/candidates"]] == counts.tolist()


def test_on_resuming_later_events_are_forgotten(tmp_path):
    """Three rounds are logged, but the state of the run is that after two: the third is done again, and a fourth."""
    train(tmp_path, rounds=3)
    before = events(tmp_path)[1]["search/mean_reward"]
    assert [e.step for e in before] == [8, 16, 24]
    reports = train(tmp_path, rounds=2, first_round=2, method=RandomSearch(GRAMMAR, PER_ROUND, 5))
    _, scalars = events(tmp_path)
    assert [e.step for e in scalars["search/mean_reward"]] == [8, 16, 24, 32]
    assert [e.value for e in scalars["search/mean_reward"]][:2] == [e.value for e in before][:2]
    values = [r.value for r in reports[0][0].results]
    assert scalars["search/mean_reward"][2].value == pytest.approx(np.mean(values), rel=1e-5)
    assert [e.step for e in scalars["search/entropy"]] == [8, 16]  # of the policy, which the random search lacks


def test_the_larger_records_of_the_last_round_come_once(tmp_path):
    """Round 4 of 4 is due anyway."""
    train(tmp_path, rounds=4)
    accumulator, _ = events(tmp_path)
    assert [event.step for event in accumulator.Histograms("search/rewards")] == [16, 32]


def test_any_method_may_be_monitored(tmp_path):
    train(tmp_path, rounds=2, method=RandomSearch(GRAMMAR, PER_ROUND, 0))
    _, scalars = events(tmp_path)
    assert [e.step for e in scalars["search/mean_reward"]] == [8, 16]
    assert not {"search/elite_threshold", "search/entropy", "rollout/ep_rew_mean"} & set(scalars)


def test_the_mean_mode_has_no_elite_threshold(tmp_path):
    settings = ControllerSettings(learn_from="mean")
    train(tmp_path, rounds=1, method=PPOSearch(settings, GRAMMAR, PER_ROUND, 0))
    _, scalars = events(tmp_path)
    assert "search/mean_reward" in scalars
    assert "search/elite_threshold" not in scalars


def a_report():
    results = (
        RewardResult(0.5, Status.OK, 0.75, 2.0),
        RewardResult(-1.0, Status.UNFIT, None, 3.0),
        RewardResult(0.5, Status.OK, 0.75, 2.0),
        RewardResult(-2.0, Status.DIVERGED),
    )
    formulas = tuple(Formula.parse(t) for t in ("x * sigmoid(x)", "exp(x)", "x * sigmoid(x)", "x + x**3"))
    return RoundReport(3, formulas, results, (True, True, False, True), candidates=2, evaluations=6, seconds=2.0)


def test_round_scalars_by_hand():
    """Tokens: 4, 2, 4 and 4 (add x cube x)."""
    assert round_scalars(a_report()) == {
        "search/mean_reward": -0.5,
        "search/round_best_reward": 0.5,
        "search/mean_reward_ok": 0.5,
        "search/mean_length": 3.5,
        "search/evaluations": 6,
        "search/candidates_per_second": 1.0,
        "search/trainings_per_second": 3.0,
        "shares/fresh": 0.75,
        "shares/repeated": 0.25,
        "shares/ok": 0.5,
        "shares/unfit": 0.25,
        "shares/diverged": 0.25,
        "shares/failed": 0.0,
    }


def test_a_round_without_anything_ok_has_no_mean_of_it():
    report = RoundReport(0, (Formula.parse("x"),), (RewardResult(-1.0, Status.FAILED),), (True,), 0, 0, 0.0)
    scalars = round_scalars(report)
    assert "search/mean_reward_ok" not in scalars
    assert scalars["shares/failed"] == 1.0
    assert all(math.isfinite(value) for value in scalars.values())


def a_board():
    silu, relu = Formula.parse("x * sigmoid(x)"), Formula.parse("relu(x)")
    return [
        Judged(silu, RewardResult(0.0123456, Status.OK, 0.75, 2.345), seeds=2),
        Judged(relu, RewardResult(-0.5)),
    ]


def test_the_leaderboard_as_markdown():
    assert leaderboard_markdown(a_board()).splitlines() == [
        "| rank | reward | score | seeds | latency | formula |",
        "|---|---|---|---|---|---|",
        "| 1 | +0.0123 | 0.7500 | 2 | 2.35 | `x * sigmoid(x)` |",
        "| 2 | -0.5000 |  | 0 |  | `relu(x)` |",
    ]


def test_figures():
    (axes,) = curves_figure(a_board()).get_axes()
    assert [line.get_label() for line in axes.get_lines()] == ["ReLU", "GELU", "x * sigmoid(x)", "relu(x)"]
    assert len(curves_figure([]).get_axes()[0].get_lines()) == 2
    gated = [
        Judged(Formula.parse(text), RewardResult(0.1)) for text in ("x * relu(g)", "relu(x)", "x * g", "swiglu(x, g)")
    ]
    assert len(curves_figure(gated).get_axes()[0].get_lines()) == 3
    # SwiGLU comes first, and once.
    assert [axes.get_title() for axes in contours_figure(gated).get_axes()] == ["SwiGLU", "x * relu(g)", "x * g"]
    assert contours_figure(a_board()) is None
    (axes,) = operators_figure(a_report()).get_axes()
    # Uses per formula, most frequent first: mul and sigmoid in two of the four, exp, add and cube in one.
    labels = [label.get_text() for label in axes.get_xticklabels()]
    heights = [bar.get_height() for bar in axes.patches]
    assert dict(zip(labels, heights, strict=True)) == {
        "mul": 0.5,
        "sigmoid": 0.5,
        "exp": 0.25,
        "add": 0.25,
        "cube": 0.25,
    }
    assert heights == sorted(heights, reverse=True)
    without_operators = SimpleNamespace(formulas=(Formula.parse("x"),), round_number=0)
    operators_figure(without_operators).draw_without_rendering()


# --- panels ---


class Panel(FakeReward):
    """Says what each of its two proxies, of one name, gave; ``p`` gives more the shorter a formula is."""

    names = ("digits-mlp", "digits-mlp (2)")

    def combine(self, formula, evaluations):
        result = super().combine(formula, evaluations)
        gains = dict(zip(self.names, (result.value, -float(formula.size)), strict=True))
        return replace(result, scores={name: gain + 10 for name, gain in gains.items()}, gains=gains)


def test_a_panel_is_logged_proxy_by_proxy(tmp_path):
    with Archive(tmp_path / "archive.sqlite", create=True) as archive:
        judge = make_staged_judge(Panel(), archive, rescoring=NEVER)
        monitor = Monitor(tmp_path, LoggingSettings(every=2))
        leaders = []
        for formulas in ROUNDS:
            judge(formulas)
            monitor.on_round(judge, {})
            leaders.append(judge.leaderboard(1)[0].result)
        monitor.close()
    accumulator, scalars = events(tmp_path)
    for name in Panel.names:
        for kind in ("gain", "score"):
            logged = scalars[f"best_{kind}/{name}"]
            assert [event.step for event in logged] == [8, 16, 24, 32, 40]
            expected = [getattr(leader, f"{kind}s")[name] for leader in leaders]
            assert [event.value for event in logged] == pytest.approx(expected, rel=1e-6)
    # After round 2 there are too few functions.
    assert sum(judged.result.status is Status.OK for judged in judge.known.values()) >= MIN_FUNCTIONS_FOR_CORRELATION
    assert [event.step for event in accumulator.Images("search/proxies")] == [32]


def test_a_single_proxy_is_told_by_score_and_reward_alone(tmp_path):
    with Archive(tmp_path / "archive.sqlite", create=True) as archive:
        judge = make_staged_judge(FakeReward(), archive, rescoring=NEVER)
        judge(ROUNDS[0])
        one = RewardResult(0.5, Status.OK, 0.75, scores={"p": 0.75}, gains={"p": 0.5})
        judge.leaderboard(1)[0].result = one
        assert set(leader_scalars(judge)) == {"search/candidates", "search/best_reward", "search/best_score"}


def of_panel(text, gains, seeds=1):
    scores = {name: gain / 10 for name, gain in gains.items()}
    result = RewardResult(math.fsum(gains.values()), Status.OK, 0.5, 1.5, scores=scores, gains=gains)
    return Judged(Formula.parse(text), result, seeds=seeds)


def test_the_leaderboard_of_a_panel_as_markdown():
    board = [
        of_panel("x * sigmoid(x)", {"a": 1.25, "b": -0.5}),
        *a_board()[1:],
        of_panel("x", {"a": -3.0, "b": 3.0}, 2),
    ]
    assert leaderboard_markdown(board).splitlines() == [
        "| rank | reward | score | seeds | latency | formula | a | b |",
        "|---|---|---|---|---|---|---|---|",
        "| 1 | +0.7500 | 0.5000 | 1 | 1.50 | `x * sigmoid(x)` | 0.1250 (+1.25) | -0.0500 (-0.50) |",
        "| 2 | -0.5000 |  | 0 |  | `relu(x)` |  |  |",
        "| 3 | +0.0000 | 0.5000 | 2 | 1.50 | `x` | -0.3000 (-3.00) | 0.3000 (+3.00) |",
    ]


def shown(figure):
    """The numbers in the cells of a figure, row by row."""
    (axes,) = figure.get_axes()
    return [text.get_text() for text in axes.texts]


def test_how_alike_proxies_are():
    """``b`` has the order of ``a`` on another scale, ``c`` the opposite one; ``d`` is as it was but for two pairs."""
    count = MIN_FUNCTIONS_FOR_CORRELATION
    swapped = [1, 0, 3, 2, *range(4, count)]
    functions = [of_panel("x", {"a": i / 10, "b": i**3, "c": -i, "d": swapped[i], "e": 3.0}) for i in range(count)]
    # What has no score has no gains either, and is left out.
    functions.append(Judged(Formula.parse("exp(x)"), RewardResult(-4.0, Status.UNFIT)))
    figure = proxies_figure(functions)
    # 1 - 6 * 4 / (16 * 255) = 0.994.
    assert shown(figure) == [
        "+1.00", "+1.00", "-1.00", "+0.99", "-",
        "+1.00", "+1.00", "-1.00", "+0.99", "-",
        "-1.00", "-1.00", "+1.00", "-0.99", "-",
        "+0.99", "+0.99", "-0.99", "+1.00", "-",
        "-", "-", "-", "-", "-",
    ]  # fmt: skip
    (axes,) = figure.get_axes()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c", "d", "e"]
    assert axes.get_title() == f"correlation of gains over {count} functions"
    figure.draw_without_rendering()


def test_there_is_no_figure_of_too_little():
    count = MIN_FUNCTIONS_FOR_CORRELATION
    assert proxies_figure([of_panel("x", {"a": i, "b": i}) for i in range(count - 1)]) is None
    assert proxies_figure([of_panel("x", {"a": i}) for i in range(count)]) is None
    assert proxies_figure([]) is None
