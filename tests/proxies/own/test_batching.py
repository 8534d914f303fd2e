"""Whether members are trained together or one by one: what decides, and what is said of it."""

import logging
import re

import pytest
import torch
from helpers_own import ALL, EXPLODING, KERNEL, SMOOTH, settings
from helpers_proxies import scores
from torch import nn
from torch.nn import functional

from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own import batching
from rlsearch.proxies.own import trainer as own_trainer
from rlsearch.proxies.own.batching import completed, way_of
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.trainer import OwnTrainer
from rlsearch.proxies.proxy import Proxy

torch.set_num_threads(1)


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
        ("helpers_networks:Recurrent", "sequences", "vmap has no rule for aten::gru.input"),
        (f"{__name__}:with_torchs_attention", "sequences", "vmap has no rule for aten::_scaled_dot_product"),
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
    assert way_of(found, KERNEL, "cpu").startswith("one by one: ")
    assert reason in way_of(found, KERNEL, "cpu")
    scored = scores(Proxy(found, KERNEL, "cpu"), [Training(SMOOTH[0], "p", 0), Training(EXPLODING, "p", 0)])
    assert scored[0] is not None


def test_what_the_config_decides_has_no_other_reason(empty_cache):
    for batched, way in ((True, "together"), (False, "one by one")):
        assert (
            way_of(completed(settings(batched=batched), KERNEL, "cpu"), KERNEL, "cpu") == f"{way}, as the config says"
        )


def test_the_reason_is_that_of_the_choice(empty_cache, monkeypatch):
    """A population that the config names, and the device's."""
    for population in (8, None):
        monkeypatch.setattr(batching, "_seconds", lambda trainer: (1.0, 2.0))
        found = completed(settings(batched="auto", population=population), KERNEL, "cpu")
        expected = "1.00e+00 s per member and step together, 2.00e+00 s alone"
        assert way_of(found, KERNEL, "cpu") == f"together: {expected}"
        # The other way by hand.
        alone = found.model_copy(update={"batched": False})
        assert way_of(alone, KERNEL, "cpu") == "one by one, as the config says"


def test_a_population_of_one_is_trained_alone(empty_cache):
    assert completed(settings(batched="auto", population=1), KERNEL, "cpu").batched is False


def test_a_wrong_network_is_found_when_the_proxy_is_made():
    s = settings(batched="auto").model_copy(update={"arguments": {"widht": 3}})
    with pytest.raises(ConfigError, match="'widht'"):
        Proxy(s, KERNEL, "cpu")
