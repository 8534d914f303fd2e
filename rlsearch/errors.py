"""The errors of the project: one tree, so that a caller can catch all of it with one name.

A message says the value that was met, what was expected, and the nearest valid name where there is one.
"""

import difflib
from collections.abc import Iterable


class RlsearchError(Exception):
    """Base of every error that rlsearch raises on purpose."""

    exit_code = 1


class InputError(RlsearchError):
    """Something the user typed or named is wrong; nothing was started or changed."""

    exit_code = 2


class FormulaError(InputError):
    """A token sequence or a text is not a formula."""


class ConfigError(InputError):
    """A setting has a wrong name, type or value."""


class RunError(InputError):
    """A run folder is missing, foreign, damaged, locked, or would be overwritten."""


class StorageError(RlsearchError):
    """The run's files can no longer be written, for instance because the disk is full."""


class RewardError(RlsearchError):
    """A reward cannot be built or broke its contract."""


class WorkerError(RlsearchError):
    """A worker process has died."""


def why(error: Exception) -> str:
    """What went wrong, for a message that names the file: an error of the system without its number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns ``"; did you mean 'gelu'?"`` for the closest of ``choices``, or an empty text when none is close.

    Capitals do not count, and the initials of a name's words stand for it: ``lr`` is near to ``learning_rate``.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    if not close:
        close = [lower for lower in by_lower if "".join(word[:1] for word in lower.split("_")) == name.lower()]
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
