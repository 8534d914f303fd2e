"""The best of very many, whose ranks change: what a search asks for several times a round."""

import heapq
from collections.abc import Callable, Iterable
from typing import Any


class Leaderboard:
    """Names in order of a key, the smallest first.

    A heap in which a changed name has several entries; those that no longer hold are dropped when they come up. So a
    change costs a logarithm, and asking for the best costs nothing for all the others: sorting a million functions
    anew took longer than training a round of them.

    Args:
        key: Gives the present key of a name: a tuple, different for different names.
        names: To begin with.
    """

    def __init__(self, key: Callable[[str], tuple[Any, ...]], names: Iterable[str] = ()) -> None:
        self._key = key
        self._heap = [(key(name), name) for name in names]
        heapq.heapify(self._heap)

    def put(self, name: str) -> None:
        """Takes in a name that is new, or whose key has changed."""
        heapq.heappush(self._heap, (self._key(name), name))

    def best(self, count: int) -> list[str]:
        """The ``count`` first names, or all if there are fewer."""
        # Entries are taken from the heap until enough of them hold, and those are put back.
        found: dict[str, tuple[Any, ...]] = {}
        while self._heap and len(found) < count:
            key, name = heapq.heappop(self._heap)
            if key == self._key(name):
                found[name] = key
        for name, key in found.items():
            heapq.heappush(self._heap, (key, name))
        return list(found)
