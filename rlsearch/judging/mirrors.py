"""Leaderboards with one row for mirror images: see :func:`rlsearch.formula.mirrors.mirror_key`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlsearch.formula.mirrors import MOST_IMAGES, mirror_key
from rlsearch.judging.history import Judged


@dataclass(frozen=True, slots=True)
class MirrorGroup:
    """Mirror images of each other among the functions of a run.

    Attributes:
        best: The one with the highest rank.
        others: The others that were met, best first.
    """

    best: Judged
    others: tuple[Judged, ...] = ()


def grouped(board: Sequence[Judged]) -> list[MirrorGroup]:
    """The functions of a leaderboard by mirror images, in the order of the best of each group.

    What others are relative to stands by itself: people look for it.
    """
    groups: dict[str, list[Judged]] = {}
    for judged in board:
        key = judged.formula.fingerprint if judged.is_reference else f"mirror {mirror_key(judged.formula)}"
        groups.setdefault(key, []).append(judged)
    return [MirrorGroup(first, tuple(others)) for first, *others in groups.values()]


def best_groups(best: Callable[[int], Sequence[Judged]], count: int) -> list[MirrorGroup]:
    """The ``count`` best groups.

    Args:
        best: Gives the best functions, as many as it is asked for.
        count: How many groups. So many times the size of a group are looked at, which is enough for them, so images
            that rank far below are not met.
    """
    return grouped(best(MOST_IMAGES * count))[:count]
