import copy
import importlib

import pytest
import torch
from helpers_own import ALL, EXPLODING, KERNEL, SMOOTH, proxy, settings
from helpers_proxies import outcomes, scores
from torch import nn
from torch.nn import functional

from rlsearch.common.pool import LokyPool
from rlsearch.common.rng import random_numbers_of
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Failure, Training
from rlsearch.proxies.own import trainer as own_trainer
from rlsearch.proxies.own.batching import completed
from rlsearch.proxies.own.factories import SharedActivation, load_own_dataset
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.trainer import OwnTrainer
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.starts import batches

torch.set_num_threads(1)


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
    (failure,) = outcomes(Proxy(s, KERNEL, "cpu"), [Training(SMOOTH[0], "p", 0)])
    assert isinstance(failure, Failure)
    assert failure.message.endswith(":impatient raised ValueError: I am not for use")


def test_diverged_is_none():
    for batched in (True, False):
        found = scores(
            proxy(batched=batched, optimiser="sgd", learning_rate=1e-2),
            [Training(EXPLODING, "p", 0), Training(SMOOTH[0], "p", 0)],
        )
        assert found[0] is None
        assert found[1] is not None


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
