"""The numba kernel against the torch kernel and plain autograd: one formula, and whole trainings by every trainer."""

import statistics
import time

import numpy as np
import pytest
import torch
from test_population_speed import FORMULAS, eager

from rlsearch import Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.kernels import TorchKernel, kernel_named
from rlsearch.proxies.base import Member
from rlsearch.proxies.population import PopulationTrainer
from rlsearch.proxies.settings import ProxySettings
from rlsearch.search.walks import random_ids

pytestmark = pytest.mark.benchmark
native = pytest.importorskip("rlsearch.proxies.native", reason="numba is not installed", exc_type=ImportError)

TEXTS = ["relu(x)", "x * sigmoid(x)", "mish(x)", "gelu(x)", "x * erf(x) + min(gauss(x), x)"]
SIZES = (2**13, 2**16, 2**20)
PROXIES = {
    "mnist1d mlp 100-100, 5 epochs": ProxySettings(),
    "mnist1d conv1d 16-16-16, 5 epochs": ProxySettings(network="conv1d", widths=(16, 16, 16)),
}
LEAST = {"mlp": 3.5, "conv1d": 3.5}  # times the eager loop; the goals are 3.5, with 8 as the aim, and 1.25


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def interleaved(functions, rounds):
    """Median seconds of the one thread per function, and the rounds' times; the first round warms up."""
    times = []
    for _ in range(rounds + 1):
        row = []
        for function in functions:
            started = time.process_time()
            function()
            row.append(time.process_time() - started)
        times.append(row)
    return np.array(times[1:])


def random_formulas(count):
    """Formulas of the quickstart's grammar as the untrained policy writes them, that could be trained."""
    grammar, rng = LanguageSettings(max_length=10).grammar(), np.random.default_rng(0)
    found = []
    while len(found) < count:
        formula = grammar.vocabulary.decode(random_ids(grammar, 1, rng)[0])
        y = formula(np.linspace(-5, 5, 200))
        if formula.size >= 5 and np.isfinite(y).all() and y.std() > 1e-2 and np.abs(y).max() < 200:
            found.append(formula)
    return found


def test_forward_and_backward_of_one_formula():
    numba = kernel_named("numba", "cpu")
    print(
        f"\n{'elements':>9}  {'ns per element, forward + backward':32}  numba  torch  eager  torch/numba  eager/numba"
    )
    ratios = []
    for size in SIZES:
        for text in TEXTS:
            formula = Formula.parse(text)
            x, outer = torch.randn(1, size, requires_grad=True), torch.randn(1, size)
            ways = [numba.population([formula]), TorchKernel().population([formula]), formula.to_module()]
            repeats = max(1, 2**17 // size)  # process_time is not fine enough for one call

            def call(way, x=x, outer=outer, repeats=repeats):
                for _ in range(repeats):
                    torch.autograd.grad(way(x), x, outer)

            times = interleaved([lambda w=w: call(w) for w in ways], 15) / repeats
            each = 1e9 * np.median(times, axis=0) / size
            by_torch, by_eager = np.median(times[:, 1:] / times[:, :1], axis=0)
            figures = "  ".join(f"{ns:5.2f}" for ns in each)
            print(f"{size:9,}  {text:34}  {figures}  {by_torch:11.2f}  {by_eager:11.2f}", flush=True)
            if size >= 2**16 and formula.size >= 4:
                ratios.append(by_eager)
    assert statistics.median(ratios) > 1.8  # the design's goal is 2.5 on a free machine


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["random", "known"])
@pytest.mark.parametrize("name", PROXIES)
def test_trainers(name, kind):
    settings = PROXIES[name]
    formulas = random_formulas(16) if kind == "random" else FORMULAS
    members = [Member(formula, 0) for formula in formulas]
    numba, torchs = (kernel_named(kernel, "cpu") for kernel in ("numba", "torch"))
    trainers = {
        "population, torch kernel": PopulationTrainer(settings, torchs, "cpu", len(members)),
        "population, numba kernel": PopulationTrainer(settings, numba, "cpu", len(members)),
        "native": native.NativeTrainer(settings),
    }
    ways = {"eager": lambda: [eager(settings, formula, 0) for formula in formulas]}
    ways |= {way: lambda trainer=trainer: trainer.train(members, "validation") for way, trainer in trainers.items()}
    times = interleaved(list(ways.values()), 4)
    ratios = np.median(times[:, :1] / times, axis=0)
    print(f"\n{name}, 16 {kind} formulas: ms each and times eager")
    for way, seconds, ratio in zip(ways, np.median(times, axis=0), ratios, strict=True):
        print(f"{way:26}{1000 * seconds / len(members):8.1f}{ratio:8.2f}")
    assert ratios[-1] > LEAST[settings.network]
