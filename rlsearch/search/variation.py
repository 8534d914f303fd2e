"""Mutation and crossover of formulas: what evolution and the controller's offspring are made of."""

from collections.abc import Callable, Sequence

import numpy as np

from rlsearch.formula import Formula, Grammar
from rlsearch.search.random import random_ids

Ids = list[int]

MAX_ATTEMPTS = 10
"""Changes tried for one child: most are legal at once, and a parent without a legal child in ten is rare."""

MAX_GRAFT_TOKENS = 6
"""Tokens of a random subtree: larger ones make the child a stranger to its parent."""


class Variation:
    """Makes children that the grammar allows.

    Each child comes from one of five changes, equally likely: a token for another of its arity, a subtree for a
    random one, an operator put in above a subtree, a subtree lifted over its parent, a subtree for one of a mate's.

    Args:
        grammar: What can be written.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._arities = grammar.arities.tolist()
        n_ids = len(self._arities)
        self._of_arity = [[i for i in range(1, n_ids) if self._arities[i] == arity] for arity in range(3)]
        self._grafts = Grammar(grammar.vocabulary, 1, min(MAX_GRAFT_TOKENS, grammar.max_length))
        self._changes: tuple[Callable[[Ids, Ids, np.random.Generator], Ids], ...] = (
            self._replace_token,
            self._graft,
            self._insert,
            self._lift,
            self._cross,
        )

    def children(self, parents: Sequence[Formula], mates: Sequence[Formula], rng: np.random.Generator) -> list[Formula]:
        """Makes one child per parent, spelled otherwise than the parent; a random formula where there is none.

        Args:
            parents: What is changed.
            mates: Where crossover takes from, one per parent.
            rng: Source of randomness.
        """
        encode = self.grammar.vocabulary.encode
        pairs = [(encode(a).tolist(), encode(b).tolist()) for a, b in zip(parents, mates, strict=True)]
        children: list[Ids | None] = [None] * len(pairs)
        # Parents whose child is not legal are tried again, all of them at once.
        missing = list(range(len(pairs)))
        for _ in range(MAX_ATTEMPTS):
            changes = [self._changes[i] for i in rng.integers(len(self._changes), size=len(missing))]
            grafts = [list(filter(None, row)) for row in random_ids(self._grafts, len(missing), rng).tolist()]
            tried = [
                change(pairs[i][0], graft if change == self._graft else pairs[i][1], rng)
                for i, change, graft in zip(missing, changes, grafts, strict=True)
            ]
            for i, child, legal in zip(missing, tried, self.grammar.allows(tried), strict=True):
                if legal and child != pairs[i][0]:
                    children[i] = child
            missing = [i for i in missing if children[i] is None]
            if not missing:
                break
        strangers = iter(random_ids(self.grammar, len(missing), rng))
        decode = self.grammar.vocabulary.decode
        return [decode(next(strangers) if child is None else child) for child in children]

    def _end(self, ids: Ids, start: int) -> int:
        """Where the subtree that begins at ``start`` ends."""
        open_slots, position = 1, start
        while open_slots:
            open_slots += self._arities[ids[position]] - 1
            position += 1
        return position

    def _subtree(self, ids: Ids, rng: np.random.Generator) -> tuple[int, int]:
        """A random subtree: where it starts and where it ends."""
        start = int(rng.integers(len(ids)))
        return start, self._end(ids, start)

    def _replace_token(self, ids: Ids, mate: Ids, rng: np.random.Generator) -> Ids:
        """A token becomes another of its arity."""
        position = int(rng.integers(len(ids)))
        others = self._of_arity[self._arities[ids[position]]]
        return [*ids[:position], others[rng.integers(len(others))], *ids[position + 1 :]]

    def _graft(self, ids: Ids, graft: Ids, rng: np.random.Generator) -> Ids:
        """A subtree becomes a random one."""
        start, end = self._subtree(ids, rng)
        return [*ids[:start], *graft, *ids[end:]]

    def _insert(self, ids: Ids, mate: Ids, rng: np.random.Generator) -> Ids:
        """An operator is put in above a subtree; a binary one gets a leaf as its other operand."""
        start, end = self._subtree(ids, rng)
        operators = [*self._of_arity[1], *self._of_arity[2]]
        if not operators:
            return ids
        operator = operators[rng.integers(len(operators))]
        operand = ids[start:end]
        if self._arities[operator] == 2:
            leaf = [self._of_arity[0][rng.integers(len(self._of_arity[0]))]]
            operand = operand + leaf if rng.integers(2) else leaf + operand
        return [*ids[:start], operator, *operand, *ids[end:]]

    def _lift(self, ids: Ids, mate: Ids, rng: np.random.Generator) -> Ids:
        """A subtree takes the place of one that it is part of."""
        start, end = self._subtree(ids, rng)
        inner = int(rng.integers(start, end))
        return [*ids[:start], *ids[inner : self._end(ids, inner)], *ids[end:]]

    def _cross(self, ids: Ids, mate: Ids, rng: np.random.Generator) -> Ids:
        """A subtree becomes one of a mate's."""
        start, end = self._subtree(ids, rng)
        from_, to = self._subtree(mate, rng)
        return [*ids[:start], *mate[from_:to], *ids[end:]]


def tournament(judged: Sequence[Formula], count: int, size: int, rng: np.random.Generator) -> list[Formula]:
    """Chooses ``count`` formulas, each the first of ``size`` drawn ones in the order of ``judged``.

    Args:
        judged: Best first.
        count: How many are chosen.
        size: How many compete for each place; more means harsher selection.
        rng: Source of randomness.
    """
    return [judged[i] for i in rng.integers(len(judged), size=(count, size)).min(axis=1)]
