"""Which random numbers belong to what: seeds belong to the run, not to the moment."""

_SEEDS_PER_RUN = 10_000


def search_seed(run_seed: int, index: int) -> int:
    """Returns the ``index``-th seed that a search with ``run_seed`` trains from."""
    assert 0 <= index < _SEEDS_PER_RUN // 2
    return run_seed * _SEEDS_PER_RUN + index


def fresh_seed(run_seed: int, index: int) -> int:
    """Returns the ``index``-th seed that no search uses, for scoring its results again."""
    assert 0 <= index < _SEEDS_PER_RUN // 2
    return run_seed * _SEEDS_PER_RUN + _SEEDS_PER_RUN // 2 + index
