"""Every bench on tiny things: that what was measured is there, and that the plain ways do what they stand for."""

import math

import helpers_families  # noqa: F401 (adds data sets)
import numpy as np
import pytest
import torch
from helpers import DIGITS
from helpers_plain import PlainTransformer, plain_mlp
from torch import nn

from rlsearch.bench import controller, latency, proxies
from rlsearch.bench.controller import bench_controller, measure_round
from rlsearch.bench.formulas import KNOWN, random_formulas
from rlsearch.bench.kernels import EagerKernel, available_kernels, bench_kernels
from rlsearch.bench.latency import bench_latency
from rlsearch.bench.proxies import bench_proxies, plain_network, train_eagerly
from rlsearch.bench.report import Spread
from rlsearch.bench.screening import bench_screening, screen_by_autograd
from rlsearch.common.progress import Events
from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.kernels import TorchKernel
from rlsearch.kernels.latency import Latency, LatencyCosts
from rlsearch.proxies.base import Training, kind_of
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.trainers.population import PopulationTrainer
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import ScreeningSettings

RELU, SILU, SWIGLU = (Formula.parse(text) for text in ("relu(x)", "silu(x)", "swiglu(x, g)"))
KERNELS = list(available_kernels("cpu"))  # without numba there is one less
TINY = ProxySettings(**DIGITS)
TRANSFORMER = {
    "dataset": "walks", "network": "transformer", "widths": (16, 16), "heads": 2,
    "train_size": 96, "validation_size": 80, "test_size": 40, "batch_size": 32,
}  # fmt: skip


class Told(Events):
    """Keeps what it is told."""

    def __init__(self):
        self.progress = []

    def on_progress(self, what, done, wanted):
        self.progress.append((what, done, wanted))


def cases(report):
    """Cases and ways by section, in order."""
    found = {}
    for row in report.rows:
        found.setdefault(row.section, []).append((row.case, row.way))
    return found


def assert_sound(report):
    for row in report.rows:
        assert row.value.low <= row.value.median <= row.value.high
        assert (row.ratio is None) == (row.plain is None)
        assert row.ratio is None or 0 < row.ratio.low <= row.ratio.median <= row.ratio.high
        assert row.share is None or row.share > 0
    assert all(limit.value > 0 for limit in report.limits)
    assert report.machine.startswith("cpu (")
    assert report.to_json()


# --- formulas ---


def test_known_functions_are_sixteen_different_ones_that_can_be_trained():
    assert len({formula.fingerprint for formula in KNOWN.values()}) == 16
    assert not any(why_unfit(formula, ScreeningSettings()) for formula in KNOWN.values())


def test_random_formulas_are_the_same_ones_each_time():
    language = LanguageSettings(max_length=10)
    fit = random_formulas(20, language, fit=True)
    assert fit == random_formulas(30, language, fit=True)[:20]
    assert len({formula.fingerprint for formula in fit}) == 20
    assert all(len(formula.program.instructions) >= 2 and formula.size <= 10 for formula in fit)
    assert not any(why_unfit(formula, ScreeningSettings()) for formula in fit)
    anything = random_formulas(300, language, fit=False)
    assert len(set(anything)) == 300
    assert any(why_unfit(formula, ScreeningSettings()) for formula in anything)


# --- kernels ---


def test_kernels():
    told = Told()
    report = bench_kernels("cpu", {"a": RELU, "b": SWIGLU}, [64, 128], 2, told)
    both = [(case, way) for case in "ab" for way in KERNELS]
    assert cases(report) == {
        "forward plus backward of 64 elements, float32": both,
        "forward plus backward of 128 elements, float32": both,
    }
    assert {row.unit for row in report.rows} == {"ns per element"}
    assert [row.way for row in report.rows if row.ratio is None] == ["eager"] * 4
    assert all(row.share is not None for row in report.rows)
    assert (report.bench, report.kernel, report.clock, report.rounds) == ("kernels", KERNELS[0], "process time", 2)
    assert [limit.name for limit in report.limits] == [
        f"copy bandwidth at {n} elements, float32" for n in (64, 128)
    ]  # fmt: skip
    assert told.progress == [("formulas", done, 4) for done in (1, 2, 3, 4)]
    assert_sound(report)


@pytest.mark.parametrize("formula", [SILU, SWIGLU], ids=str)
def test_the_eager_kernel_computes_the_same(formula):
    inputs = [
        torch.linspace(a, 4, 50).reshape(1, -1).requires_grad_() for a, _ in zip((-4, -2), formula.inputs, strict=False)
    ]
    results = []
    for kernel in (EagerKernel(), TorchKernel()):
        activation = kernel.population([RELU], formula.inputs)
        activation.load([formula])
        y = activation(*inputs)
        results.append((y, *torch.autograd.grad(y.sum(), inputs)))
    for eager, dual in zip(*results, strict=True):
        torch.testing.assert_close(eager, dual)


# --- proxies ---


def test_proxies():
    told = Told()
    kernel = next(iter(available_kernels("cpu").values()))
    report = bench_proxies("cpu", kernel, [TINY], 2, (), told)
    assert cases(report) == {
        "digits mlp 8, 1 epochs, one process": [
            (f"{kind} formulas", way) for kind in ("known", "random") for way in KERNELS
        ]
    }
    assert {row.unit for row in report.rows} == {"candidates/s"}
    assert {row.plain for row in report.rows} == {"eager", None}
    (limit,) = report.limits
    assert limit.name in {f"matrix products of digits mlp 8 by {library}" for library in ("torch", "scipy's BLAS")}
    assert told.progress == [("proxies", 1, 2), ("proxies", 2, 2)]
    assert_sound(report)


def test_proxies_by_processes():
    report = bench_proxies("cpu", TorchKernel(), [TINY], 2, (1, 2))
    rows = [row for row in report.rows if "by processes (wall time)" in row.section]
    assert [(row.case, row.way, row.plain) for row in rows] == [
        ("64 trainings", "1 worker", None),
        ("64 trainings", "2 workers", "1 worker"),
    ]
    assert_sound(report)


@pytest.mark.parametrize("normalisation", ["none", "layer", "rms"])
@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": "digits", "widths": (8, 12)},
        {"network": "conv1d", "widths": (8, 4, 12)},
        {"dataset": "steps", "widths": (8, 12)},
    ],
    ids=str,
)
def test_the_eager_network_is_the_proxys(settings, normalisation):
    """With the same weights it gives the same outputs; a convolution's weights are windows times a matrix."""
    settings = ProxySettings(normalisation=normalisation, batch_size=20, **settings)
    generator = torch.Generator().manual_seed(0)
    ours = NETWORKS[settings.network].build(settings, [generator], TorchKernel().population([SILU]))
    plain = plain_network(settings, SILU)
    with torch.no_grad():
        linears = [module for module in plain.modules() if isinstance(module, nn.Linear | nn.Conv1d)]
        for layer, copied in zip((*ours.layers, ours.head), linears, strict=True):
            columns = len(copied.bias)
            copied.weight.copy_(layer.weight[0, :, :columns].T.reshape(copied.weight.shape))
            copied.bias.copy_(layer.bias[0, 0, :columns])
        norms = [module for module in plain.modules() if isinstance(module, nn.LayerNorm | nn.RMSNorm)]
        for norm, copied in zip([norm for norm in ours.norms if list(norm.parameters())], norms, strict=True):
            norm.scale.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
            copied.weight.copy_(norm.scale[0, 0])
        for module in plain.modules():
            if isinstance(module, nn.Embedding):
                module.weight.copy_(ours.embedding.weight[0])
        x = load_dataset(settings).validation.inputs[:5]
        torch.testing.assert_close(plain(x), ours(x[None])[0], atol=1e-5, rtol=1e-5)
    assert plain(x).shape == (5, settings.n_outputs)


@pytest.mark.parametrize("text", ["silu(x)", "x * silu(g)"])
@pytest.mark.parametrize("values", [{}, {"positions": "learned", "normalisation": "layer"}], ids=str)
def test_the_eager_transformer_is_the_proxys(values, text):
    """With the same weights it gives the same outputs. Its parameters come in another order."""
    settings = ProxySettings.check(TRANSFORMER | values)
    formula = Formula.parse(text)
    kind = kind_of(formula, gated=True)
    activation = TorchKernel().population([formula], kind)
    ours = NETWORKS["transformer"].build(settings, [torch.Generator().manual_seed(0)], activation, kind)
    plain = plain_network(settings, formula)
    single = PlainTransformer(ours, 0, formula.to_module())
    with torch.no_grad():
        plain.embedding.weight.copy_(single.embedding.weight)
        if plain.positions is not None:
            plain.positions.copy_(single.positions)
        for block, copied in zip(single.blocks, plain.blocks, strict=True):
            query, key, value, out, *ups, down = [linear.weight for linear in block]
            copied.query_key_value.weight.copy_(torch.cat([query, key, value]))
            own = (copied.out, *copied.ups, copied.down)
            for theirs, linear in zip((out, *ups, down), own, strict=True):
                linear.weight.copy_(theirs)
    tokens = load_dataset(settings).validation.inputs[:5]
    torch.testing.assert_close(plain(tokens), ours(tokens[None])[0], atol=1e-5, rtol=1e-4)
    assert plain(tokens).shape == (5, 8, 12)


def test_the_eager_loop_trains_the_transformer_that_the_proxy_does(monkeypatch):
    """From the proxy's own initial weights, for a few steps with clipped gradients."""
    own = {"clip_norm": 0.5, "evaluations": 2, "optimiser": "adamw", "epochs": 2, "learning_rate": 3e-3}
    settings = ProxySettings.check(TRANSFORMER | own)
    start = NETWORKS["transformer"].build(settings, [torch.Generator().manual_seed(3)], None)
    monkeypatch.setattr(proxies, "plain_network", lambda *_: PlainTransformer(start, 0, SILU.to_module()))
    (ours,) = PopulationTrainer(settings, TorchKernel(), "cpu", 1).train([Training(SILU, "p", 3)])
    assert train_eagerly(settings, SILU, 3, load_dataset(settings)) == pytest.approx(ours.score, abs=1e-3)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_eager_loop_learns_and_leaves_random_numbers_alone(optimiser):
    rate = {"adam": 1e-2, "sgd": 1e-1}[optimiser]
    settings = ProxySettings(
        dataset="digits", widths=(32,), epochs=10, batch_size=32, optimiser=optimiser, learning_rate=rate
    )
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    accuracy = train_eagerly(settings, SILU, 0, load_dataset(settings))
    assert torch.equal(torch.rand(1), expected)
    assert accuracy > 0.9  # chance is 0.1
    assert accuracy == train_eagerly(settings, SILU, 0, load_dataset(settings))


@pytest.mark.parametrize(
    "values",
    [
        {"dataset": "waves", "schedule": "cosine", "warmup": 0.5},
        {"dataset": "waves", "outside_weight": 0.5, "evaluations": 3},
        {"dataset": "sums", "optimiser": "adamw", "weight_decay": 0.5},
        {"dataset": "steps", "normalisation": "rms", "optimiser": "sgd", "schedule": "linear"},
        {"score": "loss", "normalisation": "layer"},
    ],
    ids=str,
)
def test_the_eager_loop_trains_what_the_proxy_does(values, monkeypatch):
    """From the proxy's own initial weights, for a few steps."""
    sizes = {"train_size": 96, "validation_size": 80, "test_size": 40, "batch_size": 32, "epochs": 2}
    settings = ProxySettings.check(sizes | {"widths": (12, 8)} | values)
    monkeypatch.setattr(proxies, "plain_network", lambda settings, formula: plain_mlp(settings, formula, 3))
    (ours,) = PopulationTrainer(settings, TorchKernel(), "cpu", 1).train([Training(SILU, "p", 3)])
    tolerance = 1.5 / 80 if settings.task.score == "bits right" else 2e-3
    assert train_eagerly(settings, SILU, 3, load_dataset(settings)) == pytest.approx(ours.score, abs=tolerance)


def test_an_eager_training_that_diverges_is_nan():
    settings = ProxySettings(dataset="waves", widths=(8,), batch_size=32, optimiser="sgd", learning_rate=1e6)
    assert math.isnan(train_eagerly(settings, Formula.parse("x * x * x"), 0, load_dataset(settings)))


# --- screening ---


def test_screening():
    report = bench_screening(20, 2, mined_length=3)
    ways = [way for _, way in cases(report)["screening"]]
    assert ways == [*["mining"] * ("numba" in KERNELS), "numpy", "torch autograd"]
    assert all(row.plain == "torch autograd" for row in report.rows[:-1])
    assert {row.unit for row in report.rows} == {"formulas/s"}
    assert report.kernel is None
    assert_sound(report)


def test_screening_by_autograd_agrees_with_the_projects():
    """But for a formula in a hundred whose slope is another at a kink, or rounded to the other side of a limit."""
    settings = ScreeningSettings(points=256)
    x = torch.linspace(-settings.reach, settings.reach, settings.points)
    formulas = random_formulas(300, LanguageSettings(), fit=False)
    verdicts = [(screen_by_autograd(f, x, settings) is None, bool(why_unfit(f, settings))) for f in formulas]
    assert sum(a != b for a, b in verdicts) <= 3
    assert 30 < sum(unfit for unfit, _ in verdicts) < 270


def test_screening_by_autograd_tells_functions_apart():
    settings = ScreeningSettings(points=256)
    x = torch.linspace(-8, 8, 256)
    one, same, other = (
        screen_by_autograd(Formula.parse(text), x, settings) for text in ("x * sigmoid(x)", "sigmoid(x) * x", "tanh(x)")
    )
    assert one == same != other


# --- controller ---


def test_controller():
    told = Told()
    report = bench_controller((8, 16), 2, told)
    sizes = ["8 a round", "16 a round"]
    parts = ["policy", "writing", "judging", "offspring", "PPO update", "other"]
    assert cases(report) == {
        "environment": [(size, way) for size in sizes for way in ("lock-step", "one by one")],
        "search beside a device that trains 10 M an hour (wall time)": [
            (size, way) for size in sizes for way in ("overlapped", "in turn")
        ],
        "whole search": [(size, "whole search") for size in sizes],
        "where a round's time goes": [(part, size) for part in parts for size in sizes],
    }
    assert told.progress == [("sizes", 1, 2), ("sizes", 2, 2)]
    assert_sound(report)


def test_a_pretended_device_takes_its_time(monkeypatch):
    """No search trains more candidates a second than its device."""
    monkeypatch.setattr(controller, "DEVICE_RATE", 50.0)
    rates = controller._beside_device(8, 2)
    assert [len(each) for each in rates.values()] == [2, 2]
    assert all((each <= 50).all() for each in rates.values())


def test_a_rounds_parts_are_all_of_it():
    rates, shares = measure_round(8, 3)
    assert all(len(rate) == 3 for rate in rates.values())
    assert np.sum(list(shares.values()), axis=0) == pytest.approx([100] * 3)
    assert all((share > 0).all() for share in shares.values())


# --- latency ---


@pytest.fixture
def known_latencies(monkeypatch):
    """The kernels see a formula's size, and plain autograd its opposite."""
    factors = {"numba": 1.0, "torch": 2.0, "eager": -1.0}

    def seen(formula, kernel):
        return 100 + factors[kernel.name] * formula.size

    def measure(formulas, kernel, device, rounds):
        assert (device, rounds) == ("cpu", 7)
        return [Latency(v, v - 1, v + 1) for v in (seen(formula, kernel) for formula in formulas)]

    def calibrate(kernel, device):
        return LatencyCosts("a label", 1.0, dict.fromkeys(OPERATORS, 0.5))

    monkeypatch.setattr(latency, "measure", measure)
    monkeypatch.setattr(latency, "calibrate", calibrate)


def test_latency(known_latencies):
    report = bench_latency("cpu", {"relu": RELU, "silu": SILU}, ranked=20, rounds=7)
    known = [(case, way) for case in ("relu", "silu") for way in KERNELS]
    own = ["estimate and measurement", "two measurements", *(f"with the {name} measurement" for name in KERNELS)]
    assert cases(report) == {
        "latency": known,
        "cost model": known,
        "order of 20 random formulas": [(case, way) for case in own for way in KERNELS],
    }
    by_row = {(row.section, row.case, row.way): row.value for row in report.rows}
    assert by_row["latency", "silu", "torch"] == Spread(108.0, 107.0, 109.0)  # of four tokens
    assert by_row["cost model", "silu", "torch"] == Spread(2.0, 2.0, 2.0)
    order = "order of 20 random formulas"
    assert by_row[order, "two measurements", "torch"].median == pytest.approx(1)
    assert by_row[order, "with the torch measurement", "torch"].median == pytest.approx(1)
    assert by_row[order, "with the torch measurement", "eager"].median == pytest.approx(-1)
    estimated = [by_row[order, "estimate and measurement", way].median for way in ("torch", "eager")]
    assert estimated[0] == pytest.approx(-estimated[1])
    assert estimated[0] > 0.5
    assert not math.isnan(sum(estimated))
    assert (report.clock, report.limits) == ("wall time", ())
    assert_sound(report)
