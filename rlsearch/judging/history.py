"""What is known of the functions of a run: by fingerprint, ranked, in the order in which they came.

A judge keeps one while a run goes on. Of a run that lies on disk it is read from the archive alone: no reward, no
network and no kernel is made for it, and nothing that the run's config names is imported.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from rlsearch.common.numbers import number_text
from rlsearch.formula import Formula
from rlsearch.judging.leaderboard import Leaderboard
from rlsearch.rewards.base import RewardResult, Status


@dataclass(slots=True)
class Judged:
    """A function and what is known of it.

    Attributes:
        formula: Its spelling with the highest reward.
        result: The result of that spelling.
        seeds: Number of seeds that it was trained from, on any proxy.
        rung: The highest rung of successive halving whose trainings it has.
        is_reference: Whether others are relative to it; then it is known before it is proposed.
        last_round: The last round in which it was proposed; -1 for a reference that has not been. Known to the judge
            only.
    """

    formula: Formula
    result: RewardResult
    seeds: int = 0
    rung: int = 0
    is_reference: bool = False
    last_round: int = -1

    def __repr__(self) -> str:
        result = self.result
        reward = number_text(result.value, "+.4f") if result.status is Status.OK else result.status.value
        return f"Judged('{self.formula}', reward={reward}, seeds={self.seeds})"

    @property
    def reward(self) -> float:
        """The reward of its spelling."""
        return self.result.value

    @property
    def rank(self) -> tuple[int, float, int]:
        """Sorts by rung and reward; at a tie the shorter spelling is the better one, and then the earlier."""
        return (self.rung, self.result.value, -self.formula.size)


class History:
    """The functions of a run.

    Args:
        functions: Fingerprint and function, in the order in which they came.

    Attributes:
        known: Every function, by fingerprint, the oldest first.
    """

    def __init__(self, functions: Iterable[tuple[str, Judged]] = ()) -> None:
        self.known: dict[str, Judged] = {}
        self._numbers: dict[str, int] = {}
        self._references: set[str] = set()
        self._board = Leaderboard(self._place)
        for fingerprint, judged in functions:
            self.put(fingerprint, judged)

    def put(self, fingerprint: str, judged: Judged) -> None:
        """Takes in a function that is new, or whose rank has changed."""
        self.known[fingerprint] = judged
        self._numbers.setdefault(fingerprint, len(self._numbers))
        if judged.is_reference:
            self._references.add(fingerprint)
        if judged.result.status is Status.OK:
            self._board.put(fingerprint)

    def number(self, fingerprint: str) -> int:
        """How many functions came before this one."""
        return self._numbers[fingerprint]

    def leaderboard(self, count: int) -> list[Judged]:
        """The ``count`` best functions that have a score, best first."""
        return [self.known[fingerprint] for fingerprint in self._board.best(count)]

    def found(self, count: int) -> list[Judged]:
        """The ``count`` best functions that are no reference, best first."""
        board = self.leaderboard(count + len(self._references))
        return [judged for judged in board if not judged.is_reference][:count]

    def recent(self, count: int) -> list[Judged]:
        """The ``count`` functions that came last, the newest first."""
        return list(islice(reversed(self.known.values()), count))

    def _place(self, fingerprint: str) -> tuple[float, ...]:
        """A function's key on the leaderboard; of two of one rank the earlier leads."""
        return (*(-number for number in self.known[fingerprint].rank), self._numbers[fingerprint])
