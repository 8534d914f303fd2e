"""The files that texts are read from."""

import ast
import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from rlsearch.errors import ConfigError

SUFFIXES = (".c", ".h", ".js", ".md", ".py", ".rst", ".tex", ".txt")
"""Of the files of a folder that are read."""

MOST_BYTES = 16 * 2**20
"""Read of all files together. The standard library without what is left out has about 9 MiB."""

_LEFT_OUT = {
    *("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"),
    # What some Pythons come without, or no longer have.
    *("idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "distutils"),
    # Tables of characters, and the help texts, which are read in another way.
    *("encodings", "pydoc_data"),
}


def read_texts(path: Path | None) -> list[bytes]:
    """Texts without a repetition, in an order that only their content decides.

    Of a folder all files with a suffix of :data:`SUFFIXES` are read, also those of folders in it, but for hidden ones.
    Without a path these are the modules of Python's standard library, without tests and what not every Python has; the
    help texts of ``pydoc`` are read too. Nothing is imported. At most :data:`MOST_BYTES` are read, in the order of
    paths.

    Args:
        path: A file, a folder, or None.

    Raises:
        ConfigError: If there is nothing to read.
    """
    texts = {}
    total = 0
    for text in _library() if path is None else _files(path):
        kept = text[: MOST_BYTES - total]
        total += len(kept)
        texts[hashlib.blake2b(kept, digest_size=16).digest()] = kept
        if total == MOST_BYTES:
            break
    if not total:
        where = f"{path}" if path else "the standard library of this Python"
        raise ConfigError(f"there is no text in {where}; expected a file, or a folder with {', '.join(SUFFIXES)}")
    return [texts[digest] for digest in sorted(texts)]


def _files(path: Path) -> Iterator[bytes]:
    if not path.exists():
        raise ConfigError(f"{path} does not exist; expected a file or a folder of texts")
    if path.is_file():
        yield _content(path)
        return
    for file in sorted(path.rglob("*")):
        inner = file.relative_to(path).parts
        if file.suffix in SUFFIXES and file.is_file() and not any(part.startswith(".") for part in inner):
            yield _content(file)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _library() -> Iterator[bytes]:
    root = Path(sysconfig.get_paths()["stdlib"])
    yield from _help_texts(root / "pydoc_data" / "topics.py")
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(set(inner) - _LEFT_OUT)
        for name in sorted(names):
            if name.endswith(".py"):
                yield _content(Path(folder, name))


def _help_texts(path: Path) -> Iterator[bytes]:
    """The pages of a module that is one dictionary of them; one text each, since together they are very long."""
    if not path.is_file():
        return
    for node in ast.walk(ast.parse(_content(path))):
        if isinstance(node, ast.Dict):
            for page in ast.literal_eval(node).values():
                yield page.encode()
