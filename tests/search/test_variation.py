import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED

from rlsearch.formula import Formula, Grammar, Vocabulary
from rlsearch.formula.rules import ALL_RULES
from rlsearch.search.random import random_ids
from rlsearch.search.variation import Variation, tournament

# ids: neg 1, sin 2, add 3, x 4, 1.0 5
TINY = Vocabulary(("neg", "sin", "add"), ("x",), (1.0,))


def random_formulas(grammar, count, rng):
    return [grammar.vocabulary.decode(row) for row in random_ids(grammar, count, rng)]


def ids(grammar, formulas):
    return [grammar.vocabulary.encode(f).tolist() for f in formulas]


grammars = st.builds(
    lambda unary, binary, inputs, constants, min_length, max_length, rules: Grammar(
        Vocabulary((*binary, "tanh", "abs", *unary), inputs, constants), min_length, max_length, rules
    ),
    st.lists(st.sampled_from(["neg", "exp", "log", "sin", "cos", "square", "sqrt"]), unique=True),
    st.sampled_from([("add", "mul"), ("add", "mul", "max")]),
    st.sampled_from([("x",), ("x", "g")]),
    st.sampled_from([(), (1.0,), (1.0, 2.0)]),
    st.integers(1, 5),
    st.integers(7, 12),
    st.lists(st.sampled_from(ALL_RULES), unique=True),
)


@settings(FIXED, max_examples=25)
@given(grammars, st.integers(0, 2**32))
def test_every_child_is_legal_and_spelled_otherwise_than_its_parent(grammar, seed):
    rng = np.random.default_rng(seed)
    variation = Variation(grammar)
    parents, mates = random_formulas(grammar, 30, rng), random_formulas(grammar, 30, rng)
    for _ in range(2):  # children of children too
        children = variation.children(parents, mates, rng)
        assert len(children) == 30
        assert grammar.allows(ids(grammar, children)).all()
        # A parent without a legal child in ten tries gets a random formula, which may be its own. In languages of this
        # size that is too rare for the fixed examples to meet it.
        assert not any(child == parent for child, parent in zip(children, parents, strict=True))
        parents = children


def test_the_seed_decides():
    grammar = Grammar(TINY, max_length=9)
    parents = random_formulas(grammar, 40, np.random.default_rng(0))
    first, again, other = (
        Variation(grammar).children(parents, parents[::-1], np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_where_there_is_no_child_comes_a_random_formula():
    """x is all that can be written."""
    x = Formula.parse("x")
    assert Variation(Grammar(Vocabulary(()), max_length=3)).children([x, x], [x, x], np.random.default_rng(0)) == [x, x]


def test_no_parents_have_no_children():
    assert Variation(Grammar(TINY)).children([], [], np.random.default_rng(0)) == []


def reachable(change, parent, mate=(4,), max_length=9):
    """All that 1000 draws of a change reach; the rarest outcome below has a chance of 1 in 24."""
    variation, rng = Variation(Grammar(TINY, max_length=max_length)), np.random.default_rng(0)
    return {tuple(getattr(variation, change)(list(parent), list(mate), rng)) for _ in range(1000)}


NEG_X, X_PLUS_NEG_X = (1, 4), (3, 4, 1, 4)


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        (NEG_X, {NEG_X, (2, 4), (1, 5)}),  # neg may become sin, and x the constant: legality is checked later
        (X_PLUS_NEG_X, {X_PLUS_NEG_X, (3, 5, 1, 4), (3, 4, 2, 4), (3, 4, 1, 5)}),  # no other binary operator
    ],
)
def test_a_token_becomes_another_of_its_arity(parent, expected):
    assert reachable("_replace_token", parent) == expected


def test_a_subtree_becomes_another():
    """The whole of -x, or the x in it, becomes sin(x)."""
    assert reachable("_graft", NEG_X, mate=(2, 4)) == {(2, 4), (1, 2, 4)}


def test_what_is_grafted_is_random_and_small():
    """At most six tokens where the formula may have nine; each is a formula, drawn anew for every child."""
    grammar = Grammar(TINY, max_length=9)
    variation, grafts = Variation(grammar), []
    variation._graft = lambda ids, graft, rng: grafts.append(graft) or [1, *ids]
    variation._changes = (variation._graft,)
    parents = [Formula.parse("x")] * 400
    variation.children(parents, parents, np.random.default_rng(0))
    assert {len(graft) for graft in grafts} == {1, 2, 3, 4, 5, 6}
    assert grammar.allows(grafts).all()
    assert len(set(map(tuple, grafts))) > 50


def test_an_operator_is_put_in_above_a_subtree():
    """Above -x, then above the x in it: neg, sin, and add with x or 1 on either side."""
    assert reachable("_insert", NEG_X) == {
        (1, 1, 4), (2, 1, 4), (3, 1, 4, 4), (3, 1, 4, 5), (3, 4, 1, 4), (3, 5, 1, 4),
        (1, 2, 4), (1, 3, 4, 4), (1, 3, 4, 5), (1, 3, 5, 4),
    }  # fmt: skip


def test_without_operators_nothing_is_put_in():
    variation = Variation(Grammar(Vocabulary((), ("x", "g")), max_length=3))
    assert variation._insert([1], [1], np.random.default_rng(0)) == [1]


def test_a_subtree_is_lifted_over_its_parent():
    """From x + -x: a part instead of the whole (x, -x), or x instead of -x; a subtree may also take its own place."""
    assert reachable("_lift", X_PLUS_NEG_X) == {X_PLUS_NEG_X, (4,), (1, 4), (3, 4, 4)}


def test_a_subtree_becomes_one_of_a_mate():
    """The mate 1 + x has the subtrees 1 + x, 1 and x; each may replace -x or the x in it."""
    assert reachable("_cross", NEG_X, mate=(3, 5, 4)) == {(3, 5, 4), (5,), (4,), (1, 3, 5, 4), (1, 5), (1, 4)}


def test_all_five_changes_are_equally_likely(monkeypatch):
    """5000 children, each legal at once: four standard deviations of a count are 113."""
    grammar = Grammar(Vocabulary(("neg", "sin"), ("x", "g")), max_length=30)
    variation, counts = Variation(grammar), dict.fromkeys(range(5), 0)

    def counting(i):
        def change(ids, mate, rng):
            counts[i] += 1
            return [1, *ids]

        return change

    names = {change.__name__ for change in variation._changes}
    assert names == {"_replace_token", "_graft", "_insert", "_lift", "_cross"}
    variation._changes = tuple(map(counting, range(5)))
    parents = [Formula.parse("sin(x)")] * 5000
    assert {str(child) for child in variation.children(parents, parents, np.random.default_rng(0))} == {"-sin(x)"}
    assert list(counts.values()) == pytest.approx([1000] * 5, abs=113)


@pytest.mark.parametrize("change", [(1, 3, 4), (3, 4), (2, 4), ()], ids=["too long", "incomplete", "own", "empty"])
def test_after_ten_failures_comes_a_random_formula(change):
    """Of two tokens at most: x, -x, sin(x) or their like; none of the tried children is legal and new."""
    grammar = Grammar(TINY, max_length=2)
    variation, tried = Variation(grammar), []
    variation._changes = (lambda ids, mate, rng: tried.append(1) or list(change),)
    parents = [Formula.parse("sin(x)")] * 7
    children = variation.children(parents, parents, np.random.default_rng(0))
    assert len(tried) == 70
    rng = np.random.default_rng(0)
    for _ in range(10):
        rng.integers(1, size=7)  # the choice of the changes
        random_ids(variation._grafts, 7, rng)
    assert children == random_formulas(grammar, 7, rng)


def test_a_legal_child_is_taken_at_once():
    grammar = Grammar(TINY, max_length=2)
    variation, outcomes = Variation(grammar), iter([[2, 4], [1, 4], [4]])
    variation._changes = (lambda ids, mate, rng: next(outcomes),)
    sine = Formula.parse("sin(x)")
    children = variation.children([sine, sine], [sine, sine], np.random.default_rng(0))
    assert list(map(str, children)) == ["x", "-x"]  # the first's first try is the parent itself
    assert next(outcomes, None) is None


@pytest.mark.parametrize(("count", "size"), [(5, 1), (5, 3), (4, 10), (1, 2)])
def test_tournaments_have_the_closed_form(count, size):
    """The i-th best of n wins if nobody better is drawn, but he is: ((n - i) / n)^k - ((n - i - 1) / n)^k.

    Of 40 000 tournaments, four standard deviations of a share are at most 0.01.
    """
    formulas = [Formula((*["neg"] * i, "x")) for i in range(count)]
    chosen = tournament(formulas, 40_000, size, np.random.default_rng(0))
    expected = [((count - i) / count) ** size - ((count - i - 1) / count) ** size for i in range(count)]
    assert sum(expected) == pytest.approx(1)
    assert [chosen.count(f) / 40_000 for f in formulas] == pytest.approx(expected, abs=0.01)
