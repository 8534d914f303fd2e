import pytest
import torch

from rlsearch.bench.limits import (
    copying,
    layer_sizes,
    multiplication_rate,
    operations,
    operations_per_candidate,
    product_rate,
    step_products,
)
from rlsearch.bench.timing import PROCESS
from rlsearch.proxies.data import N_CLASSES
from rlsearch.proxies.networks import NETWORKS, PopulationLinear
from rlsearch.proxies.settings import ProxySettings

CONV = ProxySettings(network="conv1d", widths=(16, 8))


def test_operations_of_a_product():
    assert operations([(2, 3, 5)]) == 2 * 2 * 3 * 5
    assert operations([(2, 3, 5), (1, 1, 1)]) == 62


def test_products_of_a_step_by_hand():
    assert step_products(ProxySettings(widths=(8,), batch_size=4), 40) == [
        (4, 40, 8), (40, 4, 8),  # the first layer: its inputs' gradient is not needed
        (4, 8, 10), (8, 4, 10), (4, 10, 8),
    ]  # fmt: skip


def test_operations_of_a_training_by_hand():
    settings = ProxySettings(widths=(8,), batch_size=4, train_size=12, validation_size=20, test_size=4, epochs=5)
    step = 2 * 4 * (2 * 40 * 8 + 3 * 8 * 10)
    assert operations_per_candidate(settings, 40) == 5 * 3 * step + 2 * 20 * (40 * 8 + 8 * 10)


@pytest.mark.parametrize("settings", [ProxySettings(), ProxySettings(dataset="digits", widths=(12,)), CONV])
def test_layers_are_those_of_the_network(settings):
    """The rows that each layer gets, and its weights but for the padding of the classes."""
    features = 64 if settings.dataset == "digits" else 40
    network = NETWORKS[settings.network](settings, features, [torch.Generator().manual_seed(0)], torch.relu)
    seen = []

    def note(layer, inputs, output):
        columns = output.shape[2] if layer is not network.head else N_CLASSES
        seen.append((inputs[0].shape[1] / 3, layer.weight.shape[1], columns))

    for module in network.modules():
        if isinstance(module, PopulationLinear):
            module.register_forward_hook(note)
    network(torch.zeros(1, 3, features))
    assert seen == layer_sizes(settings, features)


def test_rates_are_positive():
    assert product_rate(step_products(CONV, 40), "cpu", PROCESS) > 0
    assert multiplication_rate(PROCESS) > 0


def test_a_copy_is_of_as_many_numbers():
    copied = copying(12, "cpu", torch.bfloat16)()
    assert (copied.shape, copied.dtype) == ((12,), torch.bfloat16)
    assert copied.eq(1).all()
