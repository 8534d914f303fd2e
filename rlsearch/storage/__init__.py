"""The run folder: archive (SQLite), checkpoints, lock, metadata."""

from rlsearch.storage.archive import Archive as Archive
from rlsearch.storage.run import Run as Run
