import helpers_families  # noqa: F401 (adds data sets)
import numpy as np
import pytest
import torch

from rlsearch.bench import limits
from rlsearch.bench.limits import (
    copying,
    layer_sizes,
    multiplication_rate,
    operations,
    operations_per_candidate,
    product_rate,
    step_products,
)
from rlsearch.common.timing import PROCESS
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.layers import PopulationLinear
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.trainers import native_plan

TOKENS = ProxySettings(dataset="steps", widths=(8,), batch_size=4, embedding=12)
CONV = ProxySettings(network="conv1d", widths=(16, 8))


def test_operations_of_a_product():
    assert operations([(2, 3, 5)]) == 2 * 2 * 3 * 5
    assert operations([(2, 3, 5), (1, 1, 1)]) == 62


def test_products_of_a_step_by_hand():
    assert step_products(ProxySettings(widths=(8,), batch_size=4)) == [
        (4, 40, 8), (40, 4, 8),  # the first layer: its inputs' gradient is not needed
        (4, 8, 10), (8, 4, 10), (4, 10, 8),
    ]  # fmt: skip


def test_the_inputs_gradient_is_needed_where_they_are_learned():
    """Four letters of twelve numbers are 48 inputs, and there are eight letters that may come next."""
    assert step_products(TOKENS)[:3] == [(4, 48, 8), (48, 4, 8), (4, 8, 48)]


def test_operations_of_a_training_by_hand():
    settings = ProxySettings(widths=(8,), batch_size=4, train_size=12, validation_size=20, test_size=4, epochs=5)
    step = 2 * 4 * (2 * 40 * 8 + 3 * 8 * 10)
    assert operations_per_candidate(settings) == 5 * 3 * step + 2 * 20 * (40 * 8 + 8 * 10)


def test_scores_are_counted_as_often_as_they_are_made():
    """Three times, and each time outside of the range of training too."""
    sizes = {"batch_size": 4, "train_size": 40, "validation_size": 20, "test_size": 4, "epochs": 1}
    once = ProxySettings(dataset="waves", widths=(8,), **sizes)
    more = ProxySettings(dataset="waves", widths=(8,), evaluations=3, outside_weight=0.5, **sizes)
    scoring = 2 * 20 * (1 * 8 + 8 * 2)
    assert operations_per_candidate(more) - operations_per_candidate(once) == (3 * 2 - 1) * scoring


@pytest.mark.parametrize("settings", [ProxySettings(), ProxySettings(dataset="digits", widths=(12,)), CONV])
def test_layers_are_those_of_the_network(settings):
    """The rows that each layer gets, and its weights but for the padding of the classes."""
    features = 64 if settings.dataset == "digits" else 40
    network = NETWORKS[settings.network].build(settings, [torch.Generator().manual_seed(0)], torch.relu)
    seen = []

    def note(layer, inputs, output):
        columns = output.shape[2] if layer is not network.head else 10
        seen.append((inputs[0].shape[1] / 3, layer.weight.shape[1], columns))

    for module in network.modules():
        if isinstance(module, PopulationLinear):
            module.register_forward_hook(note)
    network(torch.zeros(1, 3, features))
    assert seen == layer_sizes(settings)


def test_rates_are_positive():
    rate, library = product_rate(CONV, "cpu", PROCESS)
    assert rate > 0
    assert library in ("torch", "scipy's BLAS")
    assert multiplication_rate(PROCESS) > 0


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ({"1": (3, 2), "16": (48, 64), "scipy's BLAS": (9, 4)}, (2, "torch")),
        ({"1": (3, 3), "16": (48, 32), "scipy's BLAS": (9, 4)}, (2, "torch")),  # sixteen in a call take 32
        ({"1": (3, 3), "16": (48, 48), "scipy's BLAS": (9, 1)}, (1, "scipy's BLAS")),
    ],
)
def test_the_limit_is_the_fastest_librarys_best_round(monkeypatch, seconds, found):
    pytest.importorskip("numba")

    def in_turn(ways, *_, **__):
        assert list(ways) == list(seconds)
        return {name: np.array(each, float) for name, each in seconds.items()}

    monkeypatch.setattr(limits, "in_turn", in_turn)
    rate, library = product_rate(CONV, "cpu", PROCESS)
    assert (operations(step_products(CONV)) / rate, library) == (pytest.approx(found[0]), found[1])


def test_without_numba_the_limit_is_torchs(monkeypatch):
    monkeypatch.setattr(limits, "find_spec", lambda name: None)
    assert product_rate(CONV, "cpu", PROCESS)[1] == "torch"


@pytest.mark.parametrize("settings", [ProxySettings(), CONV, TOKENS])
def test_native_products_are_those_of_the_native_trainer(settings):
    native = pytest.importorskip(
        "rlsearch.proxies.trainers.native", reason="numba is not installed", exc_type=ImportError
    )
    from rlsearch.bench.native_products import native_products

    trainer = native.NativeTrainer(settings)
    plan = trainer._plan.layers
    columns = (plan[:, native_plan.POSITIONS], plan[:, [native_plan.TAPS, native_plan.CHANNELS]].prod(axis=1))
    layers = list(zip(*columns, plan[:, native_plan.OUTPUTS], strict=True))
    assert layers == layer_sizes(settings)
    products = native_products(layers, settings.batch_size, learns_inputs=settings is TOKENS)
    assert sum(2 * m * n * k for _, _, m, n, k in products) == operations(step_products(settings))


def test_native_products_are_done_in_turn_and_have_room(monkeypatch):
    pytest.importorskip("numba")
    from rlsearch.bench import native_products

    done = []

    def add_product(sgemm, a_turned, b_turned, m, n, k, a, b, c):
        assert (len(a) >= m * k, len(b) >= k * n, len(c) >= m * n) == (True, True, True)
        done.append((a_turned, b_turned, m, n, k))

    monkeypatch.setattr(native_products, "_multiply", native_products._multiply.py_func)
    monkeypatch.setattr(native_products, "add_product", add_product)
    native_products.multiplying([(2, 4, 8), (1, 8, 10)], 3)()
    assert done == [
        *[(True, False, 8, 3, 4), (False, True, 4, 8, 3)] * 2,
        (True, False, 10, 3, 8), (False, True, 8, 10, 3), (False, False, 8, 3, 10),
    ]  # fmt: skip


def test_a_copy_is_of_as_many_numbers():
    copied = copying(12, "cpu", torch.bfloat16)()
    assert (copied.shape, copied.dtype) == ((12,), torch.bfloat16)
    assert copied.eq(1).all()
