import copy
import importlib
import logging
import re

import pytest
import torch
from helpers_proxies import scores
from torch import nn
from torch.nn import functional

from rlsearch import Formula
from rlsearch.common.pool import LokyPool
from rlsearch.common.rng import random_numbers_of
from rlsearch.errors import ConfigError, RewardError
from rlsearch.kernels import TorchKernel, default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own import batching
from rlsearch.proxies.own import trainer as own_trainer
from rlsearch.proxies.own.batching import completed
from rlsearch.proxies.own.factories import SharedActivation, load_own_dataset
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.trainer import OwnTrainer
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.starts import batches

torch.set_num_threads(1)

SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "gelu(x)", "x + sin(x)", "softplus(x)")]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
KERNEL = default_kernel("cpu")

NETWORKS = {
    "mlp": {"data": "vectors"},
    "odd widths": {"network": "mlp", "data": "vectors", "arguments": {"width": 13}},
    "dropout": {"network": "mlp", "data": "vectors", "arguments": {"dropout": 0.3}},
    "ConvNet": {"data": "images"},
    "Transformer": {"data": "sequences"},
}
ALL = pytest.mark.parametrize("name", NETWORKS)


def settings(name="mlp", examples=256, **values):
    chosen = NETWORKS.get(name, {"data": "sequences"})
    given = {
        "target": f"helpers_networks:{chosen.get('network', name)}",
        "arguments": chosen.get("arguments", {}),
        "data": {"target": f"helpers_networks:{chosen['data']}", "examples": examples},
        "batch_size": 32, "epochs": 2, "population": 8, "batched": True, "learning_rate": 3e-3,
    }  # fmt: skip
    return OwnProxySettings.check(given | values)


def proxy(name="mlp", kernel=KERNEL, **values):
    return Proxy(settings(name, **values), kernel, "cpu")


@pytest.fixture
def trained(monkeypatch):
    """The parameters and buffers of the networks that were trained."""
    states = []
    counted = own_trainer.counted

    def keeping(task, networks, *arguments):
        states.append({name: t.detach().clone() for name, t in {**networks.parameters, **networks.buffers}.items()})
        return counted(task, networks, *arguments)

    monkeypatch.setattr(own_trainer, "counted", keeping)
    return states


def assert_same_bits(a, b, places=..., others=None):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name][places], b[name][places if others is None else others]), name


# --- what is trained ---


def by_hand(s, formula, seed):
    """A plain loop over the network with the formula as a plain module."""
    data = load_own_dataset(s)
    build = getattr(importlib.import_module("helpers_networks"), s.target.partition(":")[2])
    with random_numbers_of(seed, torch.device("cpu")):
        network = build(formula.to_module(), **s.arguments)
    optimiser = torch.optim.Adam(network.parameters(), lr=s.learning_rate)
    for rows in batches(s, seed, len(data.train.labels)):
        logits = network(data.train.inputs[rows])
        loss = functional.cross_entropy(logits.flatten(0, -2), data.train.labels[rows].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    predicted = network(data.validation.inputs).argmax(dim=-1)
    return (predicted == data.validation.labels).double().mean().item()


@pytest.mark.parametrize("name", ["mlp", "ConvNet", "Transformer"])
def test_whole_trainings_equal_a_plain_loop(name):
    """Two epochs of four batches; of 64 or, for the transformer, 64 x 12 predictions a few may flip by rounding."""
    members = [Training(formula, "p", seed) for formula in SMOOTH for seed in (1, 2)]
    expected = [by_hand(settings(name), member.formula, member.seed) for member in members]
    flips = 2.5 / (64 * 12 if name == "Transformer" else 64)
    for batched in (True, False):
        assert scores(proxy(name, batched=batched), members) == pytest.approx(expected, abs=flips)
    assert len(set(expected)) > 2


@ALL
def test_one_step_together_equals_one_step_alone(name):
    trainer = OwnTrainer(settings(name), KERNEL, "cpu", 8)
    assert batching._difference(trainer) == ""
    assert batching._dependence(trainer) == ""


def test_another_computation_is_seen(monkeypatch):
    """A buffer that is replaced, which vmap forgets; then an activation that gives each member its neighbour's."""
    s = settings().model_copy(update={"target": f"{__name__}:Counting"})
    assert re.match("logits 1 of .* differs by", batching._difference(OwnTrainer(s, KERNEL, "cpu", 4)))
    right = own_trainer._AllMembers.vmap
    monkeypatch.setattr(own_trainer._AllMembers, "vmap", lambda *a: (right(*a)[0].roll(1, 0), 0))
    assert "differs by" in batching._difference(OwnTrainer(settings(), KERNEL, "cpu", 8))


def test_a_neighbour_that_is_felt_is_seen(monkeypatch):
    right = own_trainer._AllMembers.vmap
    monkeypatch.setattr(own_trainer._AllMembers, "vmap", lambda *a: ((y := right(*a)[0]) + 0 * y.sum(0), 0))
    trainer = OwnTrainer(settings(), KERNEL, "cpu", 8)
    assert batching._difference(trainer) == ""
    assert "depends on its place in the population or on its neighbours" in batching._dependence(trainer)


class Counting(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 4), activation)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen = self.seen + 1
        return self.layers(x) * self.seen


def test_label_positions_are_averaged():
    """12 letters per sequence, 64 sequences: a score is a share of 768 predictions."""
    (score,) = scores(proxy("Recurrent", batched=False, epochs=1), [Training(SMOOTH[0], "p", 0)])
    assert score * 768 == pytest.approx(round(score * 768))
    assert 0.1 < score < 0.5  # guessing scores 0.125


def test_a_language_model_learns():
    """Each letter is the sum of the two before it, mod 8; guessing scores 0.125. Seen: 0.97."""
    p = proxy("Recurrent", batched=False, examples=1024, epochs=25, learning_rate=1e-2)
    assert scores(p, [Training(SMOOTH[0], "p", 0)])[0] > 0.6


@pytest.mark.parametrize("batched", [True, False])
def test_the_test_part_is_scored_when_asked_for(batched):
    p, members = proxy(batched=batched), [Training(f, "p", 1) for f in SMOOTH]
    assert scores(p, members, "test") != scores(p, members, "validation")


# --- members are alone ---


@ALL
def test_a_member_that_becomes_nan_changes_no_bit_of_the_others(name, trained):
    p = proxy(name)
    members = [Training(SMOOTH[k % 5], "p", 3) for k in range(8)]
    clean = scores(p, members)
    members[2] = Training(EXPLODING, "p", 3)
    found = scores(p, members)
    assert found[2] is None
    assert not all(t[2].isfinite().all() for t in trained[1].values())
    others = [0, 1, 3, 4, 5, 6, 7]
    assert [found[k] for k in others] == [clean[k] for k in others]
    assert_same_bits(trained[0], trained[1], others)


@ALL
def test_a_members_bits_do_not_depend_on_its_population(name, trained):
    """Every place, other neighbours, a population that is filled up."""
    p, member = proxy(name), Training(SMOOTH[1], "p", 11)
    (alone,) = scores(p, [member])
    for place in (0, 3, 7):
        neighbours = [Training(SMOOTH[(k + place) % 5], "p", 11) for k in range(8)]
        found = scores(p, [*neighbours[:place], member, *neighbours[place + 1 :]])
        assert found[place] == alone
        assert_same_bits(trained[-1], trained[0], [place], [0])


@ALL
@pytest.mark.parametrize("batched", [True, False])
def test_the_same_bits_again(name, batched, trained):
    """Whatever the other seeds and the caller's random numbers, which stay."""
    member, others = Training(SMOOTH[0], "p", 5), (Training(SMOOTH[1], "p", 6), Training(SMOOTH[2], "p", 7))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    (first,) = scores(proxy(name, batched=batched), [member])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert scores(proxy(name, batched=batched), [others[0], member, others[1]])[1] == first
    if not batched:
        assert_same_bits(trained[0], trained[2])
    elif name == "dropout":  # one population per seed
        assert_same_bits(trained[0], trained[2], [0], [0])
    else:
        assert_same_bits(trained[0], trained[1], [0], [1])


def test_the_same_with_workers():
    members = [Training(formula, "p", seed) for formula in SMOOTH for seed in (1, 2)]
    for batched in (True, False):
        p = proxy(kernel=TorchKernel(), batched=batched, population=4)
        assert scores(p, members, pool=LokyPool(2)) == scores(p, members)


def test_dropout_draws_from_the_members_seed(trained):
    """Together or alone the same; with it another result than without; nothing in scoring."""
    members = [Training(SMOOTH[0], "p", seed) for seed in (1, 2)]
    together, alone = (scores(proxy("dropout", batched=batched), members) for batched in (True, False))
    assert together == pytest.approx(alone, abs=2.5 / 64)
    scores(proxy(), members[:1])
    assert not torch.equal(trained[0]["0.weight"][0], trained[-1]["0.weight"][0])
    trainer = OwnTrainer(settings("dropout"), KERNEL, "cpu", 8)
    assert trainer._groups([*members, members[0]]) == [[0, 2], [1]]
    assert OwnTrainer(settings(), KERNEL, "cpu", 8)._groups(members) == [[0, 1]]


# --- what can go wrong while training ---


def impatient(activation):
    network = nn.Sequential(nn.Linear(8, 4), activation)

    def refuse(module, inputs):
        if not module.training:
            raise ValueError("I am not for use")

    network.register_forward_pre_hook(refuse)
    return network


@pytest.mark.parametrize("batched", [True, False])
def test_a_network_that_raises(batched):
    s = settings(batched=batched).model_copy(update={"target": f"{__name__}:impatient"})
    with pytest.raises(RewardError, match=r"training .*:impatient raised ValueError: I am not for use"):
        scores(Proxy(s, KERNEL, "cpu"), [Training(SMOOTH[0], "p", 0)])


def test_diverged_is_none():
    for batched in (True, False):
        found = scores(
            proxy(batched=batched, optimiser="sgd", learning_rate=1e-2),
            [Training(EXPLODING, "p", 0), Training(SMOOTH[0], "p", 0)],
        )
        assert found[0] is None
        assert found[1] is not None


# --- together or alone ---


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("times", [(1.0, 2.0), (2.0, 1.0)])
def test_the_faster_way_is_taken_and_kept(times, monkeypatch, empty_cache, caplog):
    caplog.set_level(logging.INFO)
    measured = []
    monkeypatch.setattr(batching, "_seconds", lambda trainer: measured.append(1) or times)
    for seed in (0, 1):
        found = completed(settings(batched="auto", data_seed=seed, learning_rate=0.1 + seed), TorchKernel(), "cpu")
        assert found.batched is (times[0] < times[1])
        assert found.is_complete
    assert len(measured) == 1
    assert "s per member and step together" in caplog.text
    completed(settings(batched="auto", batch_size=16), TorchKernel(), "cpu")
    assert len(measured) == 2


def test_it_is_measured(empty_cache):
    """Sixteen small networks as one save most of the calls: seen 3 to 5 times as fast; here it need only be done."""
    together, alone = batching._seconds(OwnTrainer(settings(), KERNEL, "cpu", 8))
    assert together > 0
    assert alone > 0


def with_torchs_attention(activation):
    """Falls back to a loop over members: there is no rule for this on a CPU."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(8, 8)
            self.activation = activation

        def forward(self, letters):
            x = self.embedding(letters).unsqueeze(1)
            return self.activation(functional.scaled_dot_product_attention(x, x, x)).squeeze(1)

    return Attention()


def activation_of_a_constant(activation):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return activation(self.layer(x)) + activation(torch.ones(4))

    return Network()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("helpers_networks:Recurrent", "sequences", "Batching rule not implemented"),
        (f"{__name__}:with_torchs_attention", "sequences", "There is a performance drop"),
        (f"{__name__}:activation_of_a_constant", "vectors", "NotImplementedError: the activation of something"),
        (f"{__name__}:Counting", "vectors", "differs by"),
    ],
)
def test_what_vmap_cannot_do_is_trained_alone(name, data, reason, empty_cache, caplog):
    caplog.set_level(logging.INFO)
    changes = {"target": name, "batched": "auto", "population": None, "data": {"target": f"helpers_networks:{data}"}}
    s = OwnProxySettings.check(settings().model_dump() | changes)
    found = completed(s, KERNEL, "cpu")
    assert (found.batched, found.population) == (False, 1)
    assert reason in caplog.text
    scored = scores(Proxy(found, KERNEL, "cpu"), [Training(SMOOTH[0], "p", 0), Training(EXPLODING, "p", 0)])
    assert scored[0] is not None


def test_a_population_of_one_is_trained_alone(empty_cache):
    assert completed(settings(batched="auto", population=1), KERNEL, "cpu").batched is False


def test_a_wrong_network_is_found_when_the_proxy_is_made():
    s = settings(batched="auto").model_copy(update={"arguments": {"widht": 3}})
    with pytest.raises(ConfigError, match="'widht'"):
        Proxy(s, KERNEL, "cpu")


# --- the name ---


def test_every_setting_changes_the_name():
    changes = {
        "target": "helpers_networks:ConvNet",
        "arguments": {"width": 12},
        "data": {"target": "helpers_networks:vectors", "examples": 512},
        "data_seed": 1, "optimiser": "sgd", "learning_rate": 0.1, "batch_size": 16, "epochs": 3, "population": 4,
        "batched": False, "source": "another", "weight_decay": 0.1, "learning_rates": (0.1, 0.2), "schedule": "cosine",
        "warmup": 0.1, "evaluations": 2, "loss": "mine:loss", "score": "loss", "ignore_index": -100, "clip_norm": 1.0,
        "precision": "bfloat16",
    }  # fmt: skip
    assert set(changes) == set(OwnProxySettings.model_fields)
    first = settings(source="one", optimiser="adamw")
    names = {Proxy(first, KERNEL, "cpu").name}
    for name, value in changes.items():
        changed = OwnProxySettings.check(first.model_dump() | {name: value})
        names.add(Proxy(changed, KERNEL, "cpu").name)
    assert len(names) == len(changes) + 1
    assert all(name.startswith("helpers_networks:") for name in names)


def test_an_edited_network_is_another_and_the_run_of_the_old_one_does_not_go_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from helpers_networks import mlp\n\ndef build(activation):\n    return mlp(activation, width=8)\n"
    file = tmp_path / "edited_network.py"
    file.write_text(source)
    s = settings().model_copy(update={"target": "edited_network:build"})
    before = Proxy(s, KERNEL, "cpu")
    file.write_text(source.replace("width=8", "width=12"))
    after = Proxy(s, KERNEL, "cpu")
    assert before.name != after.name
    again = Proxy(before.settings, KERNEL, "cpu")  # nothing of the user's is loaded yet
    assert again.name == before.name
    with pytest.raises(ConfigError, match=r"the source of edited_network:build or .* was edited since"):
        scores(again, [Training(SMOOTH[0], "p", 0)])
    with pytest.raises(ConfigError, match="begin a new run"):
        completed(before.settings, KERNEL, "cpu")


def test_copies_of_the_activation_are_the_activation():
    """A factory may copy its layers; what is loaded later must reach all of them."""
    activation = SharedActivation(torch.relu)
    layers = nn.ModuleList(copy.deepcopy(nn.Sequential(nn.Linear(2, 2), activation)) for _ in range(2))
    assert all(layer[1] is activation for layer in layers)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batched", [True, False])
@ALL
def test_cuda_trains_like_the_cpu(name, batched):
    members = [Training(formula, "p", 0) for formula in SMOOTH[:4]]
    on_cuda = scores(Proxy(settings(name, batched=batched), TorchKernel(), "cuda"), members)
    if name != "dropout":
        assert on_cuda == pytest.approx(scores(proxy(name, batched=batched), members), abs=0.1)
    assert None not in on_cuda
