"""What every trainer begins with, the same for all: initial weights, the order of the examples, learning rates."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.layers import Population
from rlsearch.proxies.settings import ProxySettings, TrainingSettings

_ORDER_STREAM = 0x5EED
"""Makes of a seed that of the order of the examples."""


def initial_networks(
    settings: ProxySettings, seeds: Sequence[int], activation: Callable[..., Tensor], inputs: Sequence[str] = ("x",)
) -> Population:
    """One network per seed, as a population on the CPU; equal seeds get equal weights."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return NETWORKS[settings.network].build(settings, generators, activation, inputs)


def batches(settings: TrainingSettings, seed: int, examples: int) -> Tensor:
    """The rows of every batch, shape ``[steps, batch]``; examples that do not fill a batch are left out."""
    batch = settings.batch_size
    # A stream of its own, whatever the network drew.
    generator = torch.Generator().manual_seed(seed ^ _ORDER_STREAM)
    epochs = [torch.randperm(examples, generator=generator) for _ in range(settings.epochs)]
    return torch.cat([epoch[: examples - examples % batch].reshape(-1, batch) for epoch in epochs])


def steps_of(settings: TrainingSettings, examples: int) -> int:
    """Steps of a training on so many examples."""
    return settings.epochs * (examples // settings.batch_size)


def rates(settings: TrainingSettings, steps: int) -> Tensor:
    """The learning rate of every step, float64 of shape ``[steps]``: a line up from 0, and then what is settled."""
    # One step at least is left behind the line.
    rising = min(round(settings.warmup * steps), steps - 1)
    shares = []
    for step in range(steps):
        # From 0 at the end of warm-up to 1 behind the last step.
        done = (step - rising) / (steps - rising)
        if step < rising:
            shares.append((step + 1) / rising)
        elif settings.schedule == "cosine":
            shares.append((1 + math.cos(math.pi * done)) / 2)
        elif settings.schedule == "linear":
            shares.append(1 - done)
        else:
            shares.append(1.0)
    return settings.learning_rate * torch.tensor(shares, dtype=torch.float64)


_SPACING = 20
"""Evaluations lie a step in so many apart. The last ones of a training differ little, but for the noise of batches."""


def scored_after(settings: TrainingSettings, steps: int) -> list[int]:
    """After how many steps a network is scored, in order, the last time at the end.

    There are fewer than the settings want where a training has so few steps.
    """
    apart = max(1, steps // _SPACING)
    wanted = [steps - i * apart for i in range(settings.evaluations)]
    return sorted(step for step in wanted if step > 0)
