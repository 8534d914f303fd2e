"""Populations of residual networks, beside single ones by torch's own convolutions and batch normalisation."""

import pytest
import torch
from helpers_plain import PlainResNet, plain_steps
from helpers_population import (
    FORMULAS,
    SIZES,
    SMOOTH,
    assert_a_members_bits_do_not_depend_on_its_population,
    assert_a_nan_changes_no_bit_of_the_others,
    assert_same_bits,
    members_of,
    state,
)
from helpers_proxies import scores

from rlsearch import Formula
from rlsearch.bench.proxies import train_eagerly
from rlsearch.common.pool import LokyPool
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel, default_kernel, kernel_named
from rlsearch.proxies.base import Training
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.data.digits import Digits
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.convolution import PopulationConvolution
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.trainers.population import PopulationTrainer

torch.set_num_threads(1)


def settings(**values):
    own = {"dataset": "digits", "network": "resnet", "widths": (8, 12), "normalisation": "batch", "epochs": 2}
    return ProxySettings.check(SIZES | own | {"population": 4} | values)


def proxy(kernel=None, **values):
    return Proxy(settings(**values), kernel or TorchKernel(), "cpu")


def trained_plainly(s, formula, seed):
    """A single network after its training, ready to be scored."""
    start = NETWORKS["resnet"].build(s, [torch.Generator().manual_seed(seed)], None)
    network = PlainResNet(start, 0, formula.to_module())
    for _ in plain_steps(s, network, seed):
        pass
    return network.eval()


def accuracy(network, part):
    return (network(part.inputs).argmax(dim=1) == part.labels).double().mean().item()


VARIANTS = {
    "batch": {},
    "two blocks in a stage": {"widths": (8, 8, 12)},
    "none": {"normalisation": "none"},
    "layer": {"normalisation": "layer"},
    "rms, sgd": {"normalisation": "rms", "optimiser": "sgd"},
    "batch, adamw, cosine": {"optimiser": "adamw", "schedule": "cosine"},
}
ALL = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)


# --- what is trained ---


@ALL
def test_whole_trainings_equal_a_plain_loop(values, trained):
    """All outputs after six steps, of smooth formulas; the running statistics too, by which these are computed."""
    p = proxy(population=8, learning_rate=3e-3, **values)
    part = load_dataset(p.settings).validation
    found = scores(p, [Training(formula, "p", 3) for formula in SMOOTH])
    outputs = trained[0](part.inputs.expand(8, *part.inputs.shape)).detach()
    for k, formula in enumerate(SMOOTH):
        network = trained_plainly(p.settings, formula, 3)
        expected = network(part.inputs).detach()
        torch.testing.assert_close(outputs[k], expected, rtol=5e-3, atol=5e-3)
        for mine, theirs in zip(trained[0].norms, network.norms, strict=True):
            if isinstance(theirs, torch.nn.BatchNorm2d):
                torch.testing.assert_close(mine.mean[k, 0], theirs.running_mean, rtol=1e-3, atol=1e-3)
                torch.testing.assert_close(mine.variance[k, 0], theirs.running_var, rtol=1e-3, atol=1e-3)
        assert found[k] == pytest.approx(accuracy(network, part), abs=1 / 80)
    assert len(set(found)) > 1


def test_whatever_the_kernel():
    """The native trainer leaves it to the population trainer, with numba's kernel too."""
    p = proxy(default_kernel("cpu"), population=8, learning_rate=3e-3)
    assert not p.is_native
    found = scores(p, [Training(formula, "p", 3) for formula in SMOOTH])
    assert type(p._trainers[("x",), 8]) is PopulationTrainer
    part = load_dataset(p.settings).validation
    expected = [accuracy(trained_plainly(p.settings, formula, 3), part) for formula in SMOOTH]
    assert found == pytest.approx(expected, abs=1 / 80)


def test_a_residual_network_learns():
    """Of ten classes; a linear network of this form too, so the activation must show."""
    p = proxy(train_size=1000, validation_size=396, widths=(8, 16), epochs=4, population=4)
    linear, relu = scores(p, [Training(Formula.parse(text), "p", 0) for text in ("x", "relu(x)")])
    assert relu > 0.9
    assert relu > linear + 0.02


def test_the_plain_loop_of_the_bench_trains_it():
    """Its scores are by running statistics too."""
    s = settings(train_size=1000, validation_size=396, widths=(8, 16), epochs=4)
    assert train_eagerly(s, FORMULAS[0], 0, load_dataset(s)) > 0.8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["torch", "triton"])
def test_cuda_trains_like_the_cpu(name):
    """With triton's kernel by a CUDA graph, whose second replay begins with fresh running statistics too."""
    values = {"train_size": 400, "validation_size": 396, "learning_rate": 3e-3}
    on_cuda = Proxy(settings(**values), kernel_named(name, "cuda"), "cuda")
    for formulas in (SMOOTH[:4], SMOOTH[3::-1]):
        members = [Training(formula, "p", 0) for formula in formulas]
        assert scores(on_cuda, members) == pytest.approx(scores(proxy(**values), members), abs=0.05)


# --- members are alone ---


@ALL
@pytest.mark.parametrize("slot", [0, 2])
def test_a_member_that_becomes_nan_changes_no_bit_of_the_others(values, slot, trained):
    assert_a_nan_changes_no_bit_of_the_others(proxy(**values), slot, trained)


@ALL
def test_a_members_bits_do_not_depend_on_its_population(values, trained):
    assert_a_members_bits_do_not_depend_on_its_population(proxy(**values), trained)


def test_members_are_alone_where_a_population_is_one_product(trained, monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(PopulationConvolution, "forward", PopulationConvolution.by_product)
    assert_a_nan_changes_no_bit_of_the_others(proxy(), 1, trained)
    assert_a_members_bits_do_not_depend_on_its_population(proxy(), trained)


def test_both_ways_train_alike(monkeypatch):
    members = [Training(formula, "p", 3) for formula in SMOOTH[:4]]
    by_member = scores(proxy(learning_rate=3e-3), members)
    monkeypatch.setattr(PopulationConvolution, "forward", PopulationConvolution.by_product)
    assert scores(proxy(learning_rate=3e-3), members) == pytest.approx(by_member, abs=1 / 80)


def test_the_same_with_workers():
    members = [Training(f, "p", k) for k, f in enumerate(FORMULAS)]
    assert scores(proxy(), members, pool=LokyPool(2)) == scores(proxy(), members)


# --- running statistics ---


def test_every_population_begins_with_fresh_running_statistics(trained):
    """Populations of one trainer in turn; the first one's statistics must not be seen in the third."""
    p = proxy()
    members, others = members_of(p), members_of(p, 4)
    first = scores(p, members)
    scores(p, others)
    assert scores(p, members) == first
    for k in range(4):
        assert_same_bits(state(trained[0], k), state(trained[2], k))


def test_scores_are_by_running_statistics(trained, monkeypatch):
    """However many examples are scored at once; and by those of a batch scores would be others."""
    from rlsearch.proxies.trainers import population

    members = members_of(p := proxy(epochs=1))
    whole = scores(p, members)
    monkeypatch.setattr(population, "SCORED_ROWS", 4)
    assert scores(proxy(epochs=1), members) == whole
    inputs = load_dataset(p.settings).validation.inputs
    inputs = inputs.expand(4, *inputs.shape)
    network = trained[0]
    assert not network.training
    by_running = network(inputs)
    torch.testing.assert_close(network(inputs[:, 5:9]), by_running[:, 5:9], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(network.train()(inputs), by_running, atol=0.1)


def test_training_goes_on_where_it_was_after_a_score():
    """Of two evaluations the last one is of a training that was scored before, which changes nothing."""
    p = proxy(evaluations=2)
    members = members_of(p)
    last = scores(proxy(), members)
    found = scores(p, members)
    trainer = p._trainers[("x",), 4]
    assert type(trainer) is PopulationTrainer
    assert trainer._scored_after == [5, 6]
    earlier = [2 * mean - end for mean, end in zip(found, last, strict=True)]
    assert all(score == pytest.approx(round(80 * score) / 80) for score in earlier)
    assert all(0 <= score <= 1 for score in earlier)


# --- what is refused ---


@DATASETS.add
class Oblong(Digits):
    """The upper five of eight rows, as an image of its own."""

    name = "oblong digits"
    n_features = 40
    image = (1, 5, 8)

    def examples(self, seed, count):
        inputs, labels = super().examples(seed, count)
        return inputs[:, :40], labels


def test_an_image_of_odd_height_is_halved_upwards():
    s = settings(dataset="oblong digits", widths=(4, 8, 12, 16))
    positions = [layer.positions for layer in NETWORKS["resnet"].layers(s)[:-1]]
    assert positions == [40, 40, 40, 3 * 4, 3 * 4, 2 * 2, 2 * 2, 1, 1]
    (score,) = scores(Proxy(s, TorchKernel(), "cpu"), [Training(SMOOTH[0], "p", 0)])
    expected = accuracy(trained_plainly(s, SMOOTH[0], 0), load_dataset(s).validation)
    assert score == pytest.approx(expected, abs=1 / 80)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "mnist1d"}, r"the resnet network is for images \(.*digits.*\), not for mnist1d"),
        ({"widths": (12, 8)}, r"expected widths that do not fall, got \[12, 8\]"),
        ({"widths": (4, 8, 12, 16, 20)}, "halves the image of 8x8 where widths rise; expected at most 4 .*, got 5"),
        (
            {"network": "mlp"},
            "the mlp network has no batch normalisation; expected one of none, layer, rms, or one of .*: resnet",
        ),
    ],
)
def test_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def test_as_many_stages_as_there_are_halvings():
    """8x8, 4x4, 2x2 and 1x1; blocks of the same width are in one stage."""
    s = settings(widths=(4, 4, 8, 12, 12, 16))
    assert NETWORKS["resnet"].layers(s)[-1].positions_in == 1
