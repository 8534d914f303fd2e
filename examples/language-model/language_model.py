"""A small GPT of your own as the network of a search: it learns the next byte of a text.

Put your own model and text in their place; language_model.yaml beside this file names both functions.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

SOURCES = ("argparse", "ast", "datetime", "difflib", "doctest", "inspect", "pathlib", "pdb", "pickle", "typing")
"""Modules of the standard library whose source is the text, where none is given."""


class Block(nn.Module):
    """Attention, then a feed-forward part in which the activation under search stands."""

    def __init__(self, activation, width, heads):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))

    def forward(self, x):
        """Attention is written out: torch's own cannot be trained for many formulas at once on a CPU."""
        n, length, width = x.shape
        qkv = self.query_key_value(self.before_attention(x))
        q, k, v = qkv.view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        ahead = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(ahead, -torch.inf).softmax(dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, length, width))
        return x + self.layers(self.before_layers(x))


class GPT(nn.Module):
    """Bytes in, logits of the next byte out."""

    def __init__(self, activation, width=32, heads=2, blocks=2, length=16):
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(activation, width, heads) for _ in range(blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 256))

    def forward(self, text):
        """Logits [examples, positions, 256] for bytes [examples, positions]."""
        places = torch.arange(text.shape[1], device=text.device)
        return self.head(self.blocks(self.bytes(text) + self.places(places)))


def data(seed, path=None, examples=4096, length=16):
    """Makes training, validation and test data: passages of the text, and for each byte the one that follows.

    The parts come from different places of the text; the seed draws passages, so that ``confirm`` has fresh ones.
    """
    files = [path] if path else [find_spec(name).origin for name in SOURCES]
    text = torch.frombuffer(bytearray(b"".join(Path(file).read_bytes() for file in files)), dtype=torch.uint8).long()
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for part, share in zip(text.tensor_split([len(text) * 6 // 10, len(text) * 8 // 10]), (1, 0.5, 0.5), strict=True):
        starts = torch.randint(len(part) - length, (int(share * examples), 1), generator=generator)
        passages = part[starts + torch.arange(length + 1)]
        parts.append((passages[:, :-1], passages[:, 1:]))
    return parts
