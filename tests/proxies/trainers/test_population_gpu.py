"""Populations on a GPU, which all but the first test only pretend."""

import contextlib
from dataclasses import replace

import pytest
import torch
from helpers_population import FORMULAS, SMOOTH, proxy, settings
from helpers_proxies import scores, trained_scores

from rlsearch.kernels import TorchKernel, kernel_named
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.trainers import population
from rlsearch.proxies.trainers.population import PopulationTrainer

torch.set_num_threads(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["torch", "triton"])
def test_cuda_trains_like_the_cpu(name):
    """With triton's kernel training is a CUDA graph, which a second population replays with its own formulas."""
    kernel, values = kernel_named(name, "cuda"), {"validation_size": 1000, "train_size": 400, "epochs": 2}
    on_cuda = Proxy(settings(**values), kernel, "cuda")
    for formulas in (SMOOTH[:4], SMOOTH[3::-1]):
        members = [Training(formula, "p", 0) for formula in formulas]
        assert scores(on_cuda, members) == pytest.approx(scores(proxy(**values), members), abs=0.05)


def test_memory_decides_how_many_members_a_gpu_trains(monkeypatch):
    found = []
    for gib in (0.1, 8, 16, 140):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, gib=gib: (int(gib * 2**30), 2**40))
        found.append([population.most_members(ProxySettings(**values), "cuda") for values in ({}, {"epochs": 500})])
    assert all(members & (members - 1) == 0 for row in found for members in row)  # powers of two
    assert found[0] == [16, 16]
    assert found[-1][0] == 2048
    assert [row[0] for row in found] == sorted(row[0] for row in found)
    assert all(short >= long for short, long in found)
    assert found[1][0] > 16


def test_memory_is_counted_layer_by_layer(monkeypatch):
    """By hand, of the 8x8 digits: 64 positions of 9, 72 and 72 numbers, then 16 positions of 72 and 108."""
    s = ProxySettings(dataset="digits", network="resnet", widths=(8, 12), normalisation="batch")
    numbers = 8 * 400 * (64 * (9 + 72 + 72) + 16 * (72 + 108))
    rows = 8 * (5 * 7) * 128  # of all batches, int64
    for members in (64, 128):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, n=members: (2 * n * (4 * numbers + rows), 0))
        assert population.most_members(s, "cuda") == members


@pytest.mark.parametrize("programs_are_data", [True, False])
def test_a_graph_is_captured_only_where_programs_are_data(programs_are_data, monkeypatch):
    """Else it would repeat the first population's formulas for ever. A GPU is only pretended here."""
    kernel = TorchKernel()
    kernel.programs_are_data = programs_are_data
    trainer = PopulationTrainer(settings(), kernel, "cpu", 4)
    captured = []
    monkeypatch.setattr(trainer, "_device", torch.device("cuda"))
    monkeypatch.setattr(population, "current_device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(trainer, "_captured", lambda work, warm_up: captured.append(1) or work)
    monkeypatch.setattr(trainer, "_load_start", lambda seeds: trainer._at.zero_())
    for part in ("validation", "validation", "test"):
        trainer.train([Training(f, "p", 0, part) for f in FORMULAS[:4]])
    assert len(captured) == 3 * programs_are_data  # some steps, and scoring on either part


def test_capture_warms_up_beside_the_default_stream(monkeypatch):
    """The order of events on a GPU, which is only pretended here."""
    events = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            events.append(f"{self.name} waits for {other.name}")

    class Graph:
        def replay(self):
            events.append("replay")

    @contextlib.contextmanager
    def within(name):
        events.append(f"begin {name}")
        yield
        events.append(f"end {name}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("default"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: within(stream.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: within(f"capture on {stream.name}"))
    trainer = PopulationTrainer(settings(), TorchKernel(), "cpu", 4)
    replay = trainer._captured(lambda: events.append("work") or "results", lambda: events.append("warm-up"))
    assert events == [
        "side waits for default", "begin side", "warm-up", "end side", "default waits for side",
        "begin capture on side", "work", "end capture on side",
    ]  # fmt: skip
    events.clear()
    assert replay() == "results"
    assert events == ["replay"]


def test_what_capture_does_is_undone(monkeypatch):
    """Capture trains for some steps; members of the first population and of later ones begin anew all the same."""
    trainer, warm_ups = PopulationTrainer(settings(), TorchKernel(), "cpu", 4), []

    def ready(name, work, warm_up=None):
        if name not in warm_ups:
            warm_ups.append(name)
            (warm_up or work)()
        return work

    monkeypatch.setattr(trainer, "_ready", ready)
    members = [Training(formula, "p", seed) for formula in FORMULAS[:2] for seed in (0, 1)]
    for part in ("validation", "test", "validation"):
        found = trained_scores(trainer, [replace(member, part=part) for member in members])
        assert found == scores(proxy(population=4), members, part)
    assert warm_ups == ["stretch", "validation", "test"]
