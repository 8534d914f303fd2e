"""The grammar's optional rules, one class each, in a form that every search reads alike.

A rule says which *marks* it looks at. A mark is a fact about an expression: its first token sets it, and an inherited
one passes up from an operand to the whole. Operators refuse a mark in their operands, or need it in at least one. In
bits, with ``union`` for the marks of all operands together::

    marks = own[operator] | union & inherited
    legal = not union & refused[operator] and union & needed[operator] == needed[operator]

So an expression is a small number to a rule. The mask of :class:`~rlsearch.formula.grammar.FormulaBuilder` reads the
marks from the top down, enumeration and mining from the bottom up; none of them knows the rules.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Protocol

from rlsearch.errors import ConfigError
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.tokens import Token
from rlsearch.formula.vocabulary import Vocabulary

HAS_INPUT = 1
"""The mark of every expression in which an input occurs; a formula must have it, whatever the rules."""

MAX_MARKS = 62  # bits of an int64, without the sign


@dataclass(frozen=True, slots=True)
class Mark:
    """A fact about an expression.

    Attributes:
        set_by: Tokens that set it on the expression which they head.
        inherited: Whether an expression has it too if an operand has it.
        refused_by: Operators that take no operand with it.
        needed_by: Operators that take no operands without it: at least one has it.
    """

    set_by: frozenset[Token]
    inherited: bool = False
    refused_by: frozenset[Token] = frozenset()
    needed_by: frozenset[Token] = frozenset()


class Rule(Protocol):
    """What a grammar may forbid; a frozen dataclass, so that equal grammars compare equal."""

    def marks(self, vocabulary: Vocabulary) -> Iterable[Mark]:
        """The marks by which expressions over a vocabulary are judged."""
        ...


@dataclass(frozen=True, slots=True)
class ForbidInversePairs:
    """No operator directly inside its inverse, as in ``log(exp(x))`` or ``--x``."""

    def marks(self, vocabulary: Vocabulary) -> Iterator[Mark]:
        """One for each operator that undoes another, of the root alone."""
        for name in vocabulary.operators:
            inverse = OPERATORS[name].inverse
            if inverse in vocabulary.operators:
                yield Mark(frozenset({inverse}), refused_by=frozenset({name}))


@dataclass(frozen=True, slots=True)
class ForbidNestedPeriodic:
    """No periodic operator at any depth inside another, as in ``sin(x + cos(x))``."""

    def marks(self, vocabulary: Vocabulary) -> Iterator[Mark]:
        """One, of all expressions in which a periodic operator occurs."""
        periodic = frozenset(name for name in vocabulary.operators if OPERATORS[name].periodic)
        if periodic:
            yield Mark(periodic, inherited=True, refused_by=periodic)


@dataclass(frozen=True, slots=True)
class ForbidConstantSubexpressions:
    """No operator on constants alone, as in ``x + sin(1)``; nor on parameters, of which it makes another parameter."""

    def marks(self, vocabulary: Vocabulary) -> Iterator[Mark]:
        """That of an input, which every operator needs."""
        yield replace(_input_mark(vocabulary), needed_by=frozenset(vocabulary.operators))


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "forbid_inverse_pairs": ForbidInversePairs(),
        "forbid_nested_periodic": ForbidNestedPeriodic(),
        "forbid_constant_subexpressions": ForbidConstantSubexpressions(),
    }
)
"""The rules by the setting that switches them on. Immutable."""

ALL_RULES: tuple[Rule, ...] = tuple(RULES.values())
"""Every rule of :data:`RULES`."""


def _input_mark(vocabulary: Vocabulary) -> Mark:
    return Mark(frozenset(vocabulary.inputs), inherited=True)


@dataclass(frozen=True, slots=True)
class MarkTable:
    """The marks of some rules as bits, by token id; entry 0 is padding's, which has none.

    Attributes:
        own: Marks that a token sets on the expression which it heads.
        refused: Marks that an operator refuses in its operands.
        needed: Marks of which an operator needs each in at least one operand.
        inherited: All marks that pass up, which are the lowest bits.
    """

    own: tuple[int, ...]
    refused: tuple[int, ...]
    needed: tuple[int, ...]
    inherited: int

    def allows(self, token_id: int, union: int) -> bool:
        """Whether an operator may stand on operands whose marks together are ``union``."""
        needed = self.needed[token_id]
        return not union & self.refused[token_id] and union & needed == needed

    def marks(self, token_id: int, union: int = 0) -> int:
        """The marks of a token on operands whose marks together are ``union``."""
        return self.own[token_id] | union & self.inherited

    @property
    def refusable(self) -> int:
        """All marks that some operator refuses."""
        return reduce(or_, self.refused)

    @property
    def needable(self) -> int:
        """All marks that some operator, or the formula as a whole, needs."""
        return reduce(or_, self.needed, HAS_INPUT)


def mark_table(rules: Sequence[Rule], vocabulary: Vocabulary) -> MarkTable:
    """Gives every mark of the rules a bit; marks of the same expressions share one.

    Raises:
        ConfigError: If there are too many marks, a needed one is not inherited, or no input has all that are needed
            and none that are refused. With such an input at hand, no prefix ever ends in a dead end.
    """
    found: dict[tuple[frozenset[Token], bool], Mark] = {}
    for mark in (_input_mark(vocabulary), *_marks(rules, vocabulary)):
        same = found.setdefault((mark.set_by, mark.inherited), mark)
        refused_by, needed_by = same.refused_by | mark.refused_by, same.needed_by | mark.needed_by
        found[mark.set_by, mark.inherited] = replace(same, refused_by=refused_by, needed_by=needed_by)
    # Stable: the mark of an input came first, and stays so.
    marks = sorted(found.values(), key=lambda mark: not mark.inherited)
    if len(marks) > MAX_MARKS:
        raise ConfigError(f"the grammar's rules look at {len(marks)} marks; at most {MAX_MARKS} are possible")
    for mark in marks:
        if mark.needed_by and not mark.inherited:
            raise ConfigError(f"a mark of {sorted(map(str, mark.set_by))} is needed, but not inherited")
    table = MarkTable(
        own=_bits(vocabulary, [mark.set_by for mark in marks]),
        refused=_bits(vocabulary, [mark.refused_by for mark in marks]),
        needed=_bits(vocabulary, [mark.needed_by for mark in marks]),
        inherited=sum(1 << i for i, mark in enumerate(marks) if mark.inherited),
    )
    _check_an_input_is_always_legal(table, vocabulary)
    return table


def _marks(rules: Sequence[Rule], vocabulary: Vocabulary) -> Iterator[Mark]:
    for rule in rules:
        yield from rule.marks(vocabulary)


def _bits(vocabulary: Vocabulary, sets: Sequence[frozenset[Token]]) -> tuple[int, ...]:
    """For padding and every token, the numbers of the sets that it is in."""
    in_sets = [sum(1 << i for i, tokens in enumerate(sets) if token in tokens) for token in vocabulary.tokens]
    return (0, *in_sets)


def _check_an_input_is_always_legal(table: MarkTable, vocabulary: Vocabulary) -> None:
    needed, refused = table.needable, table.refusable
    for token, own in zip(vocabulary.tokens, table.own[1:], strict=True):
        if token in vocabulary.inputs and own & needed == needed and not own & refused:
            return
    raise ConfigError(f"under the grammar's rules none of the inputs {vocabulary.inputs} may stand everywhere")
