"""The grammar: which token may come next, as integer arithmetic on the prefix, for many formulas at once.

A prefix sequence is legal as long as it can still end in a formula: each token fills one open slot and opens as
many as its arity, and the formula is complete when none is open. No tree is built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError
from rlsearch.formula.formula import Formula
from rlsearch.formula.rules import HAS_INPUT, MarkTable, Rule, mark_table
from rlsearch.formula.vocabulary import PAD, Vocabulary

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Grammar:
    """What one search can write; immutable.

    Attributes:
        vocabulary: The tokens.
        min_length: Fewest tokens of a formula.
        max_length: Most tokens of a formula.
        rules: What is forbidden besides; see ``rules.py``.
        marks: The rules, as all who build formulas read them.

    Raises:
        ConfigError: If no formula can satisfy the lengths, or the rules leave no input that may stand everywhere.
            Growing to ``min_length`` must be possible with the operators that no rule restricts.
    """

    vocabulary: Vocabulary
    min_length: int = 1
    max_length: int = 15
    rules: tuple[Rule, ...] = ()
    marks: MarkTable = field(init=False, repr=False, compare=False)
    arities: IntArray = field(init=False, repr=False, compare=False)
    own: IntArray = field(init=False, repr=False, compare=False)
    refused: IntArray = field(init=False, repr=False, compare=False)
    needed: IntArray = field(init=False, repr=False, compare=False)
    unpayable: IntArray = field(init=False, repr=False, compare=False)
    feasible: BoolArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ConfigError(f"expected 1 <= min_length <= max_length, got {self.min_length} and {self.max_length}")
        derive = object.__setattr__
        derive(self, "rules", tuple(self.rules))
        marks = mark_table(self.rules, self.vocabulary)
        derive(self, "marks", marks)
        derive(self, "arities", self.vocabulary.arities())
        derive(self, "own", np.array(marks.own, dtype=np.int64))
        derive(self, "refused", np.array(marks.refused, dtype=np.int64))
        derive(self, "needed", np.array(marks.needed, dtype=np.int64))
        # What can no longer come once a token fills the last slot: behind an operator everything still can.
        derive(self, "unpayable", np.where(self.arities > 0, 0, ~self.own))
        derive(self, "feasible", self._feasible(self.own & marks.refusable != 0))
        if not self.feasible[0, 1]:
            raise ConfigError(
                f"no formula of {self.min_length} to {self.max_length} tokens can be made of {self.vocabulary.tokens}; "
                "shorten min_length or add an operator that no optional rule restricts"
            )

    def _feasible(self, restricted: BoolArray) -> BoolArray:
        """Whether a prefix of ``length`` tokens with ``slots`` open slots can end in the length limits.

        Only operators that are legal everywhere are counted on, so the answer holds in every context, and a state
        that is reached through it is never without a legal token.

        Returns:
            Table of shape ``[max_length + 1, max_length + 3]``, indexed by length and slots.
        """
        operators = slice(1, 1 + len(self.vocabulary.operators))
        growth = set(self.arities[operators][~restricted[operators]])
        table = np.zeros((self.max_length + 1, self.max_length + 3), dtype=np.bool_)
        table[self.min_length :, 0] = True
        for length in range(self.max_length - 1, -1, -1):
            for slots in range(1, self.max_length + 1 - length):
                table[length, slots] = any(table[length + 1, slots - 1 + arity] for arity in {0, *growth})
        return table

    def allows(self, ids: Sequence[Sequence[int]]) -> BoolArray:
        """Which token sequences are legal formulas, shape ``[len(ids)]``.

        Args:
            ids: Sequences of token ids without padding, of any length.
        """
        allowed = np.array([1 <= len(row) <= self.max_length for row in ids], dtype=np.bool_)
        rows = np.flatnonzero(allowed)
        padded = np.zeros((len(rows), self.max_length), dtype=np.int64)
        for i, row in enumerate(rows.tolist()):
            padded[i, : len(ids[row])] = ids[row]
        legal = np.ones(len(rows), dtype=np.bool_)
        for _, mask, actions in FormulaBuilder(self, len(rows)).follow(padded):
            legal &= mask[np.arange(len(rows)), actions]
        allowed[rows] = legal
        return allowed


class FormulaBuilder:
    """``count`` formulas under construction, one token each per step.

    A row whose formula is complete takes padding only. Rows do not influence each other.

    Attributes:
        tokens: Ids placed so far, zero-padded, shape ``[count, max_length]``.
        length: Tokens placed, shape ``[count]``.
        open_slots: Operands still to be written, shape ``[count]``; 0 means complete.
    """

    def __init__(self, grammar: Grammar, count: int) -> None:
        self.grammar = grammar
        self.count = count
        self._rows = np.arange(count)
        self.reset()

    def reset(self) -> None:
        """Starts every row anew."""
        count, width = self.count, self.grammar.max_length
        self.tokens = np.zeros((count, width), dtype=np.int64)
        self.length = np.zeros(count, dtype=np.int64)
        self.open_slots = np.ones(count, dtype=np.int64)
        # One entry per open slot, the next one to fill on top; entry 0 is also read, harmlessly, by complete rows.
        shape = (count, width + 1)
        self._parent = np.zeros(shape, dtype=np.int64)
        self._sibling = np.zeros(shape, dtype=np.int64)
        self._is_first = np.zeros(shape, dtype=np.bool_)
        # Marks that an operator above refuses, and marks that must still come, in this slot at the latest.
        self._refused = np.zeros(shape, dtype=np.int64)
        self._owed = np.full(shape, HAS_INPUT, dtype=np.int64)

    @property
    def finished(self) -> BoolArray:
        """Which rows hold a complete formula, shape ``[count]``."""
        finished: BoolArray = self.open_slots == 0
        return finished

    @property
    def parent(self) -> IntArray:
        """The operator whose operand comes next, shape ``[count]``; padding at the root and in complete rows."""
        return np.where(self.finished, PAD, self._parent[self._rows, np.maximum(self.open_slots - 1, 0)])

    @property
    def sibling(self) -> IntArray:
        """The first token of the operand before the next one, shape ``[count]``; padding where there is none."""
        return np.where(self.finished, PAD, self._sibling[self._rows, np.maximum(self.open_slots - 1, 0)])

    def mask(self) -> BoolArray:
        """Which ids may come next, shape ``[count, len(vocabulary) + 1]``; at least one in every row."""
        grammar = self.grammar
        length = np.minimum(self.length + 1, grammar.max_length)
        top = np.maximum(self.open_slots - 1, 0)
        fits = grammar.feasible[length[:, None], top[:, None] + np.arange(3)]  # [count, arity]
        mask = fits[:, grammar.arities]
        refused, owed = self._refused[self._rows, top], self._owed[self._rows, top]
        illegal = grammar.own & refused[:, None]
        illegal |= grammar.unpayable & owed[:, None]
        mask &= illegal == 0
        finished = self.finished
        mask[finished] = False
        mask[:, PAD] = finished
        return mask

    def advance(self, actions: IntArray) -> None:
        """Places one id per row; padding in complete rows. Legality is the caller's to check, with :meth:`mask`."""
        grammar = self.grammar
        rows = np.flatnonzero(~self.finished)
        token = actions[rows]
        arity = grammar.arities[token]
        top = self.open_slots[rows] - 1
        self.tokens[rows, self.length[rows]] = token
        self.length[rows] += 1
        own, inherited = grammar.own[token], grammar.marks.inherited
        refused = self._refused[rows, top] & inherited | grammar.refused[token]
        owed = self._owed[rows, top] & ~own | grammar.needed[token]
        # Every open slot below is the second operand of an operator that has this token in its first.
        self._owed[rows] &= ~(own & inherited)[:, None]

        first = self._is_first[rows, top]
        self._sibling[rows[first], top[first] - 1] = token[first]
        # An operator of two operands replaces its slot by two: the second operand's below, the first's on top. What is
        # owed may come in the first, so only the second must pay.
        for offset in (0, 1):
            opened = arity > offset
            r, slot = rows[opened], top[opened] + offset
            self._parent[r, slot] = token[opened]
            self._sibling[r, slot] = PAD
            self._is_first[r, slot] = offset == 1
            self._refused[r, slot] = refused[opened]
            self._owed[r, slot] = owed[opened] if offset == 0 else 0
        self.open_slots[rows] += arity - 1

    def follow(self, ids: IntArray) -> Iterator[tuple["FormulaBuilder", BoolArray, IntArray]]:
        """Places known ids step by step; yields this builder, its mask, and the ids just before each are placed.

        Args:
            ids: Padded with zeros, shape ``[count, max_length]``. A row that turns out illegal is built on with
                whatever is legal, so that the others can go on.
        """
        for actions in ids.T:
            mask = self.mask()
            yield self, mask, actions
            legal = mask[self._rows, actions]
            self.advance(np.where(legal, actions, mask.argmax(axis=1)))

    def formula(self, row: int) -> Formula:
        """Decodes the complete formula of ``row``.

        Raises:
            FormulaError: If it is not complete.
        """
        return self.grammar.vocabulary.decode(self.tokens[row])

    def text(self, row: int) -> str:
        """The formula of ``row`` as it stands: infix when complete, else the prefix with its open slots."""
        if self.open_slots[row] == 0:
            return str(self.formula(row))
        names = [self.grammar.vocabulary.name(i) for i in self.tokens[row, : self.length[row]]]
        return " ".join([*names, *["_"] * int(self.open_slots[row])])
