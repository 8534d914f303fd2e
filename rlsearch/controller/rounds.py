"""A round on its way through the controller: written, and then a lesson."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula


@dataclass(frozen=True, slots=True)
class Episodes:
    """The steps of whole episodes, with what the policy thought in each.

    Attributes:
        observations: int64 of shape ``[steps, episodes, layout.size]``.
        actions: Token ids of shape ``[steps, episodes]``.
        values: The critic's, of shape ``[steps, episodes]``.
        log_probs: Of each action, shape ``[steps, episodes]``.
    """

    observations: NDArray[np.int64]
    actions: NDArray[np.int64]
    values: NDArray[np.float32]
    log_probs: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence["Episodes"]) -> "Episodes":
        """The episodes of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts], axis=1) for f in fields(cls)))


@dataclass(frozen=True, slots=True)
class Written:
    """Formulas that are not judged yet.

    Attributes:
        formulas: The policy's own first.
        ids: Their token ids, shape ``[formulas, max_length]``, filled up with 0.
        rollout: The steps in which the policy wrote its own; None where it will have changed until they are learned.
    """

    formulas: list[Formula]
    ids: NDArray[np.int64]
    rollout: Episodes | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """A round that was judged and is to be learned from.

    Attributes:
        ids: Token ids of its formulas, the policy's own first, shape ``[formulas, max_length]``.
        values: Their rewards.
        new: Which of them may be elite.
        rollout: The steps in which the policy wrote its own; None if it has changed since.
    """

    ids: NDArray[np.int64]
    values: NDArray[np.float64]
    new: NDArray[np.bool_]
    rollout: Episodes | None = None
