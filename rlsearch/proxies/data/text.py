"""The next character of a text: after eight others, or at every position."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError
from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.data.text_files import read_texts
from rlsearch.proxies.sequence_tasks import NEXT_TOKENS
from rlsearch.proxies.tasks import NEXT_TOKEN

_CUTS = (0.8, 0.9)
"""Shares of all bytes at which validation and test begin."""

_OTHER = 95
"""The token of every byte that is not printable ASCII: newlines, tabs, and those of other letters."""


_TOKENS = np.full(256, _OTHER, np.uint8)
_TOKENS[32:127] = np.arange(95)


@DATASETS.add
class Text(Dataset):
    """The next character after eight others, in the texts of Python itself or in a user's.

    Bytes 32 to 126 are the tokens 0 to 94, every other byte is 95. Without a path the texts are the standard library of
    the Python that runs and the help texts of its ``pydoc``; with one they are those of a file or a folder; see
    :func:`~rlsearch.proxies.data.text_files.read_texts`.

    Whole files are divided among training, validation and test, by their content and about as 80 to 10 to 10 by bytes.
    A file belongs to the same part whatever the seed, which draws passages of nine characters from each: so no search
    ever sees a test file. A text that is a single file is cut into three blocks instead.
    """

    name = "text"
    sizes = (38_400, 8000, 8000)
    n_features = 8
    n_classes = 96
    n_tokens = 96
    task = NEXT_TOKEN
    may_have_path = True

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def caveat(self) -> str:
        """Other passages are no other texts."""
        return (
            f"{self.name} cannot be generated anew: another seed draws other passages of the same files; no search has "
            "seen the test files, but intervals hold for them alone and are too narrow for other texts"
        )

    def opened(self, path: Path | None) -> "Text":
        """The texts of a path, which are read when they are asked for."""
        return self if path is None else _of(type(self), path.absolute())

    def digest(self) -> str:
        """That of all texts."""
        return _read(self._path).digest

    def parts(self, seed: int, sizes: tuple[int, ...]) -> list[Examples]:
        """Passages from the files of each part; no passage is drawn twice."""
        rngs = np.random.default_rng(seed).spawn(len(sizes))
        blocks = zip(("train", "validation", "test"), _read(self._path).parts, rngs, sizes, strict=True)
        return [self._passages(name, texts, rng, size) for name, texts, rng, size in blocks]

    def examples(self, seed: int, count: int) -> Examples:
        """Passages from the training files."""
        return self._passages("train", _read(self._path).parts[0], np.random.default_rng(seed), count)

    def _passages(
        self, name: str, texts: Sequence[NDArray[np.uint8]], rng: np.random.Generator, count: int
    ) -> Examples:
        # Passages are numbered through all texts; none reaches from one text into the next.
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        ends = np.maximum(0, lengths - self.n_features).cumsum()
        available = int(ends[-1]) if texts else 0
        if count > available:
            raise ConfigError(
                f"the {name} part of {self._path or 'the standard library'} has {available} passages of "
                f"{self.n_features + 1} characters; expected the {count} of {name}_size"
            )
        numbers = rng.choice(available, count, replace=False)
        owners = np.searchsorted(ends, numbers, side="right")
        # A text's last passage ends with it, whatever the number of characters in which none begins.
        starts = numbers + (lengths.cumsum() - self.n_features - ends)[owners]
        passages = np.concatenate(texts)[starts[:, None] + np.arange(self.n_features + 1)]
        return self._divided(passages)

    def _divided(self, passages: NDArray[np.uint8]) -> Examples:
        """Inputs and labels of passages, which are one character longer than an example's inputs."""
        return passages[:, :-1], passages[:, -1]


@DATASETS.add
class TextSequences(Text):
    """The next character at each of 64 positions, in the texts of :class:`Text` and by its tokens and parts."""

    name = "text_sequences"
    sizes = (6400, 400, 1600)
    n_features = 64
    by_position = True
    task = NEXT_TOKENS

    def _divided(self, passages: NDArray[np.uint8]) -> Examples:
        return passages[:, :-1], passages[:, 1:]


@dataclass(frozen=True, slots=True)
class _Texts:
    """What was read: the texts of each part as tokens, and the digest of them all."""

    parts: tuple[Sequence[NDArray[np.uint8]], ...]
    digest: str


@lru_cache(maxsize=16)
def _of(kind: type[Text], path: Path) -> Text:
    return kind(path)


@lru_cache(maxsize=4)
def _read(path: Path | None) -> _Texts:
    texts = read_texts(path)
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "little") + text)
    tokens = [_TOKENS[np.frombuffer(text, np.uint8)] for text in texts]
    return _Texts(_blocks(tokens[0]) if len(tokens) == 1 else _files(tokens), digest.hexdigest())


def _blocks(text: NDArray[np.uint8]) -> tuple[Sequence[NDArray[np.uint8]], ...]:
    cuts = [round(share * len(text)) for share in (0, *_CUTS, 1)]
    return tuple([text[start:end]] for start, end in pairwise(cuts))


def _files(texts: Sequence[NDArray[np.uint8]]) -> tuple[Sequence[NDArray[np.uint8]], ...]:
    """Whole texts: one belongs where its middle lies in the row of all of them."""
    lengths = np.array([len(text) for text in texts])
    middles = (np.cumsum(lengths) - lengths / 2) / lengths.sum()
    owners = np.searchsorted(_CUTS, middles)
    return tuple([text for text, owner in zip(texts, owners, strict=True) if owner == part] for part in range(3))
