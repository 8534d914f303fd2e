"""How callers hear of the progress of long work."""

from collections.abc import Callable

Watcher = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much is wanted."""
