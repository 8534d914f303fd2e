"""Single networks by torch's own layers, optimisers and schedules, trained by a plain loop."""

import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.norms import PopulationBatchNorm, PopulationRMSNorm
from rlsearch.proxies.starts import batches
from rlsearch.proxies.tasks import Bits, Regression


def plain_mlp(s, formula, seed):
    """The multilayer perceptron of a proxy with the initial weights of a seed, normalisation and embedding."""
    start = NETWORKS["mlp"].build(s, [torch.Generator().manual_seed(seed)], None)
    modules = []
    if s.data.n_tokens is not None:
        table = start.embedding.weight[0].detach().clone()
        modules += [nn.Embedding.from_pretrained(table, freeze=False), nn.Flatten()]
    for layer, norm, width in zip(start.layers, start.norms, s.widths, strict=True):
        modules += [_linear(layer, width), plain_norm(norm, 0), formula.to_module()]
    return nn.Sequential(*modules, _linear(start.head, s.n_outputs))


def _linear(population, width, k=0):
    linear = nn.Linear(population.weight.shape[1], width)
    linear.weight.data = population.weight[k].T[:width].detach().clone()
    linear.bias.data = population.bias[k, 0, :width].detach().clone()
    return linear


class PlainResNet(nn.Module):
    """The residual network of member ``k`` of a population."""

    def __init__(self, population, k, activation):
        super().__init__()
        self.image = population.image
        self.activation = activation
        self.convolutions = nn.ModuleList()
        for layer in population.layers:
            outputs, inputs = layer.weight.shape[1:]
            channels = inputs // 9
            # A block that is wider than the one before it halves the image; the first convolution does not.
            stride = 2 if self.convolutions and outputs > channels else 1
            has_bias = layer.bias is not None
            convolution = nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=has_bias)
            own = layer.weight[k].detach().reshape(outputs, 3, 3, channels)
            convolution.weight.data = own.permute(0, 3, 1, 2).contiguous()
            if has_bias:
                convolution.bias.data = layer.bias[k, 0].detach().clone()
            self.convolutions.append(convolution)
        self.norms = nn.ModuleList(plain_norm(norm, k, images=True) for norm in population.norms)
        self.head = _linear(population.head, 10, k)

    def forward(self, x):
        x = self.activation(self.norms[0](self.convolutions[0](x.unflatten(1, self.image))))
        for i in range(1, len(self.convolutions), 2):
            y = self.activation(self.norms[i](self.convolutions[i](x)))
            y = self.norms[i + 1](self.convolutions[i + 1](y))
            if y.shape[1] > x.shape[1]:
                x = x[:, :, ::2, ::2]
                x = torch.cat([x, torch.zeros_like(y[:, x.shape[1] :])], dim=1)
            x = self.activation(x + y)
        return self.head(x.mean(dim=(2, 3)))


class PlainTransformer(nn.Module):
    """The decoder of member ``k`` of a population, by torch's own layers and attention.

    Args:
        population: The decoders.
        k: The member.
        formula: Of ``x``, or of ``x`` and ``g`` where the units are gated.
    """

    def __init__(self, population, k, formula):
        super().__init__()
        self.formula = formula
        n_outputs = population._n_outputs
        self.embedding = nn.Embedding.from_pretrained(_member(population.embedding.weight, k)[:n_outputs], freeze=False)
        self.positions = None
        if population.positions is not None:
            self.positions = nn.Parameter(_member(population.positions, k))
        self.norms = nn.ModuleList(plain_norm(norm, k) for norm in population.norms)
        self.blocks = nn.ModuleList()
        for attention, feed_forward in zip(population.attentions, population.feed_forwards, strict=True):
            # Taken apart: query, key, value, the result of attention; then one layer up or two, and one down.
            thirds = attention.query_key_value.weight.chunk(3, dim=-1)
            weights = (*thirds, attention.out.weight, *[up.weight for up in feed_forward.ups], feed_forward.down.weight)
            self.blocks.append(nn.ModuleList(_without_bias(weight, k) for weight in weights))
        first = population.attentions[0]
        self.heads = first.heads
        self.rotary = first.turns is not None

    def forward(self, tokens):
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions
        for i, (query, key, value, out, *ups, down) in enumerate(self.blocks):
            seen = self.norms[2 * i](x)
            q, k, v = (self._split(linear(seen)) for linear in (query, key, value))
            if self.rotary:
                q, k = turned_by_hand(q), turned_by_hand(k)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + out(mixed.transpose(1, 2).flatten(2))
            seen = self.norms[2 * i + 1](x)
            x = x + down(self.formula(*[up(seen) for up in ups]))
        return self.norms[-1](x) @ self.embedding.weight.T

    def _split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def turned_by_hand(x):
    """Rotary positions: the numbers 2i and 2i + 1 of ``[..., length, width]`` by ``position / 10000**(2i / width)``."""
    length, width = x.shape[-2:]
    turned = torch.empty_like(x)
    for i in range(width // 2):
        angles = torch.arange(length) / 10_000 ** (2 * i / width)
        a, b = x[..., 2 * i], x[..., 2 * i + 1]
        turned[..., 2 * i] = a * angles.cos() - b * angles.sin()
        turned[..., 2 * i + 1] = a * angles.sin() + b * angles.cos()
    return turned


def _without_bias(weight, k):
    linear = nn.Linear(*weight.shape[1:], bias=False)
    linear.weight.data = _member(weight, k).T.contiguous()
    return linear


def _member(weight, k):
    return weight[k].detach().clone()


class Channels(nn.Module):
    """Applies a module of the last axis to the channels of ``[batch, channels, ...]``."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.movedim(1, -1)).movedim(-1, 1)


def plain_norm(population, k, images=False):
    """The normalisation of member ``k``, of rows or of the channels of images."""
    if isinstance(population, nn.Identity):
        return nn.Identity()
    width = population.scale.shape[-1]
    if isinstance(population, PopulationBatchNorm):
        norm = nn.BatchNorm2d(width) if images else nn.BatchNorm1d(width)
        norm.running_mean, norm.running_var = population.mean[k, 0].clone(), population.variance[k, 0].clone()
    elif isinstance(population, PopulationRMSNorm):
        norm = nn.RMSNorm(width, eps=1e-5)
    else:
        norm = nn.LayerNorm(width)
    norm.weight.data = population.scale[k, 0].detach().clone()
    if not isinstance(population, PopulationRMSNorm):
        norm.bias.data = population.shift[k, 0].detach().clone()
    return norm if isinstance(norm, nn.BatchNorm2d) or not images else Channels(norm)


def plain_loss(task, outputs, labels):
    """What one network is trained by."""
    if isinstance(task, Bits):
        return functional.binary_cross_entropy_with_logits(outputs, labels)
    if isinstance(task, Regression):
        return functional.mse_loss(outputs, labels)
    return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())


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
        if s.clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), s.clip_norm)
        optimiser.step()
        schedule.step()
        yield
