"""What an agent sees of a formula under construction, as one flat vector with named parts."""

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlsearch.formula import FormulaBuilder, Grammar


@dataclass(frozen=True, slots=True)
class ObservationLayout:
    """Where each part lies in the observation vector.

    In order: the token ids so far (``max_length``, zero-padded), then one number each for the parent operator's id,
    the sibling's id, the open slots and the length, then the action mask (``n_actions``, 0 or 1).

    Attributes:
        max_length: Most tokens of a formula.
        n_actions: Number of token ids, padding included.
    """

    max_length: int
    n_actions: int

    @classmethod
    def of(cls, grammar: Grammar) -> "ObservationLayout":
        """The layout for ``grammar``."""
        return cls(grammar.max_length, len(grammar.vocabulary) + 1)

    @property
    def parent(self) -> int:
        """Index of the parent's id."""
        return self.max_length

    @property
    def sibling(self) -> int:
        """Index of the sibling's id."""
        return self.max_length + 1

    @property
    def open_slots(self) -> int:
        """Index of the number of open slots."""
        return self.max_length + 2

    @property
    def length(self) -> int:
        """Index of the number of tokens placed."""
        return self.max_length + 3

    @property
    def mask(self) -> slice:
        """The action mask's slice."""
        return slice(self.max_length + 4, self.size)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.max_length + 4 + self.n_actions

    def space(self) -> spaces.Box:
        """The observation space, int64 of shape ``[size]``."""
        high = np.full(self.size, self.n_actions - 1, dtype=np.int64)
        high[self.open_slots] = high[self.length] = self.max_length
        high[self.mask] = 1
        return spaces.Box(np.zeros(self.size, dtype=np.int64), high, dtype=np.int64)

    def observe(self, builder: FormulaBuilder, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """What an agent sees of every row: a new array of shape ``[builder.count, size]``."""
        observation = np.empty((builder.count, self.size), dtype=np.int64)
        observation[:, : self.max_length] = builder.tokens
        observation[:, self.parent] = builder.parent
        observation[:, self.sibling] = builder.sibling
        observation[:, self.open_slots] = builder.open_slots
        observation[:, self.length] = builder.length
        observation[:, self.mask] = mask
        return observation
