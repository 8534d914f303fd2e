"""Formulas with trained parameters in the population trainer."""

import pytest
import torch
from helpers_population import assert_same_bits, proxy, settings
from helpers_proxies import scores, trained_scores
from torch import nn
from torch.nn import functional

from rlsearch import Formula
from rlsearch.kernels import TorchKernel
from rlsearch.kernels.choice import default_kernel
from rlsearch.proxies.base import Training, kind_of, letters_of
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.trained import TrainedParameters
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.trainers import population

torch.set_num_threads(1)

TEXTS = ["prelu(x)", "swish_beta(x)", "gelu(x) + a@0.1 * sin(b@1 * x)", "xielu_trained(x)", "x * a@0.5 + sin(b * x)"]
FORMULAS = [Formula.parse(text) for text in TEXTS]
PRELU = FORMULAS[0]
EXPLODING = Formula.parse("exp(exp(exp(exp(a * x))))")
SHARING = pytest.mark.parametrize("sharing", ["layer", "network", "channel"])
NETWORKS_OF_ALL_KINDS = pytest.mark.parametrize(
    "values",
    [
        {},
        {"network": "conv1d", "widths": (8, 4)},
        {"optimiser": "adamw", "weight_decay": 0.3},
        {"optimiser": "sgd", "clip_norm": 0.5},
        {"dataset": "digits", "network": "resnet", "widths": (4, 8), "normalisation": "batch"},
        {"dataset": "text_sequences", "network": "transformer", "widths": (16, 16)},
    ],
    ids=lambda values: " ".join(f"{k}={v}" for k, v in values.items()) or "mlp",
)


def by_hand(s, seed, sharing, steps):
    """A network of torch's own layers with torch's PReLU, whose weight does not decay, and its logits."""
    data = load_dataset(s)
    start = NETWORKS["mlp"].build(s, [torch.Generator().manual_seed(seed)], None)
    widths = [*s.widths]
    prelus = [nn.PReLU(width if sharing == "channel" else 1) for width in widths]
    if sharing == "network":
        prelus = [prelus[0]] * len(widths)
    layers = []
    for layer, activation in zip((*start.layers, start.head), [*prelus, None], strict=True):
        _, n_in, n_out = layer.weight.shape
        linear = nn.Linear(n_in, min(n_out, 10) if layer is start.head else n_out)
        linear.weight.data = layer.weight[0].T[: linear.out_features].clone()
        linear.bias.data = layer.bias[0, 0, : linear.out_features].clone()
        layers += [linear, *([activation] if activation else [])]
    network = nn.Sequential(*layers)
    own = {id(parameter) for each in prelus for parameter in each.parameters()}
    weights = [parameter for parameter in network.parameters() if id(parameter) not in own]
    learned = list({id(p): p for each in prelus for p in each.parameters()}.values())
    groups = [{"params": weights, "weight_decay": s.decay}, {"params": learned, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=s.learning_rate)
    order = torch.Generator().manual_seed(seed ^ 0x5EED)
    rows = torch.randperm(s.sizes[0], generator=order)
    for batch in rows.split(s.batch_size)[:steps]:
        loss = functional.cross_entropy(network(data.train.inputs[batch]), data.train.labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network(data.validation.inputs).detach(), [each.weight.detach().mean().item() for each in prelus]


@SHARING
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_steps_equal_those_of_torchs_prelu(sharing, steps, trained):
    """Logits and learned numbers after each of the first steps, with AdamW, which decays the weights alone."""
    s = settings(
        train_size=32 * steps, epochs=1, optimiser="adamw", weight_decay=0.5, parameters=sharing, learning_rate=0.02
    )
    found = Proxy(s, TorchKernel(), "cpu").train([Training(PRELU, "p", seed) for seed in range(3)])
    inputs = load_dataset(s).validation.inputs
    logits = trained[0](inputs.expand(4, *inputs.shape)).detach()
    for seed, outcome in enumerate(found):
        expected, learned = by_hand(s, seed, sharing, steps)
        torch.testing.assert_close(logits[seed], expected, rtol=1e-4, atol=1e-5)
        assert outcome.parameters.keys() == {"a"}
        assert outcome.parameters["a"] == pytest.approx(learned[:1] if sharing == "network" else learned, abs=1e-5)
        assert max(abs(number - 0.25) for number in outcome.parameters["a"]) > 1e-3


@NETWORKS_OF_ALL_KINDS
def test_every_network_trains_them(values):
    p = proxy(**values)
    found = p.train([Training(formula, "p", 1) for formula in FORMULAS[:4]])
    for formula, outcome in zip(FORMULAS, found, strict=False):
        assert outcome.parameters.keys() == formula.parameters.keys()
        for letter, numbers in outcome.parameters.items():
            assert len(set(numbers)) == len(numbers) > 0
            assert formula.parameters[letter] not in numbers
    # The same again, in a population of its own kind.
    assert p.train([Training(formula, "p", 1) for formula in FORMULAS[:4]]) == found


@NETWORKS_OF_ALL_KINDS
@pytest.mark.parametrize("slot", [0, 2])
def test_a_nan_changes_no_bit_of_the_others(values, slot):
    p = proxy(**values)
    members = [Training(FORMULAS[k], "p", k) for k in range(4)]
    clean = p.train(members)
    members[slot] = Training(EXPLODING, "p", slot)
    found = p.train(members)
    assert found[slot] is None
    assert [found[k] for k in range(4) if k != slot] == [clean[k] for k in range(4) if k != slot]


@SHARING
@pytest.mark.parametrize("widths", [(12, 8), (20,), (4, 8, 12)])
def test_a_members_bits_do_not_depend_on_its_population(sharing, widths, trained):
    p = proxy(parameters=sharing, widths=widths)
    member = Training(FORMULAS[2], "p", 11)
    (alone,) = p.train([member])
    expected = trained[-1].trained.values[0].detach().clone()
    for slot in range(4):
        others = [Training(FORMULAS[k], "p", k) for k in range(4)]
        found = p.train([*others[:slot], member, *others[slot + 1 :]])
        assert found[slot] == alone
        assert_same_bits([trained[-1].trained.values[slot].detach()], [expected])


@pytest.mark.parametrize("kernel", [TorchKernel(), default_kernel("cpu")], ids=lambda kernel: kernel.name)
def test_both_kinds_in_one_call(kernel):
    """Those without parameters are trained as if there were no others."""
    s = settings(train_size=96)
    plain = [Training(Formula.parse(text), "p", 0) for text in ("relu(x)", "silu(x)", "tanh(x)")]
    alone = scores(Proxy(s, kernel, "cpu"), plain)
    p = Proxy(s, kernel, "cpu")
    of_parameters = [Training(formula, p.name, 0) for formula in FORMULAS]
    cuts = p.populations([plain[0], *of_parameters, *plain[1:]])
    assert [[training.formula for training in cut] for cut in cuts] == [
        [training.formula for training in plain],
        FORMULAS[:4],
        FORMULAS[4:],
    ]
    assert scores(p, plain) == alone
    assert None not in [*scores(p, of_parameters), *scores(p, plain)]
    assert {kind: type(trainer).__name__ for (kind, _), trainer in p._trainers.items()} == {
        ("x",): "NativeTrainer" if kernel.name == "numba" else "PopulationTrainer",
        ("x", "a", "b"): "PopulationTrainer",
    }


def test_a_formula_with_numbers_put_in_is_what_a_frozen_parameter_is(monkeypatch):
    """Without a step of their own, parameters change nothing."""
    long = {"epochs": 12, "learning_rate": 0.03}
    free = trained_scores(proxy(**long), [Training(formula, "p", 3) for formula in FORMULAS[:4]])
    monkeypatch.setattr(population, "make_optimiser", without_the_last_group(population.make_optimiser))
    frozen = trained_scores(proxy(**long), [Training(formula, "p", 3) for formula in FORMULAS[:4]])
    put_in = trained_scores(proxy(**long), [Training(formula.with_values(), "p", 3) for formula in FORMULAS[:4]])
    assert frozen == pytest.approx(put_in, abs=2.5 / 80)
    assert free != frozen


def without_the_last_group(make):
    return lambda settings, weights, device, rate, trained=(): make(settings, weights, device, rate)


@pytest.mark.parametrize(
    ("text", "gated", "kind"),
    [
        ("silu(x)", False, "x"),
        ("prelu(x)", False, "xab"),
        ("swish_beta(x)", False, "xab"),
        ("x * c", False, "xabcd"),
        ("x * g * a", True, "xgab"),
        ("x * g", True, "xg"),
    ],
)
def test_kinds(text, gated, kind):
    found = kind_of(Formula.parse(text), gated=gated)
    assert found == tuple(kind)
    assert letters_of(found) == tuple(letter for letter in kind if letter in "abcd")


def test_where_the_numbers_of_each_place_lie():
    x = torch.zeros(2, 5, 8)
    for sharing, shapes in (
        ("layer", [(2, 1, 1), (2, 1, 1)]),
        ("network", [(2, 1, 1), (2, 1, 1)]),
        ("channel", [(2, 1, 8), (2, 1, 4)]),
    ):
        parameters = TrainedParameters(2, "ab", (8, 4), sharing, torch.device("cpu"))
        assert parameters.values.shape == (2, 2, 12 if sharing == "channel" else 4)
        parameters.load([FORMULAS[2], PRELU])
        for place, shape in enumerate(shapes):
            a, b = parameters.at(place, x)
            assert a.shape == b.shape == shape
            assert a.flatten(1).unique(dim=1).flatten().tolist() == pytest.approx([0.1, 0.25])
            assert b.flatten(1).unique(dim=1).flatten().tolist() == [1.0, 1.0]
    assert parameters.at(0, torch.zeros(2, 5, 3, 3, 8))[0].shape == (2, 1, 1, 1, 8)
    assert parameters.learned([FORMULAS[2], PRELU])[1] == {"a": (0.25, 0.25)}


def test_the_name_of_a_proxy_says_who_shares_what():
    names = {proxy(parameters=sharing).name for sharing in ("layer", "network", "channel")}
    assert len(names) == 3
    assert proxy(parameters="layer").name == proxy().name
