"""Random search: uniform walks over the legal tokens, each arity equally likely."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula, FormulaBuilder, Grammar
from rlsearch.judging.judge import Judge
from rlsearch.search.base import SearchMethod


class RandomSearch(SearchMethod):
    """Proposes random formulas; the yardstick of every other method."""

    name: ClassVar[str] = "random"

    def propose(self, judge: Judge, count: int) -> list[Formula]:
        """Draws ``count`` formulas."""
        ids = random_ids(self.grammar, count, self._rng(judge.round))
        return [self.grammar.vocabulary.decode(row) for row in ids]


def random_ids(grammar: Grammar, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws the token ids of ``count`` formulas, zero-padded, of shape ``[count, grammar.max_length]``.

    Wherever all tokens are legal, each arity is equally likely, whatever the number of operators of that arity (the
    uniform arity prior of Petersen et al. 2021, arXiv 1912.04871). The untrained policy writes the same way.
    """
    # Padding, which comes first, is alone where it is legal.
    weights = 1 / np.bincount(grammar.arities[1:], minlength=3)[grammar.arities]
    builder = FormulaBuilder(grammar, count)
    for _ in range(grammar.max_length):
        limits = np.cumsum(np.where(builder.mask(), weights, 0), axis=1)
        # 24 random bits, so that the product in 53 is below the last limit.
        drawn = rng.random((count, 1), dtype=np.float32) * limits[:, -1:]
        builder.advance((drawn >= limits).sum(axis=1))
    return builder.tokens
