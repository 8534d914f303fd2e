"""The grammar, mostly by exhaustive enumeration on tiny vocabularies."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers_grammar import ARITY, INVERSES, SUBSETS, THREE_RULES, allowed, n_prefix_sequences, walk

from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Formula, FormulaBuilder, Grammar, Vocabulary
from rlsearch.formula.rules import ForbidConstantSubexpressions, ForbidInversePairs, ForbidNestedPeriodic

POOL = ("neg", "exp", "log", "sin", "cos", "add")


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
