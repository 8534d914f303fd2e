"""What a trainer is: it trains the members of a population and says how well each did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlsearch.formula import Formula


@dataclass(frozen=True, slots=True)
class Member:
    """One training: a formula from a seed, which decides initial weights and the order of the examples."""

    formula: Formula
    seed: int


class Trainer(Protocol):
    """Trains populations of one proxy, one after the other.

    Members share nothing: a score depends on formula and seed only, and a member that becomes non-finite changes no
    bit of the others.
    """

    def train(self, members: Sequence[Member], part: str) -> list[float | None]:
        """Trains one population.

        Args:
            members: At most as many as the trainer was made for.
            part: Which part of the dataset to score on: ``"validation"`` or ``"test"``.

        Returns:
            Accuracy per member, or None where it became non-finite.
        """
        ...
