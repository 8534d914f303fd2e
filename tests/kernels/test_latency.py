import json
import os

import pytest
import torch

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS
from rlsearch.kernels import TorchKernel, latency
from rlsearch.kernels.latency import Latency, LatencyCosts, cached_costs, calibrate, label, measure

torch.set_num_threads(1)

KERNEL = TorchKernel()
RELU, SILU = Formula.parse("relu(x)"), Formula.parse("silu(x)")


def table(**costs):
    """Every operator costs 0.25, the identity 0.5, ReLU together 1."""
    return LatencyCosts("a label", 0.5, dict.fromkeys(OPERATORS, 0.25) | {"relu": 0.5} | costs)


@pytest.fixture(scope="module")
def calibrated():
    return calibrate(KERNEL, "cpu")


# --- the cost model ---


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("x", 0.5),
        ("relu(x)", 1.0),
        ("x * sigmoid(x)", 0.5 + 0.25 + 2.0),
        ("x * sigmoid(x) + x * sigmoid(x)", 0.5 + 0.25 + 2.0 + 0.25),  # the common part is computed once
        ("sigmoid(x) + sigmoid(-x)", 0.5 + 2.0 + 0.25 + 2.0 + 0.25),
        ("x * sigmoid(2)", 0.5 + 0.25),  # a constant is computed beforehand
        ("x + 3", 0.5 + 0.25),
        ("x * g", 2 / 3 * (0.5 + 3 / 5 + 0.25)),  # three arrays more than ReLU's five, and two thirds of the width
        ("x * sigmoid(g)", 2 / 3 * (0.5 + 3 / 5 + 0.25 + 2.0)),
    ],
)
def test_ratio_by_hand(text, ratio):
    assert table(sigmoid=2.0).ratio(Formula.parse(text)) == pytest.approx(ratio, rel=1e-12)


def test_save_and_load(tmp_path, calibrated):
    for costs in (table(exp=1 / 3), calibrated):
        path = tmp_path / "deep" / "costs.json"
        costs.save(path)
        assert LatencyCosts.load(path) == costs
        assert [p.name for p in path.parent.iterdir()] == ["costs.json"]


def written(path, **changes):
    good = {"label": "a label", "fixed": 0.5, "costs": dict.fromkeys(OPERATORS, 0.25)}
    path.write_text(json.dumps(good | changes))
    return path


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", "null", '{"label": "a"}', '{"label": "a", "fixed": 1}', "\x00\x01", '"text"']
)
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "costs.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"costs\.json is not a table of latency costs"):
        LatencyCosts.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"fixed": None},
        {"fixed": "fast"},
        {"fixed": float("nan")},
        {"fixed": 0.0},
        {"costs": []},
        *({"costs": dict.fromkeys(OPERATORS, wrong)} for wrong in ("a", float("inf"), float("nan"), -1.0, 0.0)),
    ],
    ids=lambda changes: str(changes)[:25],
)
def test_wrong_values_are_refused(tmp_path, changes):
    with pytest.raises(ConfigError, match="is not a table of latency costs"):
        LatencyCosts.load(written(tmp_path / "costs.json", **changes))


def test_a_missing_operator_is_named(tmp_path):
    costs = dict.fromkeys(OPERATORS, 0.25)
    del costs["erf"]
    with pytest.raises(ConfigError, match="has no cost for the operator 'erf'"):
        LatencyCosts.load(written(tmp_path / "costs.json", costs=costs))
    of_others = LatencyCosts.load(tmp_path / "costs.json", ["sin", "relu"])
    assert of_others.ratio(Formula.parse("sin(x)")) == of_others.fixed + 0.25
    with pytest.raises(ConfigError, match="has no cost for the operator 'erf'"):
        LatencyCosts.load(tmp_path / "costs.json", ["sin", "erf"])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.json is not a table of latency costs: FileNotFoundError"):
        LatencyCosts.load(tmp_path / "nowhere.json")


# --- this machine's costs ---


@pytest.fixture
def calibrations(tmp_path, monkeypatch):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))
    calls = []

    def calibrate(kernel, device):
        calls.append(device)
        return LatencyCosts(label(kernel, device), 0.5, table(exp=float(len(calls))).costs)

    monkeypatch.setattr(latency, "calibrate", calibrate)
    return calls


def test_calibrated_once(calibrations, tmp_path):
    first = cached_costs(KERNEL, "cpu")
    assert cached_costs(KERNEL, "cpu") == first
    assert calibrations == ["cpu"]
    (path,) = (tmp_path / "cache").iterdir()
    assert "-torch-kernel--cpu" in path.name
    assert LatencyCosts.load(path) == first


@pytest.mark.parametrize("content", ["damaged", '{"label": "another machine", "fixed": 1, "costs": {}}'])
def test_a_damaged_cache_is_made_anew(calibrations, tmp_path, content):
    cached_costs(KERNEL, "cpu")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_text(content)
    assert cached_costs(KERNEL, "cpu").costs["exp"] == 2.0
    assert cached_costs(KERNEL, "cpu").costs["exp"] == 2.0


def test_costs_of_another_label_are_not_used(calibrations, tmp_path):
    cached_costs(KERNEL, "cpu")
    (path,) = (tmp_path / "cache").iterdir()
    table(exp=7.0).save(path)
    assert cached_costs(KERNEL, "cpu").costs["exp"] == 2.0


def test_another_kernel_has_costs_of_its_own(calibrations, tmp_path):
    other = TorchKernel()
    other.name = "other"
    assert cached_costs(KERNEL, "cpu").label != cached_costs(other, "cpu").label
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_ignored(calibrations, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "file" / "cache"))
    assert cached_costs(KERNEL, "cpu").costs["exp"] == 1.0
    assert cached_costs(KERNEL, "cpu").costs["exp"] == 2.0


def test_the_label_says_kernel_device_and_dtype():
    assert label(KERNEL, "cpu").startswith("torch kernel, cpu (")
    assert label(KERNEL, "cpu").endswith("float32")


def test_a_gpus_label_says_how_many_elements(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X")
    assert label(KERNEL, "cuda:1") == "torch kernel, NVIDIA X, 16,777,216 elements, float32"


@pytest.mark.parametrize(("given", "taken"), [({}, 2**16), ({"elements": 8}, 8)])
def test_measured_on_so_many_elements(given, taken):
    sizes = set()

    class Kernel(TorchKernel):
        def population(self, formulas, inputs):
            activation = super().population(formulas, inputs)
            return lambda x: sizes.add(x.numel()) or activation(x)

    measure([RELU], Kernel(), "cpu", rounds=2, **given)
    assert sizes == {taken}


def test_no_operator_is_free_whatever_the_noise_says(monkeypatch):
    """A machine on which the identity took longer than ReLU and everything else no time."""

    def measured(formulas, kernel, device):
        return [Latency(ratio, ratio, ratio) for ratio in (1.2, *[0.1] * (len(formulas) - 1))]

    monkeypatch.setattr(latency, "measure", measured)
    costs = calibrate(KERNEL, "cpu")
    assert min(costs.costs.values()) == pytest.approx(0.01)
    assert costs.ratio(RELU) == 1.0


# --- calibration and measurement: only what no busy machine can change ---


def test_calibration_prices_every_operator(calibrated):
    assert set(calibrated.costs) == set(OPERATORS)
    assert all(0 < cost < 1000 for cost in calibrated.costs.values())
    assert calibrated.fixed > 0
    assert calibrated.ratio(RELU) == 1.0  # exactly
    assert calibrated.label == label(KERNEL, "cpu")


def test_measured_quartiles_and_order(calibrated):
    # 9 operators, among them three of the dearest; in any weather dearer than one.
    dear = Formula.parse("erf(sinc(x)) * tanh(asinh(x) + sin(x)) + softplus(log(x))")
    assert len(dear.program.instructions) >= 9
    found = measure([dear, RELU], KERNEL, "cpu", elements=2**12, rounds=7)
    assert [type(f) for f in found] == [Latency, Latency]
    for one in found:
        assert 0 < one.low <= one.ratio <= one.high
    assert found[0].ratio > 1.5 * found[1].ratio
    assert 0.2 < found[1].ratio < 5  # ReLU beside itself
    assert calibrated.ratio(dear) > 1.5


def test_the_same_formula_twice_is_measured_as_one():
    a, b = measure([SILU, SILU], KERNEL, "cpu", elements=2**8, rounds=3)
    assert a == b


def test_a_gated_unit_counts_by_two_thirds_of_its_width(monkeypatch):
    """Whatever is measured: each formula takes as long as ReLU here, and a gated one of as many inputs is narrower."""
    seen = []

    def ratios(ways, reference, rounds, timer, **more):
        seen.extend(len(step()) for step in ways.values())
        return {formula: [1.0, 1.0, 4.0] for formula in ways}

    monkeypatch.setattr(latency, "ratios_in_turn", ratios)
    pointwise, gated = measure([SILU, Formula.parse("swiglu(x, g)")], KERNEL, "cpu", elements=16)
    assert seen == [1, 2]  # gradients by each input
    assert pointwise == Latency(1.0, 1.0, 2.5)
    assert gated == Latency(2 / 3, 2 / 3, pytest.approx(2.5 * 2 / 3))


@pytest.mark.parametrize("fails", [False, True])
def test_threads_are_put_back(fails):
    torch.set_num_threads(2)
    seen = []

    class Kernel(TorchKernel):
        def population(self, formulas, inputs):
            seen.append(torch.get_num_threads())
            if fails:
                raise RuntimeError("no kernel")
            return super().population(formulas, inputs)

    try:
        if fails:
            with pytest.raises(RuntimeError, match="no kernel"):
                measure([SILU], Kernel(), "cpu", elements=16, rounds=2)
        else:
            measure([SILU], Kernel(), "cpu", elements=16, rounds=2)
        assert torch.get_num_threads() == 2
        assert set(seen) == {1}
    finally:
        torch.set_num_threads(1)


def test_measuring_leaves_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    measure([SILU], KERNEL, "cpu", elements=16, rounds=2)
    assert torch.equal(torch.rand(1), expected)


def test_two_processes_do_not_write_the_same_partial_file(tmp_path, monkeypatch):
    written_to = []
    replace = os.replace
    monkeypatch.setattr("pathlib.Path.replace", lambda a, b: written_to.append(a.name) or replace(a, b))
    table().save(tmp_path / "costs.json")
    assert str(os.getpid()) in written_to[0]
