"""A network and data of your own for a search: a small transformer that learns to continue a sequence.

Put your own in their place. A search needs a function that builds a network around an activation module, and one that
makes training, validation and test data; my_network.yaml beside this file names both.
"""

import torch
from torch import nn


class Block(nn.Module):
    """Attention and a feed-forward part; the activation under search stands in the latter."""

    def __init__(self, activation, width, heads):
        super().__init__()
        self.heads, self.norms = heads, nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))

    def forward(self, x):
        """Attention is written out here: torch's own cannot be trained for many formulas at once on a CPU."""
        n, length, width = x.shape
        q, k, v = self.query_key_value(self.norms[0](x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        ahead = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(ahead, -torch.inf).softmax(dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, length, width))
        return x + self.layers(self.norms[1](x))


def build(activation, tokens=8, width=16, heads=2, blocks=2):
    """Builds the network around an activation module; the rest are arguments that the config may set."""
    layers = [Block(activation, width, heads) for _ in range(blocks)]
    return nn.Sequential(nn.Embedding(tokens, width), *layers, nn.LayerNorm(width), nn.Linear(width, tokens))


def data(seed, examples=4096, length=16):
    """Makes pairs of inputs and labels: training, validation, test. Each letter follows from the two before it."""
    letters = torch.randint(8, (examples, length + 1), generator=torch.Generator().manual_seed(seed))
    for i in range(2, length + 1):
        letters[:, i] = (letters[:, i - 1] + letters[:, i - 2]) % 8
    return [(part[:, :-1], part[:, 1:]) for part in letters.tensor_split([examples // 2, 3 * examples // 4])]
