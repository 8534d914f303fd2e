import math
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import CURVE, DIGITS, Recorder, make_config, proxies
from helpers_findings import baseline, finding, findings_of, noisy
from helpers_proxies import trained_scores

from rlsearch import Formula, train
from rlsearch.common.progress import Events
from rlsearch.common.seeds import fresh_seed
from rlsearch.errors import ConfigError, RunError
from rlsearch.kernels import default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.tasks import BITS, CLASSIFICATION, GAIN, NEXT_TOKEN, REGRESSION
from rlsearch.rewards.panels import PANELS
from rlsearch.studies.confirm import confirm
from rlsearch.studies.retrain import Options
from rlsearch.studies.targets import TARGETS
from rlsearch.studies.transfer import holds, transfer

parse = Formula.parse
FEW = Options(seeds=3, rates=(1.0,))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return train(make_config(proxies(folder), 3, 12, seed=3), "real", runs=folder).run


@pytest.fixture(scope="module")
def outcomes(run):
    other = {
        "wide": make_config({"proxies": [DIGITS | {"widths": [16]}]}),
        "two": make_config({"proxies": [DIGITS | {"optimiser": "sgd"}, DIGITS]}),
    }
    recorder = Recorder()
    found = transfer(run, other, best=2, baselines=["softplus"], options=FEW, events=recorder)
    assert {what.split(":")[0] for what, _, _ in recorder.progress} == {"wide", "two"}
    return found


def test_transfer_is_the_same_on_other_proxies(run, outcomes):
    assert list(outcomes) == ["wide", "two"]
    for name, outcome in outcomes.items():
        assert outcome.folder == run.folder / f"transfer-{name}"
        assert (outcome.folder / "confirm.json").exists()
        assert len(outcome.findings.formulas) == 2
        assert all(f.searched is None for f in outcome.findings.formulas)  # it was seen on other proxies
    formulas = [{f.formula for f in outcome.findings.formulas} for outcome in outcomes.values()]
    assert formulas[0] == formulas[1]
    assert outcomes["wide"].findings.words == CLASSIFICATION
    assert outcomes["two"].findings.words == GAIN


def test_gelu_and_silu_are_always_compared_with(outcomes):
    for outcome in outcomes.values():
        assert sorted(f.name for f in outcome.findings.baselines) == ["gelu", "silu", "softplus"]
        assert outcome.findings.differences.mean.shape == (2, 3)


def test_the_spread_of_a_single_classifier_is_known_too(outcomes):
    """Of the config's own baselines, which are not all compared with; each training again."""
    reward = make_config({"proxies": [DIGITS | {"widths": [16]}]}).reward
    (settings,) = reward.proxies
    means = []
    for name in reward.baselines:
        scores = []
        for seed in (fresh_seed(0, 1000 + j) for j in range(3)):
            fresh = {"data_seed": 2**31 + seed, "validation_size": 4}
            proxy = Proxy(settings.check(settings.model_dump() | fresh), default_kernel("cpu"), "cpu")
            scores += trained_scores(proxy, [Training(parse(f"{name}(x)"), "", seed, "test")])
        means.append(sum(scores) / 3)
    assert outcomes["wide"].spread == pytest.approx(max(means) - min(means), abs=1e-12)
    assert outcomes["two"].spread == 1.0


def test_how_each_formula_holds_follows_from_the_findings(outcomes):
    found = holds(outcomes)
    assert {hold.formula for hold in found} == {f.formula for f in outcomes["two"].findings.formulas}
    for hold in found:
        for name, outcome in outcomes.items():
            scores = {f.name or f.formula: f.mean for f in (*outcome.findings.formulas, *outcome.findings.baselines)}
            assert hold.gains[name] == pytest.approx((scores[hold.formula] - scores["gelu"]) / outcome.spread)
        assert hold.worst == min(hold.gains, key=hold.gains.__getitem__)
        assert hold.beaten == {"gelu": 0, "silu": 0}  # three seeds can show nothing
    totals = [sum(hold.gains.values()) for hold in found]
    assert totals == sorted(totals, reverse=True)


def test_what_is_sure_is_counted_over_targets():
    base = noisy(0.5, 0)

    def outcome(spread=1.0, gelu=0.0, silu=0.0, **scores):
        found = findings_of(
            [finding(name, values) for name, values in scores.items()],
            [baseline("gelu", base + gelu), finding("x / (1 + exp(-x))", base + silu, "x / (1 + exp(-x))")],
        )
        return SimpleNamespace(findings=found, spread=spread)

    diverged = np.full(20, math.nan)
    better, worse = base + noisy(0.2, 1), base + noisy(-0.1, 2)
    found = holds(
        {
            "a": outcome(0.1, p=better, q=worse),
            "b": outcome(2.0, silu=0.5, p=better, q=better),
            "c": outcome(p=diverged, q=better, gelu=math.nan),
            "stopped": SimpleNamespace(findings=None, spread=math.nan),
        }
    )
    p, q = sorted(found, key=lambda hold: hold.formula)
    a, b = (better - base).mean() / 0.1, (better - base).mean() / 2
    assert p.gains == pytest.approx({"a": a, "b": b, "c": math.nan}, nan_ok=True)
    assert (p.better, p.worse, p.beaten, p.worst) == ({"a", "b"}, set(), {"gelu": 2, "silu": 1}, "c")
    # SiLU is found in another spelling; where GELU diverged there is no gain over it.
    assert (q.better, q.worse, q.beaten) == ({"b"}, {"a"}, {"gelu": 1, "silu": 1})
    assert math.isnan(q.gains["c"])


def test_transfer_stops_where_it_is_interrupted(run):
    class Interrupt(Events):
        def on_progress(self, what, done, wanted):
            signal.raise_signal(signal.SIGINT)

    config = make_config({"proxies": [DIGITS | {"widths": [20]}]})
    outcomes = transfer(run, {"a": config, "b": config}, best=1, options=FEW, events=Interrupt())
    assert list(outcomes) == ["a"]
    assert outcomes["a"].findings is None
    assert holds(outcomes) == []


def test_a_run_with_a_reward_of_its_own_can_only_be_transferred(tmp_path):
    run = train(make_config(CURVE), "curve", runs=tmp_path).run
    with pytest.raises(ConfigError, match="the reward rlsearch_envs:CurveReward has no proxies to train"):
        confirm(run)
    assert not (run.folder / "confirm").exists()
    outcome = transfer(run, {"d": make_config({"proxies": [DIGITS]})}, best=1, options=Options(2, (1.0,)))["d"]
    assert outcome.findings.formulas[0].searched is None  # its scores are not accuracies
    with pytest.raises(ConfigError, match="no proxies"):
        transfer(run, {"c": make_config(CURVE)})


def test_a_run_without_a_score_cannot_be_transferred(tmp_path):
    none = train(make_config({"target": "helpers_rewards:unfit"}), "none", runs=tmp_path).run
    with pytest.raises(RunError, match="has no formula with a score yet"):
        transfer(none, {"d": make_config({"proxies": [DIGITS]})})


def test_the_targets_that_are_shipped_are_tasks_of_no_panel():
    """By data set, or by a network of another kind on it."""
    of_panels = {(p.dataset, p.network, len(p.widths), p.normalisation) for panel in PANELS.values() for p in panel}
    tasks = {}
    for name, config in TARGETS.items():
        (proxy,) = config.proxies
        assert not DATASETS[proxy.dataset].needs_path
        assert (proxy.dataset, proxy.network, len(proxy.widths), proxy.normalisation) not in of_panels
        tasks[name] = proxy.task
    assert tasks == {
        "products": BITS, "polynomials": REGRESSION, "harmonics": REGRESSION, "convolution": CLASSIFICATION,
        "deep-text": NEXT_TOKEN,
    }  # fmt: skip
    new_data = {config.proxies[0].dataset for config in TARGETS.values()} - {dataset for dataset, *_ in of_panels}
    assert new_data == {"products", "polynomials", "harmonics"}


@pytest.mark.parametrize("name", TARGETS)
def test_a_shipped_target_tells_activations_from_a_linear_network(name):
    (settings,) = TARGETS[name].proxies
    proxy = Proxy(settings, default_kernel("cpu"), "cpu")
    formulas = [parse("relu(x)"), parse("x")]
    relu, linear = (trained_scores(proxy, [Training(f, "", s) for s in range(4)]) for f in formulas)
    assert min(relu) > max(linear)
