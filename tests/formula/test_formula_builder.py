"""The builder that writes many formulas token by token."""

import numpy as np
import pytest
from helpers_grammar import ARITY, THREE_RULES, has_constant_subexpression, has_inverse_pair, has_nested_periodic

from rlsearch.errors import FormulaError
from rlsearch.formula import OPERATORS, PAD, FormulaBuilder, Grammar, Vocabulary

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
