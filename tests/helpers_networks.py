"""Networks and data of a user's own, as configs of tests name them: ``helpers_networks:mlp``."""

from pathlib import Path

import torch
from torch import nn


def mlp(activation, width=16, dropout=0.0):
    return nn.Sequential(
        nn.Linear(8, width), activation, nn.Dropout(dropout), nn.Linear(width, width), activation, nn.Linear(width, 4)
    )


def marking(activation, mark):
    """Leaves a file where it is made."""
    Path(mark).touch()
    return mlp(activation)


class ConvNet(nn.Module):
    """Two residual blocks of convolution and batch normalisation, and a linear layer on the mean.

    A bias before batch normalisation has a gradient of rounding alone, from which Adam makes whole steps.
    """

    def __init__(self, activation, channels=8):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))
        self.activation = activation
        self.head = nn.Linear(channels, 4)

    def forward(self, images):
        x = self.stem(images)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = x + self.activation(norm(convolution(x)))
        return self.head(x.mean(dim=(2, 3)))


class Block(nn.Module):
    """Causal attention, written out since torch's own has no rule for vmap on a CPU, and two layers per position."""

    def __init__(self, activation, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, width = x.shape
        split = self.query_key_value(self.norms[0](x)).view(batch, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # [batch, heads, length, width / heads]
        weights = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        ahead = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = weights.masked_fill(ahead, float("-inf")).softmax(dim=-1) @ value
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.layers(self.norms[1](x))


class Transformer(nn.Module):
    """A causal language model over ``tokens`` letters; input and output embedding are one."""

    def __init__(self, activation, tokens=8, length=12, width=16, heads=2, blocks=2):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(Block(activation, width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, letters):
        return self.head(self.norm(self.blocks(self.embedding(letters) + self.positions)))


class Recurrent(nn.Module):
    """A GRU over positions, which vmap cannot do."""

    def __init__(self, activation, tokens=8, width=16):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.activation = activation
        self.head = nn.Linear(width, tokens)

    def forward(self, letters):
        return self.head(self.activation(self.gru(self.embedding(letters))[0]))


def vectors(seed=0, examples=256):
    """Eight numbers, four classes: the signs of two products."""
    x = torch.randn(examples, 8, generator=torch.Generator().manual_seed(seed))
    return _parts(x, 2 * (x[:, 0] * x[:, 1] > 0) + (x[:, 2] * x[:, 3] > 0))


def fixed_vectors():
    """The same, of one seed for ever."""
    return vectors(3)


def images(seed=0, examples=256):
    """Images of a wave; the class is its direction."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (examples,), generator=generator)
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    waves = torch.stack([row, column, row + column, row - column]) * 1.5
    phases = 6.3 * torch.rand(examples, 1, 1, generator=generator)
    noise = torch.randn(examples, 8, 8, generator=generator)
    return _parts((torch.sin(waves[labels] + phases) + 0.5 * noise).unsqueeze(1), labels)


def sequences(seed=0, examples=256, length=12):
    """Letters mod 8, each the sum of the two before it; what is asked for is the next."""
    generator = torch.Generator().manual_seed(seed)
    letters = torch.randint(8, (examples, length + 1), generator=generator)
    for i in range(2, length + 1):
        letters[:, i] = (letters[:, i - 1] + letters[:, i - 2]) % 8
    return _parts(letters[:, :-1], letters[:, 1:])


def _parts(inputs, labels):
    """Half for training, a quarter each for validation and test."""
    cuts = (
        slice(0, len(labels) // 2),
        slice(len(labels) // 2, 3 * len(labels) // 4),
        slice(3 * len(labels) // 4, None),
    )
    return tuple((inputs[cut], labels[cut].long()) for cut in cuts)
