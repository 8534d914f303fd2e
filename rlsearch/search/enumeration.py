"""Every function that a grammar can write, or of a form, each once: what exhaustive search proposes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import OPERATORS, Formula, Grammar
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.formula import GRID_POINTS, fingerprint_grid, fingerprint_of
from rlsearch.formula.rules import HAS_INPUT
from rlsearch.formula.template import WILDCARDS, check_form, form_arities
from rlsearch.formula.tokens import Token, letter_of

_EXPRESSIONS_AT_ONCE = 512  # whose values are computed together: half a megabyte


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A subexpression, with what the grammar's rules can see of it.

    Attributes:
        tokens: In prefix order.
        values: On the fingerprint's grid, shape ``[GRID_POINTS]``.
        marks: What the rules look at, as bits; see ``rlsearch.formula.rules``.
    """

    tokens: tuple[Token, ...]
    values: NDArray[np.float64]
    marks: int


class Enumeration:
    """Every function that a grammar can write, each once, in a shortest spelling, in order of size.

    What an operator makes of a function does not depend on how that function is spelled. So of all expressions that
    have the same values, and that the grammar's rules cannot tell apart, only the first is built on. No function is
    lost by it, and the work is that of the functions, which are far fewer than the spellings.

    Args:
        grammar: What can be written. Functions with a spelling shorter than its ``min_length`` are built on but not
            yielded.
        template: A form in prefix order: names of operators and inputs, ``unary`` for any operator of one operand or
            none at all, ``binary`` for any of two, ``leaf`` for any input, constant or parameter. None for every form.
            With a template the grammar's lengths do not matter, and the order is that of the operators.

    Attributes:
        size: Tokens of the expressions under construction.
        untested: Combinations of this size, or of the template, that have not been tried.

    Raises:
        ConfigError: If the template is not a form.
    """

    def __init__(self, grammar: Grammar, template: Sequence[str] | None = None) -> None:
        self.grammar = grammar
        self.template = template
        self.size = self.untested = 0
        vocabulary = grammar.vocabulary
        self._operators = {n: [name for name in vocabulary.operators if OPERATORS[name].arity == n] for n in (1, 2)}
        self._ids = {token: i for i, token in enumerate(vocabulary.tokens, start=1)}
        values: dict[Token, NDArray[np.float64]] = {name: fingerprint_grid(name) for name in vocabulary.inputs}
        values |= {constant: np.full(GRID_POINTS, constant) for constant in vocabulary.constants}
        values |= {parameter: fingerprint_grid(letter_of(parameter)) for parameter in vocabulary.parameters}
        marks = grammar.marks
        self._leaves = [Expression((leaf,), values[leaf], marks.marks(self._ids[leaf])) for leaf in values]
        self._arities = form_arities(vocabulary)
        if template is not None:
            check_form(template, vocabulary)

    def __iter__(self) -> Iterator[Formula]:
        """Yields the formulas."""
        found: set[str] = set()
        for expression, fingerprint in self._by_size() if self.template is None else self._by_template(self.template):
            if expression.marks & HAS_INPUT and fingerprint not in found:
                found.add(fingerprint)
                if self.template is not None or len(expression.tokens) >= self.grammar.min_length:
                    yield Formula(expression.tokens)

    def _by_size(self) -> Iterator[tuple[Expression, str]]:
        longest = self.grammar.max_length
        of_size: list[list[Expression]] = [[] for _ in range(longest + 1)]
        seen: set[tuple[str, int]] = set()
        for self.size in range(1, longest + 1):
            inner = self.size - 1
            operands = [(of_size[inner],), *((of_size[left], of_size[inner - left]) for left in range(1, inner))]
            self.untested = sum(len(self._operators[len(sides)]) * prod(map(len, sides)) for sides in operands)
            written = self._leaves if self.size == 1 else self._grown(operands)
            for expression, fingerprint in self._distinct(written, seen):
                if self.size < longest:
                    of_size[self.size].append(expression)
                yield expression, fingerprint

    def _grown(self, operands: Iterable[tuple[list[Expression], ...]]) -> Iterator[Expression]:
        """Yields every operator on every choice of operands."""
        for sides in operands:
            for name in self._operators[len(sides)]:
                yield from self._apply(name, sides)

    def _by_template(self, template: Sequence[str]) -> Iterator[tuple[Expression, str]]:
        stack: list[Iterable[tuple[Expression, str]]] = []
        for entry in reversed(template):
            sides = tuple([e for e, _ in stack.pop()] for _ in range(self._arities[entry]))
            stack.append(self._distinct(self._fill(entry, sides), set()))
        self.size = len(template)
        yield from stack[0]

    def _fill(self, entry: str, sides: tuple[list[Expression], ...]) -> Iterator[Expression]:
        """Yields everything that an entry of a template can be on its operands."""
        if not sides:
            yield from (leaf for leaf in self._leaves if entry in ("leaf", leaf.tokens[0]))
            return
        if entry == "unary":
            yield from sides[0]
        names = self._operators[len(sides)] if entry in WILDCARDS else [entry]
        self.untested = len(names) * prod(map(len, sides))
        for name in names:
            yield from self._apply(name, sides)

    def _distinct(
        self, expressions: Iterable[Expression], seen: set[tuple[str, int]]
    ) -> Iterator[tuple[Expression, str]]:
        """Yields the expressions that are new to ``seen``, with their fingerprints."""
        for expression in expressions:
            fingerprint = fingerprint_of(expression.values)
            key = (fingerprint, expression.marks)
            if key not in seen:
                seen.add(key)
                yield expression, fingerprint

    def _apply(self, name: str, sides: tuple[list[Expression], ...]) -> Iterator[Expression]:
        """Yields an operator on every combination of operands that the rules allow it."""
        operator, token_id, marks = OPERATORS[name], self._ids[name], self.grammar.marks
        combinations = product(*sides)
        while block := list(islice(combinations, _EXPRESSIONS_AT_ONCE)):
            self.untested -= len(block)
            unions = [_union(operands) for operands in block]
            legal = [i for i, union in enumerate(unions) if marks.allows(token_id, union)]
            if not legal:
                continue
            operand_values = [np.stack([block[i][side].values for i in legal]) for side in range(len(sides))]
            with np.errstate(all="ignore"):
                values = operator.value(NUMPY, *operand_values)
            for i, row in zip(legal, values, strict=True):
                tokens = (name, *chain.from_iterable(e.tokens for e in block[i]))
                # A view of the row would keep the whole block.
                yield Expression(tokens, row.copy(), marks.marks(token_id, unions[i]))


def _union(operands: Sequence[Expression]) -> int:
    union = 0
    for operand in operands:
        union |= operand.marks
    return union
