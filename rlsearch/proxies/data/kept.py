"""Generated data sets, kept in the machine's cache folder."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.cache import cache_folder


def cached(
    key: dict[str, object], generate: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns what ``generate`` makes, from the cache folder if it is there; a cache that fails is ignored."""
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    path = cache_folder() / f"{key['set']}-{digest}.npz"
    try:
        with path.open("rb") as cached, np.load(cached, allow_pickle=False) as stored:
            return stored["inputs"], stored["labels"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        inputs, labels = generate()
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, inputs=inputs, labels=labels)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
    return inputs, labels
