import pytest
import torch
from helpers_population import (
    EXPLODING,
    FORMULAS,
    SMOOTH,
    assert_a_members_bits_do_not_depend_on_its_population,
    assert_a_nan_changes_no_bit_of_the_others,
    assert_same_bits,
    proxy,
    settings,
    state,
)
from helpers_proxies import scores
from torch import nn
from torch.nn import functional

from rlsearch import Formula
from rlsearch.common.pool import LokyPool
from rlsearch.errors import FormulaError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.starts import batches
from rlsearch.proxies.tasks import CLASSIFICATION
from rlsearch.proxies.trainers import population

torch.set_num_threads(1)

SHAPES = pytest.mark.parametrize(
    "values",
    [
        {},
        {"normalisation": "layer"},
        {"optimiser": "sgd"},
        {"network": "conv1d"},
        {"network": "conv1d", "normalisation": "layer"},
        {"widths": (20,), "population": 12},
        {"network": "conv1d", "widths": (4, 4)},
        {"dataset": "digits", "widths": (36, 12)},  # with 5 members the last one's biases had other bits
        {"widths": (100, 100), "batch_size": 96, "epochs": 1, "population": 16},  # as the quickstart's
    ],
    ids=lambda values: " ".join(f"{k}={v}" for k, v in values.items()) or "mlp",
)


# --- what is trained ---


def by_hand(s, formula, seed, steps=None):
    """One network of torch's own layers, trained by a plain loop from the same weights on the same batches."""
    data = load_dataset(s)
    start = NETWORKS["mlp"].build(s, [torch.Generator().manual_seed(seed)], None)
    layers = []
    for layer in (*start.layers, start.head):
        _, n_in, n_out = layer.weight.shape
        linear = nn.Linear(n_in, min(n_out, 10) if layer is start.head else n_out)
        linear.weight.data = layer.weight[0].T[: linear.out_features].clone()
        linear.bias.data = layer.bias[0, 0, : linear.out_features].clone()
        layers += [linear, formula.to_module()]
    network = nn.Sequential(*layers[:-1])
    if s.optimiser == "adam":
        optimiser = torch.optim.Adam(network.parameters(), lr=s.learning_rate)
    else:
        optimiser = torch.optim.SGD(network.parameters(), lr=s.learning_rate, momentum=0.9)
    order = torch.Generator().manual_seed(seed ^ 0x5EED)
    for _ in range(s.epochs):
        rows = torch.randperm(s.sizes[0], generator=order)
        for batch in rows.split(s.batch_size):
            if len(batch) == s.batch_size:
                loss = functional.cross_entropy(network(data.train.inputs[batch]), data.train.labels[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    logits = network(data.validation.inputs).detach()
    return logits, (logits.argmax(dim=1) == data.validation.labels).double().mean().item()


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_one_step_equals_a_plain_loop(optimiser, trained):
    """The logits after a step; later ones drift apart by rounding (reference/performance.md, section 2)."""
    s = settings(train_size=32, epochs=1, widths=(24, 16), population=8, optimiser=optimiser)
    scores(Proxy(s, TorchKernel(), "cpu"), [Training(f, "p", k) for k, f in enumerate(FORMULAS)])
    inputs = load_dataset(s).validation.inputs
    logits = trained[0](inputs.expand(8, *inputs.shape)).detach()
    for k, formula in enumerate(FORMULAS):
        expected, _ = by_hand(s, formula, k)
        torch.testing.assert_close(logits[k], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_whole_trainings_equal_a_plain_loop(optimiser):
    """Accuracy on 400 points, of smooth formulas, which are not chaotic: a prediction or two may flip by rounding.

    4 epochs of 6 batches; 16 of the 400 examples do not fill a batch and are left out of each epoch.
    """
    s = settings(train_size=400, batch_size=64, validation_size=400, epochs=4, population=8, optimiser=optimiser)
    found = scores(Proxy(s, TorchKernel(), "cpu"), [Training(formula, "p", 3) for formula in SMOOTH])
    expected = [by_hand(s, formula, 3)[1] for formula in SMOOTH]
    assert found == pytest.approx(expected, abs=2.5 / 400)
    assert len(set(found)) > 1


def test_a_proxy_learns():
    """10 classes: guessing scores 0.1. Seen on 1000 examples: linear 0.29, ReLU 0.39, x*x 0.46."""
    p = proxy(train_size=1000, validation_size=1000, widths=(40,), epochs=8, population=4)
    linear, relu, square = scores(p, [Training(Formula.parse(text), "p", 0) for text in ("x", "relu(x)", "x*x")])
    assert 0.2 < linear < relu - 0.05 < square - 0.05


def test_conv1d_learns():
    p = proxy(network="conv1d", train_size=1000, validation_size=1000, widths=(12, 12, 12), epochs=5, population=1)
    assert scores(p, [Training(FORMULAS[0], "p", 0)])[0] > 0.3  # guessing scores 0.1


def test_scores_are_shares_of_the_part():
    for score in scores(proxy(), [Training(f, "p", 0) for f in FORMULAS]):
        assert 0 <= score <= 1
        assert score == round(score * 80) / 80


def test_more_points_than_are_scored_at_once(monkeypatch):
    members = [Training(f, "p", 0) for f in FORMULAS[:4]]
    whole = scores(proxy(), members)
    monkeypatch.setattr(population, "SCORED_ROWS", 32)  # 80 points in three pieces
    assert scores(proxy(), members) == whole


# --- members are alone ---


@SHAPES
@pytest.mark.parametrize("slot", [0, 2])
def test_a_member_that_becomes_nan_changes_no_bit_of_the_others(values, slot, trained):
    assert_a_nan_changes_no_bit_of_the_others(proxy(**values), slot, trained)


@SHAPES
def test_a_members_bits_do_not_depend_on_its_population(values, trained):
    assert_a_members_bits_do_not_depend_on_its_population(proxy(**values), trained)


def test_members_of_different_seeds_in_one_population():
    p = proxy()
    together = scores(p, [Training(FORMULAS[1], "p", seed) for seed in (5, 6, 7, 5)])
    apart = [scores(p, [Training(FORMULAS[1], "p", seed)])[0] for seed in (5, 6, 7)]
    assert together == [*apart, apart[0]]
    assert len(set(apart)) > 1


def test_a_seed_decides_weights_and_order(trained):
    p = proxy(epochs=1)
    scores(
        p,
        [
            Training(FORMULAS[1], "p", 5),
            Training(FORMULAS[1], "p", 5),
            Training(FORMULAS[1], "p", 6),
            Training(FORMULAS[2], "p", 5),
        ],
    )
    a, b, c, d = (state(trained[0], k) for k in range(4))
    assert_same_bits(a, b)
    assert all(not torch.equal(p, q) for p, q in zip(a, c, strict=True))
    assert all(not torch.equal(p, q) for p, q in zip(a, d, strict=True))
    order = batches(p.settings, 5, 96)
    assert order.shape == (3, 32)
    assert sorted(order.flatten().tolist()) == list(range(96))
    assert not torch.equal(order, batches(p.settings, 6, 96))


@pytest.mark.parametrize("values", [{}, {"network": "conv1d"}], ids=["mlp", "conv1d"])
def test_the_same_bits_again(values, trained):
    """By the same proxy, by another object, and whatever the global random numbers and threads are."""
    members = [Training(f, "p", k) for k, f in enumerate(FORMULAS[:4])]
    first = scores(p := proxy(**values), members)
    torch.manual_seed(1234)
    assert scores(p, members) == first
    torch.set_num_threads(2)
    try:
        assert scores(proxy(**values), members) == first
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for k in range(4):
        for other in trained[1:]:
            assert_same_bits(state(trained[0], k), state(other, k))


def test_the_same_with_workers():
    members = [Training(f, "p", k) for k, f in enumerate(FORMULAS)]
    assert scores(proxy(), members, pool=LokyPool(2)) == scores(proxy(), members)


# --- how a training can end ---


def test_diverged_is_none():
    p = proxy(optimiser="sgd", learning_rate=1e6)
    assert scores(p, [Training(Formula.parse("x * x * x"), "p", 0), Training(EXPLODING, "p", 0)]) == [None, None]


def test_diverged_in_one_validation_point_only():
    """Finite on all but one: exp(exp(10)) overflows a float32, exp(exp(1)) does not."""
    part = Part(torch.tensor([[1.0], [10.0], [1.0], [1.0]]), torch.tensor([0, 0, 0, 0]))
    activation = TorchKernel().population([Formula.parse("exp(exp(x))"), Formula.parse("x")])
    network = lambda x: torch.cat([activation(x), torch.zeros_like(x)], dim=-1)  # noqa: E731
    counts = population.counted(CLASSIFICATION, network, part, 2)
    assert population.outcomes(settings(), [[counts]], part) == [None, Outcome(1.0)]


def test_denormals_are_flushed_in_training_only(monkeypatch):
    tiny, seen = torch.tensor([1e-40]), []
    outcomes = population.outcomes
    monkeypatch.setattr(population, "outcomes", lambda *a: seen.append((tiny * 1).item()) or outcomes(*a))
    scores(proxy(), [Training(FORMULAS[0], "p", 0)])
    assert seen == [0.0]
    assert (tiny * 1).item() > 0
    monkeypatch.setattr(population, "outcomes", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scores(proxy(), [Training(FORMULAS[0], "p", 0)])
    assert (tiny * 1).item() > 0


# --- parts ---


class Forbidden:
    def __getattr__(self, name):
        raise AssertionError("a search must not look at the test part")


def test_the_test_part_is_used_only_when_asked_for():
    p, members = proxy(), [Training(f, "p", 0) for f in FORMULAS[:4]]
    data = load_dataset(p.settings)
    expected = scores(p, members)
    p._trainers[("x",), 4]._data = Parts(data.train, data.validation, Forbidden())
    assert scores(p, members) == expected
    with pytest.raises(AssertionError, match="must not look"):
        scores(p, members, "test")
    p._trainers[("x",), 4]._data = Parts(data.train, Forbidden(), data.validation)
    assert scores(p, members, "test") == expected


def test_the_test_part_is_scored_when_asked_for(trained):
    p = proxy(population=1)
    (found,) = scores(p, [Training(FORMULAS[1], "p", 0)], "test")
    part = load_dataset(p.settings).test
    right = (trained[0](part.inputs[None])[0].argmax(dim=1) == part.labels).sum().item()
    assert found == pytest.approx(right / 40)


# --- formulas of later populations ---


class Narrow(TorchKernel):
    """Its activations take no formulas longer than those that they were made with."""

    def population(self, formulas, inputs=("x",)):
        activation = super().population(formulas, inputs)
        room, load = max(formula.size for formula in formulas), activation.load

        def narrow(others):
            if max(formula.size for formula in others) > room:
                raise FormulaError("too long")
            load(others)

        activation.load = narrow
        self.made = [*getattr(self, "made", ()), room]
        return activation


def test_formulas_for_which_an_activation_has_no_room_get_a_new_one():
    kernel, members = Narrow(), [Training(f, "p", 0) for f in FORMULAS[:4]]
    p = Proxy(settings(), kernel, "cpu")
    assert scores(p, members) == scores(proxy(), members)
    assert scores(p, members[::-1]) == scores(proxy(), members)[::-1]
    assert kernel.made == [2, max(f.size for f in FORMULAS[:4])]
