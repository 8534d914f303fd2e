"""Formulas of tiny grammars: by legal walks, and by enumerating trees."""

import itertools
import math

import numpy as np

from rlsearch.formula import OPERATORS, PAD, Formula, FormulaBuilder
from rlsearch.formula.rules import ForbidConstantSubexpressions, ForbidInversePairs, ForbidNestedPeriodic

ARITY = {name: operator.arity for name, operator in OPERATORS.items()}


# Those that ``allowed`` below judges by looking at trees; the others are in tests/search/mining/test_rules.py.
THREE_RULES = (ForbidInversePairs(), ForbidNestedPeriodic(), ForbidConstantSubexpressions())
SUBSETS = [tuple(itertools.compress(THREE_RULES, on)) for on in itertools.product((False, True), repeat=3)]


def replayed(grammar, sequences):
    """A builder with one row per sequence of ids, all of one length."""
    builder = FormulaBuilder(grammar, len(sequences))
    for step in zip(*sequences, strict=True):
        builder.advance(np.array(step))
    return builder


def walk(grammar):
    """All formulas that legal walks end in. Fails on a reachable state without a legal token."""
    found, prefixes = [], [()]
    for _ in range(grammar.max_length):
        masks = replayed(grammar, prefixes).mask() if prefixes[0] else FormulaBuilder(grammar, 1).mask()
        assert masks.any(axis=1).all(), "a reachable state has no legal token"
        assert not masks[:, PAD].any()
        prefixes = [(*p, int(i)) for p, mask in zip(prefixes, masks, strict=True) for i in np.flatnonzero(mask)]
        builder = replayed(grammar, prefixes)
        found += [builder.formula(row) for row in np.flatnonzero(builder.finished)]
        prefixes = [p for p, finished in zip(prefixes, builder.finished, strict=True) if not finished]
        if not prefixes:
            return found
    raise AssertionError(f"unfinished at the maximum length: {prefixes[0]}")


def n_prefix_sequences(unary, binary, inputs, constants, length):
    """Number of formulas of ``length`` tokens that contain an input, from the numbers of tokens of each kind.

    With u unary and b binary operators there are b + 1 leaves, so length = u + 2b + 1. Without the unary operators
    the tree is one of Catalan(b) binary trees with 2b + 1 nodes; read in prefix order, the u unary operators stand in
    any of the u + 2b places but the last (a sequence ends in a leaf), which makes comb(u + 2b, u) ways.
    """
    total = 0
    for b in range((length - 1) // 2 + 1):
        u = length - 1 - 2 * b
        shapes = math.comb(u + 2 * b, u) * math.comb(2 * b, b) // (b + 1)
        leaves = (inputs + constants) ** (b + 1) - constants ** (b + 1)
        total += shapes * unary**u * binary**b * leaves
    return total


def trees(vocabulary, size):
    """All expression trees with ``size`` nodes, as nested tuples."""
    if size == 1:
        yield from ((t,) for t in (*vocabulary.inputs, *vocabulary.constants))
        return
    for name in vocabulary.operators:
        if ARITY[name] == 1:
            yield from ((name, a) for a in trees(vocabulary, size - 1))
        else:
            for left in range(1, size - 1):
                for a in trees(vocabulary, left):
                    yield from ((name, a, b) for b in trees(vocabulary, size - 1 - left))


def flat(tree):
    return (tree[0], *(token for operand in tree[1:] for token in flat(operand)))


INVERSES = {frozenset(p) for p in (("exp", "log"), ("square", "sqrt"), ("sinh", "asinh"), ("neg",))}


def has_inverse_pair(tree):
    return any(frozenset((tree[0], a[0])) in INVERSES or has_inverse_pair(a) for a in tree[1:])


def has_nested_periodic(tree, inside=False):
    periodic = tree[0] in ("sin", "cos")
    return (inside and periodic) or any(has_nested_periodic(a, inside or periodic) for a in tree[1:])


def has_constant_subexpression(tree, inputs):
    """An operator on constants alone, of whatever size."""
    if len(tree) == 1:
        return False
    return not set(flat(tree)) & set(inputs) or any(has_constant_subexpression(a, inputs) for a in tree[1:])


def allowed(grammar):
    """The formulas that the rules allow, by enumerating all trees and judging each as a whole."""
    for size in range(grammar.min_length, grammar.max_length + 1):
        for tree in trees(grammar.vocabulary, size):
            tokens = flat(tree)
            if (
                any(t in grammar.vocabulary.inputs for t in tokens)
                and not (ForbidInversePairs() in grammar.rules and has_inverse_pair(tree))
                and not (ForbidNestedPeriodic() in grammar.rules and has_nested_periodic(tree))
                and not (
                    ForbidConstantSubexpressions() in grammar.rules
                    and has_constant_subexpression(tree, grammar.vocabulary.inputs)
                )
            ):
                yield Formula(tokens)
