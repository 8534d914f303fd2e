"""Files that are written whole or not at all, whatever happens to the process that writes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Gives the path of a new file, which takes the place of ``path`` at the end of the block.

    Until then ``path`` stays as it is, and other processes read its old contents. The new contents are on the disk
    before they take its place, so not even a power cut leaves half a file.

    Args:
        path: The file to replace or make. Its folder exists.
        shared: Whether several processes may write it at the same time, as in a cache.

    Raises:
        OSError: If it cannot be written; ``path`` is unchanged then.
    """
    # One name, so that what a killed process leaves goes away; but a name of its own for each of several writers.
    writer = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f".{path.name}{writer}.tmp")
    try:
        # Whoever writes may go on with what it finds, as SQLite does.
        partial.unlink(missing_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, shared: bool = False) -> None:
    """Writes UTF-8 text; see :func:`replacing`."""
    write_bytes(path, text.encode("utf-8"), shared=shared)


def write_bytes(path: Path, data: bytes, *, shared: bool = False) -> None:
    """Writes bytes; see :func:`replacing`."""
    with replacing(path, shared=shared) as partial:
        partial.write_bytes(data)
