"""The grammar, mostly by exhaustive enumeration on tiny vocabularies."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from rlsearch.errors import ConfigError, FormulaError
from rlsearch.formula import OPERATORS, PAD, Formula, FormulaBuilder, Grammar, Vocabulary
from rlsearch.formula.rules import ForbidConstantSubexpressions, ForbidInversePairs, ForbidNestedPeriodic

POOL = ("neg", "exp", "log", "sin", "cos", "add")
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


@pytest.mark.parametrize(
    ("operators", "inputs", "constants", "max_length"),
    [
        ((), ("x",), (), 3),
        (("neg",), ("x",), (), 6),
        (("add",), ("x",), (), 7),
        (("add",), ("x",), (1.0,), 7),
        (("add", "mul"), ("x", "g"), (1.0,), 5),
        (("neg", "sin", "add"), ("x",), (), 6),
        (("neg", "sin", "exp", "add", "mul"), ("x", "g"), (1.0, 2.0), 4),
        (("neg", "add"), ("x",), (1.0, 2.0, 3.0), 6),
    ],
)
def test_count_equals_the_closed_form(operators, inputs, constants, max_length):
    found = walk(Grammar(Vocabulary(operators, inputs, constants), 1, max_length))
    assert len(set(found)) == len(found)
    arities = [ARITY[o] for o in operators]
    for length in range(1, max_length + 1):
        expected = n_prefix_sequences(arities.count(1), arities.count(2), len(inputs), len(constants), length)
        assert sum(f.size == length for f in found) == expected


def test_the_closed_form_by_hand():
    # One unary, one binary, one input: 1; ux; uux, bxx; uuux, ubxx, buxx, bxux: Motzkin numbers 1 1 2 4 9.
    assert [n_prefix_sequences(1, 1, 1, 0, n) for n in range(1, 6)] == [1, 1, 2, 4, 9]
    # b with leaves x and 1: xx, x1, 1x but not 11.
    assert n_prefix_sequences(0, 1, 1, 1, 3) == 3


@pytest.mark.parametrize("min_length", [1, 2, 3, 4, 5])
def test_lengths_are_honoured(min_length):
    vocabulary = Vocabulary(("neg", "add"), ("x",), (1.0,))
    for max_length in range(min_length, 6):
        grammar = Grammar(vocabulary, min_length, max_length)
        assert sorted(map(str, walk(grammar))) == sorted(map(str, allowed(grammar)))
        assert {f.size for f in allowed(grammar)} == set(range(min_length, max_length + 1))


def tiny_vocabularies():
    for n in range(4):
        for operators in itertools.combinations(POOL, n):
            for inputs, constants in ((("x",), ()), (("x",), (1.0,)), (("x", "g"), ())):
                yield Vocabulary(operators, inputs, constants)


def test_the_optional_rules_leave_exactly_what_they_allow():
    """With no least length the grammar's set is that of brute force, on every tiny vocabulary."""
    n_checked = 0
    for vocabulary in tiny_vocabularies():
        for rules in SUBSETS:
            grammar = Grammar(vocabulary, 1, 4, rules)
            found, expected = walk(grammar), list(allowed(grammar))
            assert len(found) == len(set(found))
            assert set(found) == set(expected), grammar
            n_checked += 1
    assert n_checked == (1 + 6 + 15 + 20) * 3 * 8


def test_no_reachable_state_is_a_dead_end():
    """``walk`` fails on one. With a least length the rules may cost formulas, but what is found is allowed."""
    n_grammars = n_refused = n_complete = 0
    for vocabulary in tiny_vocabularies():
        for rules in ((), THREE_RULES):
            for min_length, max_length in ((2, 2), (3, 3), (3, 4), (4, 4), (4, 5)):
                if len(vocabulary.operators) == 3 and max_length == 5 and len(vocabulary) > 4:
                    continue  # thousands of formulas each
                try:
                    grammar = Grammar(vocabulary, min_length, max_length, rules)
                except ConfigError:
                    n_refused += 1
                    if not rules:
                        unary, binary = (any(ARITY[o] == n for o in vocabulary.operators) for n in (1, 2))
                        assert not any(
                            n_prefix_sequences(unary, binary, 1, 0, n) for n in range(min_length, max_length + 1)
                        )
                    continue
                found, expected = set(walk(grammar)), set(allowed(grammar))
                assert found
                assert found <= expected
                if not rules:
                    assert found == expected
                n_grammars += 1
                n_complete += found == expected
    assert n_grammars > 500
    assert n_refused > 100
    assert n_complete > 0.9 * n_grammars


@pytest.mark.parametrize("name", sorted({o for pair in INVERSES for o in pair}))
def test_every_inverse_pair_is_forbidden_both_ways(name):
    inverse = OPERATORS[name].inverse
    vocabulary = Vocabulary(tuple(dict.fromkeys((name, inverse, "tanh"))))
    texts = {str(f) for f in walk(Grammar(vocabulary, 1, 4, rules=(ForbidInversePairs(),)))}
    assert str(Formula((name, inverse, "x"))) not in texts
    assert str(Formula((inverse, name, "x"))) not in texts
    assert str(Formula((name, "tanh", inverse, "x"))) in texts
    assert str(Formula((name, inverse, "x"))) in {str(f) for f in walk(Grammar(vocabulary, 1, 4))}


def test_periodic_operators_are_forbidden_at_any_depth_but_not_beside():
    vocabulary = Vocabulary(("sin", "cos", "neg", "add"))
    found = set(walk(Grammar(vocabulary, 1, 6, rules=(ForbidNestedPeriodic(),))))
    assert Formula(("sin", "neg", "add", "x", "neg", "x")) in found
    assert Formula(("add", "sin", "neg", "x", "cos", "x")) in found  # beside, after leaving the first operand
    assert Formula(("sin", "add", "x", "cos", "x")) not in found
    assert Formula(("cos", "neg", "sin", "x")) not in found


def test_operators_on_constants_alone_are_forbidden():
    vocabulary = Vocabulary(("sin", "add"), ("x",), (1.0, 2.0))
    found = {str(f) for f in walk(Grammar(vocabulary, 1, 5, rules=(ForbidConstantSubexpressions(),)))}
    assert not found & {"x + sin(1)", "sin(1) + x", "x + (1 + 2)", "1 + 2 + x", "x + sin(sin(1))"}
    assert found >= {"x + 1", "1 + x", "1 + sin(x)", "sin(x) + 1", "1 + (2 + x)", "sin(1 + x)", "x + x + 1"}


@pytest.mark.parametrize(
    ("vocabulary", "arguments", "message"),
    [
        (Vocabulary(("neg",)), (0, 5), "expected 1 <= min_length <= max_length, got 0 and 5"),
        (Vocabulary(("neg",)), (4, 3), "got 4 and 3"),
        (Vocabulary(()), (2, 9), "no formula of 2 to 9 tokens can be made of"),
        (Vocabulary(("add",)), (2, 2), "no formula of 2 to 2"),
        (Vocabulary(("add",)), (4, 4), "no formula of 4 to 4"),
        (Vocabulary(("neg",)), (3, 9, THREE_RULES[:1]), "add an operator that no optional rule restricts"),
        (Vocabulary(("sin", "cos")), (3, 9, THREE_RULES[1:2]), "shorten min_length"),
    ],
)
def test_impossible_vocabularies(vocabulary, arguments, message):
    with pytest.raises(ConfigError, match=message):
        Grammar(vocabulary, *arguments)


def test_frozen():
    grammar = Grammar(Vocabulary(("add",)))
    assert (grammar.min_length, grammar.max_length) == (1, 15)
    with pytest.raises(dataclasses.FrozenInstanceError):
        grammar.max_length = 3
    assert grammar == Grammar(Vocabulary(("add",)))
    assert hash(grammar) == hash(Grammar(Vocabulary(("add",))))
    assert grammar != Grammar(Vocabulary(("add",)), rules=(ForbidInversePairs(),))


# --- the builder ---

LARGE = Grammar(Vocabulary(tuple(OPERATORS), ("x", "g"), (0.5, 1.0)), 3, 15, THREE_RULES)


def random_walk(builder, rng):
    """Takes uniformly random legal tokens to the end; returns what was seen before every step."""
    seen = []
    while not builder.finished.all():
        mask = builder.mask()
        assert mask.any(axis=1).all()
        seen.append((mask, builder.parent.copy(), builder.sibling.copy(), builder.open_slots.copy()))
        builder.advance(np.where(mask, rng.random(mask.shape), -1).argmax(axis=1))
    return seen


def annotated(tokens):
    """Parent and sibling of every token from an explicit tree, by recursion. ``None`` where there is none."""
    rest, result = iter(tokens), []

    def grow(parent, sibling):
        token = next(rest)
        result.append((parent, sibling))
        before = None
        for _ in range(ARITY.get(token, 0)):
            before = grow(token, before)
        return token

    grow(None, None)
    return result


def test_random_walks_end_in_formulas():
    builder = FormulaBuilder(LARGE, 2000)
    random_walk(builder, np.random.default_rng(0))
    formulas = [builder.formula(row) for row in range(2000)]
    assert {f.size for f in formulas} == set(range(3, 16))
    np.testing.assert_array_equal(builder.length, [f.size for f in formulas])
    for f in formulas:
        assert f.inputs
        tree = to_tree(f.tokens)
        assert not has_inverse_pair(tree)
        assert not has_nested_periodic(tree)
        assert not has_constant_subexpression(tree, f.inputs)


def to_tree(tokens):
    rest = iter(tokens)

    def grow():
        token = next(rest)
        return (token, *[grow() for _ in range(ARITY.get(token, 0))])

    return grow()


def test_parent_sibling_and_open_slots_are_the_trees():
    builder = FormulaBuilder(LARGE, 500)
    seen = random_walk(builder, np.random.default_rng(1))
    ids = {token: i for i, token in enumerate(LARGE.vocabulary.tokens, start=1)} | {None: PAD}
    for row in range(500):
        tokens = builder.formula(row).tokens
        open_slots = 1
        for step, (parent, sibling) in enumerate(annotated(tokens)):
            _, parents, siblings, slots = seen[step]
            assert (parents[row], siblings[row]) == (ids[parent], ids[sibling]), (tokens, step)
            assert slots[row] == open_slots
            open_slots += ARITY.get(tokens[step], 0) - 1
        for _, parents, siblings, slots in seen[len(tokens) :]:
            assert (parents[row], siblings[row], slots[row]) == (PAD, PAD, 0)


def test_parent_and_sibling_by_hand():
    """add, sigmoid, x, mul, g, 1: the second operand's sibling is the first one's outermost token."""
    vocabulary = Vocabulary(("add", "sigmoid", "mul"), ("x", "g"), (1.0,))  # ids 1, 2, 3, 4, 5, 6
    builder, seen = FormulaBuilder(Grammar(vocabulary), 1), []
    for token in (1, 2, 4, 3, 5, 6):
        seen.append((builder.parent.item(), builder.sibling.item(), builder.open_slots.item()))
        builder.advance(np.array([token]))
    assert seen == [(0, 0, 1), (1, 0, 2), (2, 0, 2), (1, 2, 1), (3, 0, 2), (3, 5, 1)]
    assert builder.finished.item()


def test_rows_are_independent():
    builder = FormulaBuilder(LARGE, 60)
    seen = random_walk(builder, np.random.default_rng(2))
    for row in range(60):
        alone = FormulaBuilder(LARGE, 1)
        for step, (mask, parent, sibling, slots) in enumerate(seen):
            np.testing.assert_array_equal(alone.mask()[0], mask[row])
            assert (alone.parent[0], alone.sibling[0], alone.open_slots[0]) == (parent[row], sibling[row], slots[row])
            alone.advance(builder.tokens[row, step : step + 1])
        np.testing.assert_array_equal(alone.tokens[0], builder.tokens[row])


def test_complete_rows_take_padding_only():
    builder = FormulaBuilder(Grammar(Vocabulary(("neg", "add"))), 2)  # ids: neg 1, add 2, x 3
    builder.advance(np.array([3, 1]))
    assert builder.finished.tolist() == [True, False]
    assert builder.mask().tolist() == [[True, False, False, False], [False, True, True, True]]
    builder.advance(np.array([PAD, 3]))
    builder.advance(np.array([PAD, PAD]))
    assert builder.length.tolist() == [1, 2]
    assert builder.tokens[:, :3].tolist() == [[3, 0, 0], [1, 3, 0]]
    assert [str(builder.formula(row)) for row in (0, 1)] == ["x", "-x"]
    assert builder.tokens.shape == (2, 15)


def test_the_last_open_slot_brings_the_input():
    vocabulary = Vocabulary(("add",), ("x", "g"), (1.0,))  # ids: add 1, x 2, g 3, 1.0 4
    builder = FormulaBuilder(Grammar(vocabulary, 1, 3), 3)
    assert builder.mask()[0].tolist() == [False, True, True, True, False]  # no constant alone
    builder.advance(np.array([1, 1, 1]))
    assert builder.mask()[0].tolist() == [False, False, True, True, True]  # a constant first, and no room for add
    builder.advance(np.array([4, 2, 3]))
    assert builder.mask()[:, 4].tolist() == [False, True, True]


def test_reset_starts_anew():
    builder = FormulaBuilder(LARGE, 50)
    first = random_walk(builder, np.random.default_rng(3))
    tokens = builder.tokens.copy()
    builder.reset()
    assert not builder.tokens.any()
    assert not builder.finished.any()
    second = random_walk(builder, np.random.default_rng(3))
    np.testing.assert_array_equal(builder.tokens, tokens)
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_text():
    vocabulary = Vocabulary(("mul", "sigmoid"), ("x",), (0.5,))  # ids 1 to 4
    builder, texts = FormulaBuilder(Grammar(vocabulary), 1), []
    for token in (1, 4, 2, 3):
        texts.append(builder.text(0))
        builder.advance(np.array([token]))
    assert [*texts, builder.text(0)] == ["_", "mul _ _", "mul 0.5 _", "mul 0.5 sigmoid _", "0.5 * sigmoid(x)"]


def test_an_incomplete_row_has_no_formula():
    builder = FormulaBuilder(Grammar(Vocabulary(("add",))), 1)
    with pytest.raises(FormulaError, match="incomplete"):
        builder.formula(0)
    builder.advance(np.array([1]))
    with pytest.raises(FormulaError, match="incomplete"):
        builder.formula(0)


ALLOWS = Vocabulary(("neg", "exp", "log", "sin", "add"), ("x",), (1.0,))


@pytest.mark.parametrize("rules", SUBSETS, ids=str)
def test_allows_is_brute_force_by_trees(rules):
    """Of all sequences of up to five tokens, incomplete ones and those with something left over included."""
    grammar = Grammar(ALLOWS, 1, 4, rules)
    ids = range(1, len(ALLOWS) + 1)
    sequences = [s for n in range(6) for s in itertools.product(ids, repeat=n)]
    found = grammar.allows(sequences)
    assert found.dtype == np.bool_
    assert found.shape == (len(sequences),)
    expected = {tuple(ALLOWS.encode(f).tolist()) for f in allowed(grammar)}
    assert {s for s, legal in zip(sequences, found, strict=True) if legal} == expected
    assert len(sequences) > 6**5 > 500 > len(expected) > 50


@pytest.mark.parametrize("rules", [(), THREE_RULES], ids=str)
@pytest.mark.parametrize("min_length", [2, 3])
def test_allows_is_what_legal_walks_end_in(min_length, rules):
    """Also where a least length costs formulas that the rules alone would allow."""
    grammar = Grammar(ALLOWS, min_length, 4, rules)
    sequences = [s for n in range(1, 5) for s in itertools.product(range(1, len(ALLOWS) + 1), repeat=n)]
    legal = {s for s, legal in zip(sequences, grammar.allows(sequences), strict=True) if legal}
    assert legal == {tuple(ALLOWS.encode(f).tolist()) for f in walk(grammar)}


def test_allows_takes_any_number_of_sequences():
    grammar = Grammar(Vocabulary(("neg",)), 1, 3)  # neg 1, x 2
    assert grammar.allows([]).shape == (0,)
    assert grammar.allows([[]]).tolist() == [False]
    assert grammar.allows([[1, 1, 1, 2]]).tolist() == [False]  # too long
    assert grammar.allows([[1], [2], (1, 2), [2, 2], [0], [1, 0]]).tolist() == [False, True, True, False, False, False]


def test_an_illegal_sequence_does_not_disturb_those_beside_it():
    """Every mask, parent, sibling and slot of a legal row is what it is among legal rows alone."""
    grammar = Grammar(ALLOWS, 1, 4, THREE_RULES)
    legal = [ALLOWS.encode(f).tolist() for f in allowed(grammar)]
    rng = np.random.default_rng(0)
    padded = np.zeros((2 * len(legal), 4), dtype=np.int64)
    for row, ids in enumerate(legal):
        padded[2 * row, : len(ids)] = ids
        padded[2 * row + 1] = rng.integers(0, len(ALLOWS) + 1, 4)
    alone, among = FormulaBuilder(grammar, len(legal)), FormulaBuilder(grammar, len(padded))
    steps = 0
    for (one, mask, actions), (other, other_mask, _) in zip(
        alone.follow(padded[::2]), among.follow(padded), strict=True
    ):
        steps += 1
        assert mask[np.arange(len(legal)), actions].all()
        np.testing.assert_array_equal(mask, other_mask[::2])
        for name in ("parent", "sibling", "open_slots", "tokens"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[::2])
    assert steps == 4
    assert alone.finished.all()
    np.testing.assert_array_equal(alone.tokens, padded[::2])
