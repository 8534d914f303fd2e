"""Which seed belongs to what. Seeds belong to the run, not to the moment: the same training gives the same score again.

Every run has a range of its own, and in it:

====================  ==================================================
first half            the search, from 0 on (:func:`search_seed`)
second half, 0-999    ``evaluate``, by which a user may have chosen
second half, 1000-    the final trainings of ``confirm``
second half, 4000-    the choice of learning rates in ``confirm``
====================  ==================================================

Data sets count from 0 in configs; those of :func:`fresh_data_seed` lie above all of them.
"""

SEEDS_PER_RUN = 10_000
MAX_RUN_SEED = 2**31 // SEEDS_PER_RUN
"""Run seeds are below this, so that every seed of a training is below 2^31."""

MAX_EVALUATE_SEEDS = 1000
FIRST_FINAL_SEED = 1000
MAX_FINAL_SEEDS = 1000
FIRST_SELECTION_SEED = 4000
MAX_SELECTION_SEEDS = 1000

FIRST_FRESH_DATA_SEED = 2**31


def search_seed(run_seed: int, index: int) -> int:
    """The ``index``-th seed that a search with ``run_seed`` trains from."""
    assert 0 <= index < SEEDS_PER_RUN // 2
    return run_seed * SEEDS_PER_RUN + index


def fresh_seed(run_seed: int, index: int) -> int:
    """The ``index``-th seed that no search uses, for scoring its results again."""
    assert 0 <= index < SEEDS_PER_RUN // 2
    return run_seed * SEEDS_PER_RUN + SEEDS_PER_RUN // 2 + index


def fresh_data_seed(seed: int) -> int:
    """The seed of a data set that no config names, for a training from ``seed``."""
    return FIRST_FRESH_DATA_SEED + seed
