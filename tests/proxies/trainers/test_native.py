import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers_native import (
    EXPLODING,
    FORMULAS,
    MEMBERS,
    SMOOTH,
    assert_a_nan_changes_no_bit_of_the_next,
    assert_same_bits,
    assert_the_same_bits_again,
    assert_the_step_of_a_population,
    one_by_one,
    settings,
)
from helpers_proxies import scores, trained_scores
from threadpoolctl import threadpool_info, threadpool_limits

from rlsearch import Formula
from rlsearch.common.pool import LokyPool
from rlsearch.errors import FormulaError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.trainers.population import PopulationTrainer

native = pytest.importorskip("rlsearch.proxies.trainers.native", reason="numba is not installed", exc_type=ImportError)
from rlsearch.kernels.numba_kernel import NumbaKernel  # noqa: E402 (needs numba)
from rlsearch.proxies.trainers import native_product  # noqa: E402

torch.set_num_threads(1)

SHAPES = pytest.mark.parametrize(
    "values",
    [
        {},
        {"normalisation": "layer"},
        {"network": "conv1d"},
        {"network": "conv1d", "normalisation": "layer"},
        {"network": "conv1d", "widths": (4, 8, 4, 4, 8)},  # 40, 20, 10, 5, 2 and 1 positions
        {"dataset": "digits", "widths": (36,)},
        {"widths": (100, 100), "batch_size": 96},  # as the quickstart's: products are cut into pieces
        {"network": "conv1d", "batch_size": 4},
    ],
    ids=lambda values: " ".join(f"{k}={v}" for k, v in values.items()) or "mlp",
)


# --- it trains what the population trainer trains ---


@SHAPES
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_one_step_equals_the_population_trainer(values, optimiser):
    values = {"batch_size": 32} | values
    s = settings(**values | {"optimiser": optimiser, "epochs": 1, "train_size": values["batch_size"]})
    trainer = native.NativeTrainer(s)
    assert_the_step_of_a_population(trainer, MEMBERS)
    expected = trained_scores(PopulationTrainer(s, TorchKernel(), "cpu", 8), MEMBERS)
    assert trained_scores(trainer, MEMBERS) == pytest.approx(expected, abs=1.5 / 80)


@pytest.mark.parametrize(
    "values", [{}, {"network": "conv1d"}, {"normalisation": "layer"}], ids=["mlp", "conv1d", "norm"]
)
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_whole_trainings_equal_the_population_trainer(values, optimiser):
    """Accuracy on 400 points, of smooth formulas, which are not chaotic: a prediction or two may flip by rounding.

    4 epochs of 6 batches; 16 of the 400 examples do not fill a batch and are left out of each epoch.
    """
    sizes = {"train_size": 400, "batch_size": 64, "validation_size": 400, "epochs": 4}
    s = settings(**sizes, optimiser=optimiser, **values)
    members = [Training(formula, "p", 3) for formula in SMOOTH]
    found = trained_scores(native.NativeTrainer(s), members)
    expected = trained_scores(PopulationTrainer(s, TorchKernel(), "cpu", 8), members)
    assert found == pytest.approx(expected, abs=2.5 / 400)
    assert len(set(found)) > 1


@pytest.mark.parametrize("network", ["mlp", "conv1d"])
def test_more_points_than_are_scored_at_once(network, monkeypatch):
    """80 points in three pieces, the last of another size."""
    s = settings(network=network)
    whole = native.NativeTrainer(s).train(MEMBERS)
    monkeypatch.setattr(native, "SCORED_ROWS", 32)
    trainer = native.NativeTrainer(s)
    assert trainer._rows == 32
    assert trainer.train(MEMBERS) == whole


# --- members are alone ---


@SHAPES
def test_the_same_bits_again(values):
    """By the same trainer, by another, in any company, and whatever BLAS's threads are."""
    s = settings(**values)
    first, kept = assert_the_same_bits_again(lambda: native.NativeTrainer(s), MEMBERS[:4])
    with threadpool_limits(2, user_api="blas"):
        other, kept_other = one_by_one(native.NativeTrainer(s), MEMBERS[:4])
    assert other == first
    assert_same_bits(kept_other, kept)


@SHAPES
def test_a_member_that_becomes_nan_changes_no_bit_of_the_next(values):
    s = settings(**values)
    assert_a_nan_changes_no_bit_of_the_next(lambda: native.NativeTrainer(s), MEMBERS[:2])


def test_a_proxy_takes_it_for_numbas_kernel_on_a_cpu():
    members = MEMBERS[:6]
    proxy = Proxy(settings(population=4), NumbaKernel(), "cpu")
    alone = scores(proxy, members)
    assert isinstance(proxy._trainers[("x",), 4], native.NativeTrainer)
    assert alone == trained_scores(native.NativeTrainer(settings()), members)
    assert scores(proxy, members, pool=LokyPool(2)) == alone
    by_torch = Proxy(settings(population=4), TorchKernel(), "cpu")
    by_torch.train(members[:4])
    assert isinstance(by_torch._trainers[("x",), 4], PopulationTrainer)


def test_formulas_of_other_inputs_are_refused():
    with pytest.raises(FormulaError, match="proxies take formulas of x alone"):
        native.NativeTrainer(settings()).train([Training(Formula.parse("x * g"), "p", 0)])


# --- how a training can end ---


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_diverged_is_none(optimiser):
    s = settings(optimiser=optimiser, learning_rate=1e6 if optimiser == "sgd" else 1e30)
    trainer = native.NativeTrainer(s)
    members = [Training(Formula.parse("x * x * x"), "p", 0), Training(EXPLODING, "p", 0)]
    assert trainer.train(members) == [None, None]


def test_a_hopeless_training_is_left(monkeypatch):
    """1.2 million steps would take minutes."""
    trainer = native.NativeTrainer(settings())
    start = trainer._start(0)
    monkeypatch.setattr(trainer, "_start", lambda seed: (start[0], np.tile(start[1], (200_000, 1))))
    assert trainer.train([Training(EXPLODING, "p", 0)]) == [None]


def test_diverged_in_one_validation_point_only():
    s = settings(learning_rate=1e-6)
    trainer = native.NativeTrainer(s)
    data = load_dataset(s)
    inputs = data.validation.inputs.clone()
    inputs[70] = 1e6
    trainer._data = Parts(data.train, Part(inputs, data.validation.labels), data.test)
    found = trained_scores(trainer, [Training(Formula.parse("exp(x)"), "p", 0), Training(FORMULAS[0], "p", 0)])
    assert found[0] is None
    assert 0 <= found[1] <= 1


def test_one_thread_and_no_denormals_in_training_only():
    tiny, seen = torch.tensor([1e-40]), []
    trainer = native.NativeTrainer(settings())

    def threads():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    def training(*arguments):
        seen.append(((tiny * 1).item(), threads()))
        return False

    trainer._compiled = SimpleNamespace(train=training)
    with threadpool_limits(2, user_api="blas"):
        assert trainer.train(MEMBERS[:1]) == [None]
        assert threads() == {2}
    assert seen == [(0.0, {1})]
    assert (tiny * 1).item() > 0


# --- parts ---


class Forbidden:
    def __getattr__(self, name):
        raise AssertionError("a search must not look at the test part")


def test_the_test_part_is_used_only_when_asked_for():
    trainer = native.NativeTrainer(settings())
    data = load_dataset(trainer.settings)
    expected = trainer.train(MEMBERS)
    trainer._data = Parts(data.train, data.validation, Forbidden())
    assert trainer.train(MEMBERS) == expected
    with pytest.raises(AssertionError, match="must not look"):
        trainer.train([replace(member, part="test") for member in MEMBERS])
    trainer._data = Parts(data.train, Forbidden(), data.validation)
    assert trainer.train([replace(member, part="test") for member in MEMBERS]) == expected


# --- what is compiled ---


@pytest.mark.parametrize(("a_turned", "b_turned"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(("m", "n", "k"), [(100, 128, 100), (10, 4, 3), (61, 200, 300), (200, 300, 400)])
def test_products(a_turned, b_turned, m, n, k):
    """Of one piece, of two, of four whose last is smaller, and of one that is too large to cut."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
    stored = [(x.T if turned else x).ravel() for x, turned in ((a, a_turned), (b, b_turned))]
    found = c.ravel().copy()
    sgemm = native.get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    native_product.add_product(sgemm, a_turned, b_turned, m, n, k, *stored, found)
    np.testing.assert_allclose(found.reshape(m, n), c + a.astype(float) @ b, rtol=1e-5, atol=1e-4)


def test_another_process_loads_what_one_compiled():
    """The second of two, since this process may have another cache, from before the tests moved it."""
    code = (
        "from rlsearch.proxies.trainers.native_step import compiled, train;"
        "print(compiled.digest, sum(train.stats.cache_hits.values()))"
    )
    command = [sys.executable, "-c", code]
    for _ in range(2):
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    assert result.stdout.strip() == f"{native.compiled_step().compiled.digest} 1"


def test_it_is_an_ordinary_module():
    """What is compiled can be imported and stepped through, and is the file as it stands."""
    step = native.compiled_step()
    assert Path(step.__file__).name == "native_step.py"
    assert inspect.getsource(step.train.py_func).startswith("@compiled(")
