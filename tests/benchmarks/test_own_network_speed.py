"""A user's own network: members together by vmap, one at a time with the kernel's activation, and plain eager.

Processor time per member and training step, measured in turn; batches of 128 (64 sequences of 12 letters).
"""

import statistics
import time

import pytest
import torch
from torch.nn import functional

from rlsearch import Formula
from rlsearch.common.threads import no_denormals, one_thread
from rlsearch.kernels import default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own.factories import SharedActivation, build_network
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.trainer import OwnTrainer

pytestmark = pytest.mark.benchmark

TEXTS = [
    "relu(x)",
    "silu(x)",
    "mish(x)",
    "gelu(x)",
    "x*sigmoid(x) + 0.1*sin(x)",
    "max(x, 0.1*x)",
    "x*atan(x)",
    "x*gauss(x)",
]
FORMULAS = [Formula.parse(text) for text in TEXTS]
CASES = {
    "mlp 8-16-16-4": ("mlp", {}, "vectors", 128),
    "mlp 8-100-100-4": ("mlp", {"width": 100}, "vectors", 128),
    "mlp 8-400-400-4": ("mlp", {"width": 400}, "vectors", 128),
    "conv 8 channels, 8x8": ("ConvNet", {"channels": 8}, "images", 128),
    "conv 16 channels, 8x8": ("ConvNet", {"channels": 16}, "images", 128),
    "transformer, width 16": ("Transformer", {"width": 16}, "sequences", 64),
    "transformer, width 32": ("Transformer", {"width": 32, "heads": 4}, "sequences", 64),
}
ROUNDS = 9


def timed(what, members):
    started = time.process_time()
    what()
    return 1e6 * (time.process_time() - started) / members


def ratios(a, b):
    """Median, least and most of the ratios of pairs."""
    all_of_them = sorted(x / y for x, y in zip(a, b, strict=True))
    return f"{statistics.median(all_of_them):.2f} ({all_of_them[0]:.2f}-{all_of_them[-1]:.2f})"


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("name", CASES)
def test_time_per_member_and_step(name, size):
    network, arguments, data, batch = CASES[name]
    settings = OwnProxySettings(
        target=f"helpers_networks:{network}", arguments=arguments, batch_size=batch, population=size, batched=True,
        data={"target": f"helpers_networks:{data}", "examples": 512}, learning_rate=1e-3,
    )  # fmt: skip
    trainer = OwnTrainer(settings, default_kernel("cpu"), "cpu", size)
    members = [Training(FORMULAS[k % len(FORMULAS)], "p", 0) for k in range(size)]
    rows = trainer.orders(members)[0]
    networks = [trainer.together(members), *(trainer.alone(member) for member in members)]
    optimisers = [trainer.optimiser(one) for one in networks]
    plain = [build_network(settings, 0, SharedActivation(member.formula.to_module())) for member in members]
    plain_optimisers = [torch.optim.Adam(one.parameters(), lr=1e-3, fused=True) for one in plain]

    def together():
        trainer.step(networks[0], optimisers[0], rows)

    def alone():
        for one, optimiser in zip(networks[1:], optimisers[1:], strict=True):
            trainer.step(one, optimiser, rows[:1])

    def eager():
        for one, optimiser in zip(plain, plain_optimisers, strict=True):
            inputs, labels = trainer.inputs(rows[0]), trainer._data.train.labels[rows[0]]
            functional.cross_entropy(one(inputs).flatten(0, -2), labels.flatten()).backward()
            optimiser.step()
            optimiser.zero_grad()

    with one_thread(), no_denormals():
        times = [[timed(way, size) for way in (together, alone, eager)] for _ in range(ROUNDS)][2:]
    a, b, c = zip(*times, strict=True)
    medians = " / ".join(f"{statistics.median(way):.0f}" for way in (a, b, c))
    print(f"\n{name}, K {size}: {medians} us together / alone / eager; eager to together {ratios(c, a)}, ", end="")
    print(f"eager to alone {ratios(c, b)}, alone to together {ratios(b, a)}")
    assert torch.isfinite(trainer.backward(networks[0], rows)).all()
