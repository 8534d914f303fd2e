"""Every function that a grammar can write, or of a form, each once: what exhaustive search proposes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import OPERATORS, Formula, Grammar
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.formula import fingerprint_grid, fingerprint_of
from rlsearch.formula.template import WILDCARDS, check_form, form_arities
from rlsearch.formula.tokens import Token

_BLOCK = 512  # expressions whose values are computed together: half a megabyte


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A subexpression, with what the grammar's rules can see of it.

    Attributes:
        tokens: In prefix order.
        values: On the fingerprint's grid, shape ``[GRID_POINTS]``.
        has_input: Whether an input occurs in it.
        has_periodic: Whether a periodic operator occurs in it.
    """

    tokens: tuple[Token, ...]
    values: NDArray[np.float64]
    has_input: bool
    has_periodic: bool


class Enumeration:
    """Every function that a grammar can write, each once, in a shortest spelling, in order of size.

    What an operator makes of a function does not depend on how that function is spelled. So of all expressions that
    have the same values, and that the grammar's rules cannot tell apart, only the first is built on. No function is
    lost by it, and the work is that of the functions, which are far fewer than the spellings.

    Args:
        grammar: What can be written. Functions with a spelling shorter than its ``min_length`` are built on but not
            yielded.
        template: A form in prefix order: names of operators and inputs, ``unary`` for any operator of one operand or
            none at all, ``binary`` for any of two, ``leaf`` for any input or constant. None for every form. With a
            template the grammar's lengths do not matter, and the order is that of the operators.

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
        grids = {name: fingerprint_grid(name) for name in vocabulary.inputs}
        self._leaves = [Expression((name,), grid, True, False) for name, grid in grids.items()]
        points = len(self._leaves[0].values)
        self._leaves += [Expression((c,), np.full(points, c), False, False) for c in vocabulary.constants]
        self._arities = form_arities(vocabulary)
        if template is not None:
            check_form(template, vocabulary)

    def __iter__(self) -> Iterator[Formula]:
        """Yields the formulas."""
        found: set[str] = set()
        for expression, fingerprint in self._by_size() if self.template is None else self._by_template(self.template):
            if expression.has_input and fingerprint not in found:
                found.add(fingerprint)
                if self.template is not None or len(expression.tokens) >= self.grammar.min_length:
                    yield Formula(expression.tokens)

    def _by_size(self) -> Iterator[tuple[Expression, str]]:
        longest = self.grammar.max_length
        of_size: list[list[Expression]] = [[] for _ in range(longest + 1)]
        seen: set[tuple[object, ...]] = set()
        for self.size in range(1, longest + 1):
            inner = self.size - 1
            operands = [(of_size[inner],), *((of_size[left], of_size[inner - left]) for left in range(1, inner))]
            self.untested = sum(len(self._operators[len(sides)]) * prod(map(len, sides)) for sides in operands)
            grown = (e for sides in operands for name in self._operators[len(sides)] for e in self._apply(name, sides))
            for expression, fingerprint in self._distinct(self._leaves if self.size == 1 else grown, seen):
                if self.size < longest:
                    of_size[self.size].append(expression)
                yield expression, fingerprint

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
        self, expressions: Iterable[Expression], seen: set[tuple[object, ...]]
    ) -> Iterator[tuple[Expression, str]]:
        """Yields the expressions that are new to ``seen``, with their fingerprints."""
        inverses = {OPERATORS[name].inverse for name in self.grammar.vocabulary.operators}
        for expression in expressions:
            fingerprint = fingerprint_of(expression.values)
            root = expression.tokens[0] if self.grammar.forbid_inverse_pairs else None
            key = (fingerprint, expression.has_input, expression.has_periodic, root if root in inverses else None)
            if key not in seen:
                seen.add(key)
                yield expression, fingerprint

    def _apply(self, name: str, sides: tuple[list[Expression], ...]) -> Iterator[Expression]:
        """Yields an operator on every combination of operands that the rules allow it."""
        operator = OPERATORS[name]
        combinations = product(*sides)
        while block := list(islice(combinations, _BLOCK)):
            self.untested -= len(block)
            legal = [operands for operands in block if self._is_legal(name, operands)]
            if not legal:
                continue
            with np.errstate(all="ignore"):
                values = operator.value(
                    NUMPY, *(np.stack([e.values for e in side]) for side in zip(*legal, strict=True))
                )
            for operands, row in zip(legal, values, strict=True):
                yield Expression(
                    (name, *(token for e in operands for token in e.tokens)),
                    row.copy(),  # a view would keep the whole block
                    any(e.has_input for e in operands),
                    operator.periodic or any(e.has_periodic for e in operands),
                )

    def _is_legal(self, name: str, operands: tuple[Expression, ...]) -> bool:
        grammar, operator = self.grammar, OPERATORS[name]
        if grammar.forbid_constant_subexpressions and not any(e.has_input for e in operands):
            return False
        if grammar.forbid_nested_periodic and operator.periodic and any(e.has_periodic for e in operands):
            return False
        return not (grammar.forbid_inverse_pairs and any(e.tokens[0] == operator.inverse for e in operands))
