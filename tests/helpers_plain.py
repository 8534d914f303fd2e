"""Single networks by torch's own layers, optimisers and schedules, trained by a plain loop."""

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.starts import batches
from rlsearch.proxies.tasks import Bits, Regression


def plain_mlp(s, formula, seed):
    """The multilayer perceptron of a proxy with the initial weights of a seed, normalisation and embedding."""
    start = NETWORKS["mlp"].build(s, [torch.Generator().manual_seed(seed)], None)
    modules = []
    if s.data.n_tokens is not None:
        table = start.embedding.weight[0].detach().clone()
        modules += [nn.Embedding.from_pretrained(table, freeze=False), nn.Flatten()]
    norm = {"none": nn.Identity, "layer": nn.LayerNorm, "rms": lambda width: nn.RMSNorm(width, eps=1e-5)}
    for layer, width in zip(start.layers, s.widths, strict=True):
        modules += [_linear(layer, width), norm[s.normalisation](width), formula.to_module()]
    return nn.Sequential(*modules, _linear(start.head, s.n_outputs))


def _linear(population, width):
    linear = nn.Linear(population.weight.shape[1], width)
    linear.weight.data = population.weight[0].T[:width].detach().clone()
    linear.bias.data = population.bias[0, 0, :width].detach().clone()
    return linear


def plain_loss(task, outputs, labels):
    """What one network is trained by."""
    if isinstance(task, Bits):
        return functional.binary_cross_entropy_with_logits(outputs, labels)
    if isinstance(task, Regression):
        return functional.mse_loss(outputs, labels)
    return functional.cross_entropy(outputs, labels)


def plain_steps(s, network, seed):
    """Trains a network; yields after every step."""
    train = load_dataset(s).train
    rows_of_steps = batches(s, seed, len(train.labels))
    optimiser = {
        "adam": lambda: torch.optim.Adam(network.parameters(), s.learning_rate),
        "adamw": lambda: torch.optim.AdamW(network.parameters(), s.learning_rate, weight_decay=s.weight_decay or 0.01),
        "sgd": lambda: torch.optim.SGD(network.parameters(), s.learning_rate, momentum=0.9),
    }[s.optimiser]()
    schedule = {
        "constant": lambda: LinearLR(optimiser, 1.0, 1.0),
        "cosine": lambda: CosineAnnealingLR(optimiser, len(rows_of_steps)),
        "linear": lambda: LinearLR(optimiser, 1.0, 0.0, len(rows_of_steps)),
    }[s.schedule]()
    for rows in rows_of_steps:
        optimiser.zero_grad()
        plain_loss(s.task, network(train.inputs[rows]), train.labels[rows]).backward()
        optimiser.step()
        schedule.step()
        yield
