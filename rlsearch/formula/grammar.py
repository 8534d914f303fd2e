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
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.vocabulary import PAD, Vocabulary

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Grammar:
    """The rules of one search; immutable.

    Attributes:
        vocabulary: The tokens.
        min_length: Fewest tokens of a formula.
        max_length: Most tokens of a formula.
        forbid_inverse_pairs: No operator directly inside its inverse, as in ``log(exp(x))`` or ``--x``.
        forbid_nested_periodic: No periodic operator at any depth inside another, as in ``sin(x + cos(x))``.
        forbid_constant_subexpressions: No operator on constants alone, as in ``x + sin(1)``.

    Raises:
        ConfigError: If no formula can satisfy the lengths. With an optional rule on, growing to ``min_length`` must
            be possible with the operators that no rule restricts.
    """

    vocabulary: Vocabulary
    min_length: int = 1
    max_length: int = 15
    forbid_inverse_pairs: bool = False
    forbid_nested_periodic: bool = False
    forbid_constant_subexpressions: bool = False
    arities: IntArray = field(init=False, repr=False, compare=False)
    is_input: BoolArray = field(init=False, repr=False, compare=False)
    is_constant: BoolArray = field(init=False, repr=False, compare=False)
    is_periodic: BoolArray = field(init=False, repr=False, compare=False)
    forbidden: BoolArray = field(init=False, repr=False, compare=False)
    feasible: BoolArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ConfigError(f"expected 1 <= min_length <= max_length, got {self.min_length} and {self.max_length}")
        vocabulary, n_ids = self.vocabulary, len(self.vocabulary) + 1
        first_input = 1 + len(vocabulary.operators)
        derive = object.__setattr__
        derive(self, "arities", vocabulary.arities())
        is_input = np.zeros(n_ids, dtype=np.bool_)
        is_input[first_input : first_input + len(vocabulary.inputs)] = True
        derive(self, "is_input", is_input)
        is_constant = np.zeros(n_ids, dtype=np.bool_)
        is_constant[first_input + len(vocabulary.inputs) :] = True
        derive(self, "is_constant", is_constant)

        # forbidden[parent, token]; the root's slot has the parent PAD, which forbids nothing.
        forbidden = np.zeros((n_ids, n_ids), dtype=np.bool_)
        is_periodic = np.zeros(n_ids, dtype=np.bool_)
        for i, name in enumerate(vocabulary.operators, start=1):
            inverse = OPERATORS[name].inverse
            if self.forbid_inverse_pairs and inverse in vocabulary.operators:
                forbidden[i, 1 + vocabulary.operators.index(inverse)] = True
            is_periodic[i] = self.forbid_nested_periodic and OPERATORS[name].periodic
        derive(self, "forbidden", forbidden)
        derive(self, "is_periodic", is_periodic)
        derive(self, "feasible", self._feasible(forbidden.any(axis=0) | is_periodic))
        if not self.feasible[0, 1]:
            raise ConfigError(
                f"no formula of {self.min_length} to {self.max_length} tokens can be made of {vocabulary.tokens}; "
                "shorten min_length or add an operator that no optional rule restricts"
            )

    def _feasible(self, restricted: BoolArray) -> BoolArray:
        """Returns whether a prefix of ``length`` tokens with ``slots`` open slots can end in the length limits.

        Only operators that are legal everywhere are counted on, so the answer holds in every context, and a state
        that is reached through it is never without a legal token.

        Returns:
            Table of shape ``[max_length + 1, max_length + 3]``, indexed by length and slots.
        """
        growth = set(
            self.arities[1 : 1 + len(self.vocabulary.operators)][~restricted[1 : 1 + len(self.vocabulary.operators)]]
        )
        table = np.zeros((self.max_length + 1, self.max_length + 3), dtype=np.bool_)
        table[self.min_length :, 0] = True
        for length in range(self.max_length - 1, -1, -1):
            for slots in range(1, self.max_length + 1 - length):
                table[length, slots] = any(table[length + 1, slots - 1 + arity] for arity in {0, *growth})
        return table

    def allows(self, ids: Sequence[Sequence[int]]) -> BoolArray:
        """Returns which token sequences are legal formulas, shape ``[len(ids)]``.

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
        self._has_input = np.zeros(count, dtype=np.bool_)
        # One entry per open slot, the next one to fill on top; entry 0 is also read, harmlessly, by complete rows.
        shape = (count, width + 1)
        self._parent = np.zeros(shape, dtype=np.int64)
        self._sibling = np.zeros(shape, dtype=np.int64)
        self._is_first = np.zeros(shape, dtype=np.bool_)
        self._in_periodic = np.zeros(shape, dtype=np.bool_)

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
        """Returns which ids may come next, shape ``[count, len(vocabulary) + 1]``; at least one in every row."""
        grammar = self.grammar
        length = np.minimum(self.length + 1, grammar.max_length)
        top = np.maximum(self.open_slots - 1, 0)
        fits = grammar.feasible[length[:, None], top[:, None] + np.arange(3)]  # [count, arity]
        mask = fits[:, grammar.arities]
        mask &= ~grammar.forbidden[self._parent[self._rows, top]]
        mask &= ~(self._in_periodic[self._rows, top][:, None] & grammar.is_periodic)
        # The last slot must bring an input if none has come; earlier ones may still be constants.
        last = (self.open_slots == 1) & ~self._has_input
        mask &= ~(last[:, None] & grammar.is_constant)
        if grammar.forbid_constant_subexpressions:
            sibling = self._sibling[self._rows, top]
            only_operand = grammar.arities[self._parent[self._rows, top]] == 1
            beside_constant = grammar.is_constant[sibling]
            mask &= ~((only_operand | beside_constant)[:, None] & grammar.is_constant)
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
        self._has_input[rows] |= grammar.is_input[token]
        periodic = self._in_periodic[rows, top] | grammar.is_periodic[token]

        first = self._is_first[rows, top]
        self._sibling[rows[first], top[first] - 1] = token[first]
        # An operator of two operands replaces its slot by two: the second operand's below, the first's on top.
        for offset in (0, 1):
            opened = arity > offset
            r, slot = rows[opened], top[opened] + offset
            self._parent[r, slot] = token[opened]
            self._sibling[r, slot] = PAD
            self._is_first[r, slot] = offset == 1
            self._in_periodic[r, slot] = periodic[opened]
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
        """Returns the complete formula of ``row``.

        Raises:
            FormulaError: If it is not complete.
        """
        return self.grammar.vocabulary.decode(self.tokens[row])

    def text(self, row: int) -> str:
        """Returns the formula of ``row`` as it stands: infix when complete, else the prefix with its open slots."""
        if self.open_slots[row] == 0:
            return str(self.formula(row))
        names = [self.grammar.vocabulary.name(i) for i in self.tokens[row, : self.length[row]]]
        return " ".join([*names, *["_"] * int(self.open_slots[row])])
