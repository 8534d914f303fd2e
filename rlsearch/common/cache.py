"""Where the machine keeps what is costly to make: data sets, operator costs, compiled kernels."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Returns the machine's cache folder of rlsearch; the environment variable RLSEARCH_CACHE moves it."""
    return Path(os.environ.get("RLSEARCH_CACHE") or platformdirs.user_cache_dir("rlsearch"))
