"""Generated data sets, kept in the machine's cache folder."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rlsearch.common.cache import cache_file, kept
from rlsearch.proxies.data.base import Examples


def kept_examples(name: str, seed: int, count: int, generate: Callable[[], Examples]) -> Examples:
    """The examples of a data set: from the cache folder, or generated now.

    Args:
        name: Of the data set.
        seed: Decides the examples.
        count: How many.
        generate: Makes them.
    """
    key = json.dumps({"set": name, "seed": seed, "count": count}, sort_keys=True)
    return kept(cache_file(name, key, ".npz"), _read, generate, _write)


def _read(path: Path) -> Examples:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return stored["inputs"], stored["labels"]


def _write(examples: Examples, path: Path) -> None:
    inputs, labels = examples
    with path.open("wb") as file:
        np.savez(file, inputs=inputs, labels=labels)
