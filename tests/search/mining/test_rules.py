"""A rule is read alike by the mask, by enumeration and by mining: rules from outside, and golden values of our own."""

import hashlib
from dataclasses import dataclass
from itertools import compress, product

import numpy as np
import pytest

from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Grammar, Vocabulary
from rlsearch.formula.rules import (
    ALL_RULES,
    RULES,
    ForbidConstantSubexpressions,
    ForbidInversePairs,
    ForbidNestedPeriodic,
    Mark,
)
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.enumeration import Enumeration
from rlsearch.search.random import random_ids

pytest.importorskip("numba")
from rlsearch.search.mining.engine import mine

COSTS = LatencyCosts("a test's", 0.5, {name: 0.25 + 0.01 * i for i, name in enumerate(OPERATORS)})
SCREENING = ScreeningSettings()


@dataclass(frozen=True)
class NeverTwiceInARow:
    """No operator directly inside itself: a mark of the root for each operator."""

    def marks(self, vocabulary):
        for name in vocabulary.operators:
            yield Mark(frozenset({name}), refused_by=frozenset({name}))

    def is_broken_by(self, tree):
        return tree[0] in OPERATORS and any(operand[0] == tree[0] for operand in tree[1:])


@dataclass(frozen=True)
class NoTanhUnderMul:
    """At any depth: an inherited mark, set by one operator and refused by another."""

    def marks(self, vocabulary):
        yield Mark(frozenset({"tanh"}), inherited=True, refused_by=frozenset({"mul"}))

    def is_broken_by(self, tree):
        return tree[0] == "mul" and "tanh" in flat(tree)


@dataclass(frozen=True)
class NoConstantAddend:
    """A mark of the root that leaves set."""

    def marks(self, vocabulary):
        yield Mark(frozenset(vocabulary.constants), refused_by=frozenset({"add"}))

    def is_broken_by(self, tree):
        return tree[0] == "add" and any(isinstance(operand[0], float) for operand in tree[1:])


@dataclass(frozen=True)
class MulIsGated:
    """A mark other than that of an input, which one operator needs."""

    def marks(self, vocabulary):
        yield Mark(frozenset({"g"}), inherited=True, needed_by=frozenset({"mul"}))

    def is_broken_by(self, tree):
        return tree[0] == "mul" and "g" not in flat(tree)


OUTSIDE = [NeverTwiceInARow(), NoTanhUnderMul(), NoConstantAddend(), MulIsGated()]


def trees(vocabulary, size):
    if size == 1:
        yield from ((leaf,) for leaf in (*vocabulary.inputs, *vocabulary.constants))
        return
    for name in vocabulary.operators:
        if OPERATORS[name].arity == 1:
            yield from ((name, operand) for operand in trees(vocabulary, size - 1))
            continue
        for left in range(1, size - 1):
            for a in trees(vocabulary, left):
                yield from ((name, a, b) for b in trees(vocabulary, size - 1 - left))


def flat(tree):
    tokens = [tree[0]]
    for operand in tree[1:]:
        tokens += flat(operand)
    return tokens


def heads_of_operands(tree):
    return [operand[0] for operand in tree[1:]]


def below(tree):
    return [token for operand in tree[1:] for token in flat(operand)]


# What breaks a rule of the table at the root of a tree, without marks. Every rule has its line here.
BROKEN_BY = {
    "forbid_inverse_pairs": lambda tree: (
        OPERATORS[tree[0]].inverse is not None and OPERATORS[tree[0]].inverse in heads_of_operands(tree)
    ),
    "forbid_nested_periodic": lambda tree: (
        OPERATORS[tree[0]].periodic and any(OPERATORS[t].periodic for t in below(tree) if t in OPERATORS)
    ),
    "forbid_constant_subexpressions": lambda tree: not {"x", "g"} & set(below(tree)),
}


def is_broken_by(rule, tree):
    for name, ours in RULES.items():
        if ours == rule:
            return tree[0] in OPERATORS and BROKEN_BY[name](tree)
    return rule.is_broken_by(tree)


def is_legal(tree, rules):
    """By looking at the tree as a whole, without marks."""
    if any(is_broken_by(rule, tree) for rule in rules):
        return False
    return all(is_legal(operand, rules) for operand in tree[1:])


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_of_the_table_is_obeyed_everywhere(rule):
    """By the mask, enumeration and mining alike; each forbids something of this vocabulary."""
    # No function of it is split by rounding.
    vocabulary = Vocabulary(("neg", "cos", "mul"), ("x",), (2.0,))
    assert check_everywhere(Grammar(vocabulary, 1, 5, (rule,)))


@pytest.mark.parametrize("inputs", [("x",), ("x", "g")], ids=str)
@pytest.mark.parametrize(
    "rules",
    [tuple(compress(OUTSIDE, on)) for on in product((False, True), repeat=4) if sum(on) in (1, 2, 4)],
    ids=lambda rules: "+".join(type(rule).__name__ for rule in rules),
)
def test_rules_from_outside_are_obeyed_everywhere(rules, inputs):
    # Without a g nothing can pay what MulIsGated asks for.
    rules = tuple(rule for rule in rules if inputs == ("x", "g") or rule != MulIsGated())
    vocabulary = Vocabulary(("tanh", "add", "mul"), inputs, (2.0,))
    if MulIsGated() in rules:
        with pytest.raises(ConfigError, match=r"none of the inputs \('x',\) may stand everywhere"):
            Grammar(Vocabulary(("tanh", "mul"), ("x",)), 1, 4, rules)
    check_everywhere(Grammar(vocabulary, 1, 5 if len(inputs) == 1 else 4, rules))


def check_everywhere(grammar):
    """Compares mask, enumeration and mining with brute force; returns how many formulas the rules forbid."""
    vocabulary, rules = grammar.vocabulary, grammar.rules
    inputs = vocabulary.inputs
    legal, tried, forbidden = {}, 0, 0
    ids = {token: i for i, token in enumerate(vocabulary.tokens, start=1)}
    for size in range(1, grammar.max_length + 1):
        for tree in trees(vocabulary, size):
            tokens = flat(tree)
            row = [ids[token] for token in tokens]
            allowed = is_legal(tree, rules) and not set(inputs).isdisjoint(tokens)
            assert grammar.allows([row])[0] == allowed, tokens
            tried += 1
            forbidden += not is_legal(tree, rules)
            if allowed:
                formula = vocabulary.decode(row)
                legal.setdefault(formula.fingerprint, formula)
    assert tried > len(legal) > 10

    enumerated = {formula.fingerprint: formula for formula in Enumeration(grammar)}
    assert enumerated.keys() == legal.keys()
    assert all(enumerated[key].size == legal[key].size for key in legal)
    if len(inputs) == 1:
        mined = mine(grammar, None, SCREENING, COSTS, 10**6)
        assert mined.unique == len(legal)
        fit = {key for key, formula in legal.items() if not why_unfit(formula, SCREENING)}
        assert {formula.fingerprint for formula in mined.formulas} == fit
        assert grammar.allows([vocabulary.encode(formula).tolist() for formula in mined.formulas]).all()
    return forbidden


def test_a_least_length_never_ends_in_a_dead_end():
    """Random walks through the mask, with every rule at once; a mask without a legal token would raise."""
    vocabulary = Vocabulary(("tanh", "neg", "add", "mul", "max"), ("x", "g"), (2.0,))
    rules = (*OUTSIDE[1:], *ALL_RULES)
    for least in (1, 4, 9):
        grammar = Grammar(vocabulary, least, 10, rules)
        rows = random_ids(grammar, 300, np.random.default_rng(0))
        assert ((rows > 0).sum(axis=1) >= least).all()
        assert grammar.allows([list(filter(None, row)) for row in rows.tolist()]).all()


@dataclass(frozen=True)
class Broken:
    """A rule of given marks."""

    made: tuple

    def marks(self, vocabulary):
        return self.made


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([Mark(frozenset({"x"}), needed_by=frozenset({"mul"}))], "is needed, but not inherited"),
        ([Mark(frozenset({"x"}), refused_by=frozenset({"mul"}))], "none of the inputs"),
        ([Mark(frozenset({"x", i}), refused_by=frozenset({"mul"})) for i in range(70)], "71 marks; at most 62"),
    ],
)
def test_rules_that_no_grammar_can_keep(marks, message):
    with pytest.raises(ConfigError, match=message):
        Grammar(Vocabulary(("mul",), ("x",)), 1, 5, (Broken(tuple(marks)),))


def test_mining_has_room_for_seven_inherited_marks():
    names = ("neg", "tanh", "sin", "exp", "abs", "erf", "relu", "add")
    marks = [Mark(frozenset({name}), inherited=True, refused_by=frozenset({name})) for name in names]
    vocabulary = Vocabulary((*names, "mul"))
    mined = mine(Grammar(vocabulary, 1, 3, (Broken(tuple(marks[:6])),)), None, SCREENING, COSTS, 10)
    assert mined.complete
    with pytest.raises(ConfigError, match="room for 7 inherited marks; the grammar's rules look at 8"):
        mine(Grammar(vocabulary, 1, 3, (Broken(tuple(marks[:7])),)), None, SCREENING, COSTS, 10)


THREE_RULES = (ForbidInversePairs(), ForbidNestedPeriodic(), ForbidConstantSubexpressions())

# Functions and digests of their spellings in order, found when the three rules were still written out in each search.
# None of these vocabularies has functions that rounding splits.
GOLDEN = {
    ("trig", "000", None): (80, "d1d3ae01ed55c7fe", 204, 80, 71, "9be415422612eccc"),
    ("trig", "000", "unary binary unary leaf leaf"): (15, "3dfc63a25e7307f9", 36, 15, 15, "7fcd6c5d079f64d9"),
    ("trig", "100", None): (80, "d1d3ae01ed55c7fe", 209, 80, 71, "2723d3036887a0bf"),
    ("trig", "100", "unary binary unary leaf leaf"): (15, "3dfc63a25e7307f9", 36, 15, 15, "7fcd6c5d079f64d9"),
    ("trig", "010", None): (41, "c5dc41f1f52c43ad", 121, 41, 32, "e23da0753a7734b4"),
    ("trig", "010", "unary binary unary leaf leaf"): (12, "0128963e4444a361", 32, 12, 12, "8c5df3982ffd0a2f"),
    ("trig", "001", None): (63, "f1f267f111d7abae", 104, 63, 54, "88117d274bc1ca26"),
    ("trig", "001", "unary binary unary leaf leaf"): (12, "9c579f08cf635eaa", 21, 12, 12, "885141a95bc7982f"),
    ("trig", "111", None): (34, "822254d8ca3e1df5", 67, 34, 25, "b49a66f0e64a0ce1"),
    ("trig", "111", "unary binary unary leaf leaf"): (10, "b629daa537901a20", 19, 10, 10, "ae65380764743835"),
    ("roots", "000", None): (160, "6faed455600d5d40", 260, 159, 118, "cac8716c9c04a490"),
    ("roots", "000", "unary binary unary leaf leaf"): (24, "c202e7e7d86a2631", 38, 24, 20, "741a38193c46d1ba"),
    ("roots", "100", None): (139, "ae717ee648ec24a9", 210, 139, 101, "9165cea8c406e2b9"),
    ("roots", "100", "unary binary unary leaf leaf"): (24, "c202e7e7d86a2631", 38, 24, 20, "741a38193c46d1ba"),
    ("roots", "010", None): (160, "6faed455600d5d40", 260, 159, 118, "cac8716c9c04a490"),
    ("roots", "010", "unary binary unary leaf leaf"): (24, "c202e7e7d86a2631", 38, 24, 20, "741a38193c46d1ba"),
    ("roots", "001", None): (114, "bd4db50e3e569b59", 144, 113, 78, "397e61237e0173f1"),
    ("roots", "001", "unary binary unary leaf leaf"): (18, "3702020e5d38c35d", 21, 18, 14, "fdc43d89fa23ccb9"),
    ("roots", "111", None): (97, "74635a441e8def00", 104, 97, 65, "2b11f73e13d73477"),
    ("roots", "111", "unary binary unary leaf leaf"): (18, "3702020e5d38c35d", 21, 18, 14, "fdc43d89fa23ccb9"),
}


def digest(formulas):
    return hashlib.blake2b("\n".join(formula.spelling for formula in formulas).encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize(("case", "expected"), GOLDEN.items(), ids=lambda case: str(case[:2]))
def test_order_and_functions_are_as_before(case, expected):
    name, switches, template = case
    operators, constant, longest = {"trig": ("neg cos mul", 2.0, 6), "roots": ("square sqrt add", 0.5, 6)}[name]
    rules = tuple(rule for rule, switch in zip(THREE_RULES, switches, strict=True) if switch == "1")
    grammar = Grammar(Vocabulary(tuple(operators.split()), ("x",), (constant,)), 1, longest, rules)
    form = template.split() if template else None
    formulas = list(Enumeration(grammar, form))
    mined = mine(grammar, form, SCREENING, COSTS, 10**6)
    assert (len(formulas), digest(formulas), mined.tested, mined.unique, mined.fit, digest(mined.formulas)) == expected


def test_a_constant_that_equals_a_function_is_not_taken_for_one():
    """x / x is 1 on the grid of the keys, and fit for what it is at 0; so the constant exp(log(1) - 1) has the key of a
    fit function.
    """
    language = Grammar(Vocabulary(("exp", "log", "gauss", "sub", "div"), ("x",), (1.0,)), 1, 5, ALL_RULES[:1])
    mined = mine(language, ["unary", "binary", "unary", "leaf", "leaf"], SCREENING, COSTS, 10**6)
    assert mined.complete
    assert all("x" in formula.tokens for formula in mined.formulas)
