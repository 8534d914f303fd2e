"""Formulas made shorter before people read them: ``2 * x / 1`` is ``2 * x``.

Every rule holds for the operators as they are computed here, guards included, up to rounding and overflow. That is why
no computer algebra is used, and why no rule turns ``a / a`` into 1 or ``sqrt(a)**2`` into ``abs(a)``. Besides, each
step must keep the fingerprint.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rlsearch.formula.backends import NUMPY
from rlsearch.formula.formula import Formula
from rlsearch.formula.named import TITLES, applied
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.parsing import parse_tokens
from rlsearch.formula.printing import to_infix
from rlsearch.formula.tokens import Token, arity, is_input, number_text

MAX_SIMPLIFIED_SIZE = 64
"""The most tokens that a search may write. A longer formula is left as it is."""

Tree = Token | tuple[Any, ...]
"""A leaf, or an operator's name followed by its operands, which are trees."""

Bound = dict[str, Tree]
"""What the letters of a rule stand for."""

_NUMBERS = ("m", "n")
"""The letters of a rule that stand for a constant; any other stands for any part of a formula."""

# Each line is tried at every part of a formula.
_RULES_OF_ANY_ORDER = (
    # what does nothing
    ("x + 0", "x"),
    ("x - 0", "x"),
    ("x * 1", "x"),
    ("x / 1", "x"),
    ("max(x, x)", "x"),
    ("min(x, x)", "x"),
    ("max(x, max(x, y))", "max(x, y)"),
    ("min(x, min(x, y))", "min(x, y)"),
    ("max(x, relu(x))", "relu(x)"),
    ("min(x, min0(x))", "min0(x)"),
    ("relu(relu(x))", "relu(x)"),
    ("min0(min0(x))", "min0(x)"),
    ("x - x", "0"),
    ("x * 0", "0"),
    # signs
    ("--x", "x"),
    ("0 - x", "-x"),
    ("x * -1", "-x"),
    ("x / -1", "-x"),
    ("x - -y", "x + y"),
    ("x + -y", "x - y"),
    ("-(x - y)", "y - x"),
    ("-x * -y", "x * y"),
    ("-(n * x)", "(-n) * x"),
    ("n * -x", "(-n) * x"),
    ("-(x / n)", "x / -n"),
    ("-x / n", "x / -n"),
    ("-(n / x)", "(-n) / x"),
    ("x + n", "x - (-n)"),
    ("x - n", "x + (-n)"),
    ("-relu(-x)", "min0(x)"),
    ("-min0(-x)", "relu(x)"),
    ("-max(-x, -y)", "min(x, y)"),
    ("-min(-x, -y)", "max(x, y)"),
    ("max(x, -x)", "abs(x)"),
    ("min(x, -x)", "-abs(x)"),
    # constants that meet
    ("m + (n + x)", "x + (m + n)"),
    ("m + (n - x)", "(m + n) - x"),
    ("m + (x - n)", "x + (m - n)"),
    ("m - (n + x)", "(m - n) - x"),
    ("m - (n - x)", "x + (m - n)"),
    ("m - (x - n)", "(m + n) - x"),
    ("(n + x) - m", "x + (n - m)"),
    ("(n - x) - m", "(n - m) - x"),
    ("(x - n) - m", "x - (n + m)"),
    ("m * (n * x)", "(m * n) * x"),
    ("m * (x / n)", "(m / n) * x"),
    ("m * (n / x)", "(m * n) / x"),
    ("(n * x) / m", "(n / m) * x"),
    ("(x / n) / m", "x / (n * m)"),
    ("(n / x) / m", "(n / m) / x"),
    ("x / n", "(1 / n) * x"),
    # a shorter way to say it
    ("x * x", "x**2"),
    ("x * x**2", "x**3"),
    ("max(x, 0)", "relu(x)"),
    ("min(x, 0)", "min0(x)"),
    ("x * n", "n * x"),
    ("gate(n, x)", "sigmoid(n) * x"),
)


_EVEN = ("abs", "square", "cos", "cosh", "gauss", "sinc", "sqrt", "log")
_ODD = ("cube", "sin", "sinh", "tanh", "asinh", "atan", "erf", "softsign")
_NEVER_NEGATIVE = ("abs", "square", "sqrt", "exp", "cosh", "sigmoid", "softplus", "relu", "gauss", "hard_sigmoid")

_WORK = dict.fromkeys(OPERATORS, 4) | {
    **dict.fromkeys(("neg", "abs", "square", "relu", "min0", "add", "sub", "mul", "max", "min"), 1),
    **{"cube": 2, "div": 2, "gate": 5},
}
"""About what operators cost beside each other with every kernel; see ``kernels/latency.py`` for what is measured."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a part of a formula is replaced by.

    Attributes:
        pattern: The part.
        result: What stands for it.
        any_order: Whether the operands of a commutative operator may be swapped.
    """

    pattern: tuple[Any, ...]
    result: Tree
    any_order: bool = True


def simplified(formula: Formula) -> Formula:
    """The same function in fewer tokens or with less to compute, if one of the rules can be applied.

    Never more tokens, and never more operators to execute, than ``formula`` has. The result has the fingerprint and the
    inputs of ``formula``, and simplifying it again changes nothing.

    Example:
        >>> str(simplified(Formula.parse("tanh(max(x, x) - 2 + 2)**2 / 1")))
        'tanh(x)**2'
    """
    if formula.size > MAX_SIMPLIFIED_SIZE:
        return formula
    return _simplified(formula)


def shown(formula: Formula) -> str:
    """How people are shown a function that a search has found: its simplified spelling."""
    return str(simplified(formula))


def titled(formula: Formula) -> str:
    """How people are shown a function that others are compared with: its title, else as :func:`shown`."""
    titles = {Formula.parse(applied(name)): title for name, title in TITLES.items()}
    return titles.get(formula) or shown(formula)


@lru_cache(maxsize=4096)
def _simplified(formula: Formula) -> Formula:
    better = _better(formula)
    while better is not None:
        formula, better = better, _better(better)
    return formula


def _better(formula: Formula) -> Formula | None:
    """The first step from ``formula`` that makes it lighter; since each does, steps come to an end."""
    tree = _tree(formula.tokens)
    weight = _weight(formula, tree)
    for changed in _steps(tree):
        tokens = tuple(_tokens(changed))
        if not any(is_input(token) for token in tokens):
            continue
        candidate = Formula(tokens)
        new = _weight(candidate, changed)
        is_lighter = new < weight and new[1] <= weight[1]
        # Inputs are what a module is called with, even one that makes no difference.
        if is_lighter and candidate.arguments == formula.arguments and candidate.fingerprint == formula.fingerprint:
            return candidate
    return None


def _weight(formula: Formula, tree: Tree) -> tuple[int, int, int]:
    """Tokens, work, and parts in an order that people do not write: compared in this order."""
    work = sum(_WORK[instruction.operator.name] for instruction in formula.program.instructions)
    return formula.size, work, _unusual(tree)


def _unusual(tree: Tree) -> int:
    """How many constants stand behind their factor, or are added with a minus of their own."""
    if not isinstance(tree, tuple):
        return 0
    last = tree[-1]
    here = isinstance(last, float) and (tree[0] == "mul" or (tree[0] in ("add", "sub") and last < 0))
    return here + sum(_unusual(operand) for operand in tree[1:])


def _steps(tree: Tree) -> Iterator[Tree]:
    """Everything that one rule, applied to one part, makes of a formula; the outer parts first."""
    if not isinstance(tree, tuple):
        return
    for rule in _RULES.get(tree[0], ()):
        for bound in _matches(rule.pattern, tree, {}, rule.any_order):
            yield _filled(rule.result, bound)
    if (folded := _folded(tree)) is not tree:
        yield folded
    for place in range(1, len(tree)):
        for operand in _steps(tree[place]):
            yield (*tree[:place], operand, *tree[place + 1 :])


def _matches(pattern: Tree, tree: Tree, bound: Bound, any_order: bool) -> Iterator[Bound]:
    """What the letters of ``pattern`` may stand for, so that it is ``tree``."""
    if isinstance(pattern, str):
        if pattern in _NUMBERS and not isinstance(tree, float):
            return
        if bound.get(pattern, tree) == tree:
            yield {**bound, pattern: tree}
    elif isinstance(pattern, float):
        if tree == pattern:
            yield bound
    elif isinstance(tree, tuple) and tree[0] == pattern[0]:
        first, *rest = pattern[1:]
        orders = [tree[1:]]
        if any_order and OPERATORS[tree[0]].commutative:
            orders.append(tree[:0:-1])
        for operands in orders:
            for of_first in _matches(first, operands[0], bound, any_order):
                if rest:
                    yield from _matches(rest[0], operands[1], of_first, any_order)
                else:
                    yield of_first


def _filled(result: Tree, bound: Mapping[str, Tree]) -> Tree:
    """The result of a rule, with what its letters stand for."""
    if isinstance(result, tuple):
        return _folded((result[0], *(_filled(operand, bound) for operand in result[1:])))
    return bound[result] if isinstance(result, str) else result


def _folded(tree: tuple[Any, ...]) -> Tree:
    """The number that an operator makes of numbers, if it is no longer to write: 1 / 3 and tanh(2) stay as they are."""
    if not all(isinstance(operand, float) for operand in tree[1:]):
        return tree
    with np.errstate(all="ignore"):
        value = float(OPERATORS[tree[0]].value(NUMPY, *tree[1:])) + 0.0
    is_short = len(number_text(value)) <= len(to_infix(tree))
    return value if math.isfinite(value) and is_short else tree


def _tree(tokens: Sequence[Token]) -> Tree:
    stack: list[Tree] = []
    for token in reversed(tokens):
        operands = [stack.pop() for _ in range(arity(token))]
        stack.append((token, *operands) if operands else token)
    return stack[0]


def _tokens(tree: Tree) -> Iterator[Token]:
    if not isinstance(tree, tuple):
        yield tree
        return
    yield tree[0]
    for operand in tree[1:]:
        yield from _tokens(operand)


def _made_rules() -> dict[str, list[_Rule]]:
    """All rules, by the outermost operator of their pattern."""
    rules = []
    # An operator that is spelled out for people is read as several. These come first, so that what is shown is read
    # back to what it was. In this order alone: x * sigmoid(x) is shown as it was written.
    for operator in OPERATORS.values():
        if operator.readable != operator.infix:
            spelled_out = operator.readable.template.replace("<a>", "x").replace("<b>", "y")
            rules.append((spelled_out, f"{operator.name}({', '.join('xy'[: operator.arity])})", False))
    rules += [(pattern, result, True) for pattern, result in _RULES_OF_ANY_ORDER]
    for name in _EVEN:
        rules += [(f"{name}({same})", f"{name}(x)", True) for same in ("-x", "abs(x)")]
    for name in _ODD:
        rules += [
            (f"-{name}(-x)", f"{name}(x)", True),
            (f"y + {name}(-x)", f"y - {name}(x)", True),
            (f"y - {name}(-x)", f"y + {name}(x)", True),
        ]
    for name in _NEVER_NEGATIVE:
        rules += [(f"{same}({name}(x))", f"{name}(x)", True) for same in ("abs", "relu")]

    by_operator: dict[str, list[_Rule]] = {}
    for text, result, any_order in rules:
        pattern = _tree(parse_tokens(text))
        assert isinstance(pattern, tuple)
        rule = _Rule(pattern, _tree(parse_tokens(result)), any_order)
        by_operator.setdefault(pattern[0], []).append(rule)
    return by_operator


_RULES = _made_rules()
