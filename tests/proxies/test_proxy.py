"""How trainings are cut into populations on a GPU; a trainer without one stands in for it."""

import logging

import pytest
import torch
from helpers_proxies import scores as scores_of

from rlsearch import Formula
from rlsearch.kernels import TorchKernel
from rlsearch.proxies import proxy as module
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings

MEMBERS = [Training(Formula.parse("relu(x)"), "p", seed) for seed in range(150)]


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is thought to hold 64 members and holds ``gpu.holds``; a member's score is its seed."""

    class Gpu:
        holds = 64
        made = []  # noqa: RUF012 (of this test alone)
        trained = []  # noqa: RUF012

    class Trainer:
        def __init__(self, settings, kernel, device, size, kind):
            Gpu.made.append(size)
            if size > Gpu.holds:
                raise torch.OutOfMemoryError
            self.size = size

        def train(self, members):
            assert len(members) <= self.size
            Gpu.trained.append((self.size, len(members), members[0].part))
            return [Outcome(float(member.seed)) for member in members]

    Gpu.made, Gpu.trained = [], []
    monkeypatch.setattr(module, "PopulationTrainer", Trainer)
    monkeypatch.setattr(module, "most_members", lambda settings, device: 64)
    return Gpu


def scores(proxy, count, part="validation"):
    return scores_of(proxy, MEMBERS[:count], part)


def test_populations_are_as_large_as_memory_allows_and_no_larger_than_wanted(gpu):
    proxy = Proxy(ProxySettings(), TorchKernel(), "cuda")
    assert scores(proxy, 150, "test") == [float(i) for i in range(150)]
    assert gpu.trained == [(64, 64, "test"), (64, 64, "test"), (32, 22, "test")]
    assert scores(proxy, 3) == [0.0, 1.0, 2.0]
    assert gpu.trained[-1] == (16, 3, "validation")
    assert gpu.made == [64, 32, 16]  # each once: a graph is captured for each


def test_out_of_memory_halves_the_population_and_goes_on(gpu, caplog):
    gpu.holds = 20
    proxy = Proxy(ProxySettings(), TorchKernel(), "cuda:1")
    with caplog.at_level(logging.WARNING):
        assert scores(proxy, 50) == [float(i) for i in range(50)]
    assert gpu.made == [64, 32, 16]
    assert [trained[:2] for trained in gpu.trained] == [(16, 16)] * 3 + [(16, 2)]
    assert [record.args[1] for record in caplog.records] == [64, 32]
    assert "does not hold 64 members" in caplog.text


def test_out_of_memory_of_a_single_member_is_an_error(gpu):
    gpu.holds = 0
    with pytest.raises(torch.OutOfMemoryError):
        scores(Proxy(ProxySettings(), TorchKernel(), "cuda"), 2)
    assert gpu.made == [16, 8, 4, 2, 1]


def test_a_population_named_by_the_config_is_kept(gpu):
    proxy = Proxy(ProxySettings(population=8), TorchKernel(), "cuda")
    scores(proxy, 20)
    assert [trained[:2] for trained in gpu.trained] == [(8, 8), (8, 8), (8, 4)]


def test_sixteen_on_a_cpu(gpu):
    scores(Proxy(ProxySettings(), TorchKernel(), "cpu"), 20)
    assert [trained[:2] for trained in gpu.trained] == [(16, 16), (16, 4)]


def test_rather_several_populations_than_one_that_is_mostly_padding(gpu, monkeypatch):
    monkeypatch.setattr(module, "most_members", lambda settings, device: 2048)
    gpu.holds = 2048
    proxy = Proxy(ProxySettings(), TorchKernel(), "cuda")
    for count, sizes in ((1359, [1024, 256, 128]), (1600, [2048]), (150, [256])):
        gpu.trained.clear()
        members = [MEMBERS[i % 150] for i in range(count)]
        assert len(scores_of(proxy, members)) == count
        assert [size for size, _, _ in gpu.trained] == sizes
