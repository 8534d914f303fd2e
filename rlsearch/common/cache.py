"""Where the machine keeps what is costly to make: data sets, operator costs, compiled kernels."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import platformdirs

from rlsearch.common.files import replacing
from rlsearch.errors import RlsearchError

T = TypeVar("T")

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, RlsearchError)
"""What is raised by reading a file that is missing, damaged, or of another kind."""


def cache_folder() -> Path:
    """The machine's cache folder of rlsearch; the environment variable RLSEARCH_CACHE moves it."""
    return Path(os.environ.get("RLSEARCH_CACHE") or platformdirs.user_cache_dir("rlsearch"))


def cache_file(kind: str, key: str, suffix: str) -> Path:
    """The path of a file in the cache folder, such as ``mnist1d-0123456789abcdef.npz``.

    Args:
        kind: Of what is in it, for people.
        key: All that decides what is in it.
        suffix: Of the file's name.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return cache_folder() / f"{kind}-{digest}{suffix}"


def kept(path: Path, read: Callable[[Path], T], make: Callable[[], T], write: Callable[[T, Path], object]) -> T:
    """What a file of the cache folder holds; made now and written there if it is missing or damaged.

    A cache that cannot be read or written only costs time: it is ignored.

    Args:
        path: The file.
        read: Reads it, and raises an error where it is not what it should be.
        make: Makes what it holds.
        write: Writes that to a path.
    """
    with suppress(*_UNREADABLE):
        return read(path)
    made = make()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, shared=True) as partial:
            write(made, partial)
    return made
