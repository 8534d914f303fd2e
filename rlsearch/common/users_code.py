"""Code of a user's own: what it leaves behind in the process is put back, and what it raises becomes a message."""

import hashlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FAILURES = (Exception, SystemExit, GeneratorExit)
"""What a user's code may raise to its own harm alone. A KeyboardInterrupt is not among them: the caller stops."""

LONGEST_MESSAGE = 500
"""Characters of a message that is stored: enough for a reason, and an archive of a million of them stays readable."""


@contextmanager
def users_code(seed: int, device: "torch.device | None" = None) -> Iterator[None]:
    """Runs a user's code in the block and puts back what it may change.

    Its global random numbers are its own: they come from ``seed``, and the caller's go on as if nothing had been drawn.
    The working folder, torch's gradient mode, and an output that it closes are put back. A child process that it forks
    ends with the block: left alone, it would go on as a second copy of the caller.

    Args:
        seed: Of the global generators of Python, numpy and torch.
        device: The GPU whose generator is one of them; None: those of all GPUs that this process uses.
    """
    # Imported here: an environment with a cheap reward does without torch until it names one.
    import torch

    from rlsearch.common.rng import random_numbers_of

    process, folder, gradients = os.getpid(), _folder(), torch.is_grad_enabled()
    output, errors = sys.stdout, sys.stderr
    try:
        with random_numbers_of(seed, device):
            yield
    except BaseException as error:
        if os.getpid() != process and not isinstance(error, SystemExit):
            traceback.print_exc()
        raise
    finally:
        if os.getpid() != process:
            sys.stderr.flush()
            os._exit(1)
        torch.set_grad_enabled(gradients)
        sys.stdout, sys.stderr = _open_again(output, 1), _open_again(errors, 2)
        # The folder may have been removed meanwhile.
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)


def _open_again(stream: Any, number: int) -> Any:
    """The stream, or a new one to the same place if it was closed; there is none where Python has no output."""
    if stream is None or not stream.closed:
        return stream
    # Python does not close the system's own output together with the object that writes to it.
    try:
        return os.fdopen(number, "w", closefd=False)
    except OSError:
        return open(os.devnull, "w")


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def seed_of(*texts: str) -> int:
    """A seed that follows from texts alone, the same in every process."""
    return int.from_bytes(hashlib.blake2b("\0".join(texts).encode(), digest_size=4).digest(), "big")


def what_was_raised(error: BaseException) -> str:
    """The kind and the message of an error: ``"ValueError: too large"``; see :func:`as_message`."""
    return f"{type(error).__name__}: {as_message(error)}"


def as_message(value: object) -> str:
    """What a user's code gave, as a text that can be stored and printed, cut at :data:`LONGEST_MESSAGE` characters.

    Characters that cannot be printed or encoded are written as escapes.
    """
    try:
        text = str(value)
    except FAILURES as error:
        return f"a {type(value).__name__} that cannot be printed: its text raised {type(error).__name__}"
    # Cut before the escapes too: a message may have megabytes.
    text = "".join(map(_printable, text[: LONGEST_MESSAGE + 1]))
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 3]}..."


def _printable(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode("ascii")
