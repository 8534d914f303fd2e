"""Against brute force: every sequence of tokens of a tiny vocabulary that the grammar allows, told apart by function.

That the grammar allows what it should is shown in tests/formula/test_grammar.py, by trees.
"""

from itertools import compress, product

import numpy as np
import pytest
from helpers import make_judge

from rlsearch.errors import ConfigError
from rlsearch.formula import Formula, Grammar, Vocabulary
from rlsearch.formula.formula import fingerprint_grid, fingerprint_of
from rlsearch.formula.rules import ALL_RULES, HAS_INPUT, ForbidNestedPeriodic
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards.base import RewardResult
from rlsearch.search.enumeration import Enumeration
from rlsearch.search.exhaustive import ExhaustiveSearch
from rlsearch.search.settings import ExhaustiveSettings

# Vocabularies in which no function is split by rounding, up to the lengths below; sin, exp, log and sub split one.
TRIG = Vocabulary(("neg", "cos", "mul"), ("x",), (2.0,))
ROOTS = Vocabulary(("square", "sqrt", "add"), ("x",), (0.5,))
GATED = Vocabulary(("neg", "mul"), ("x", "g"))
# Here functions have several spellings, of which the rules let only some be built on: 2 and 2 - (x - x) have an input
# or none; cos(x - x) and exp(x - x) are 1, but cos may stand above the second alone; sqrt(x * x) is |x|.
FLAT = Vocabulary(("cos", "exp", "sub"), ("x",), (2.0,))
SQUARES = Vocabulary(("square", "sqrt", "mul"))
RULES = [tuple(compress(ALL_RULES, on)) for on in product((False, True), repeat=len(ALL_RULES))]


def writable(grammar):
    """All formulas of a grammar, in order of size."""
    ids = range(1, len(grammar.vocabulary) + 1)
    for length in range(1, grammar.max_length + 1):
        sequences = list(product(ids, repeat=length))
        for sequence, legal in zip(sequences, grammar.allows(sequences), strict=True):
            if legal:
                yield grammar.vocabulary.decode(sequence)


def shortest(formulas):
    """Fingerprint -> least size."""
    sizes = {}
    for formula in formulas:
        sizes[formula.fingerprint] = min(formula.size, sizes.get(formula.fingerprint, 99))
    return sizes


def found_by(enumeration):
    """Fingerprint -> size, each function once, and the sizes in order."""
    formulas = list(enumeration)
    sizes = {formula.fingerprint: formula.size for formula in formulas}
    assert len(sizes) == len(formulas), "a function came twice"
    return sizes, [formula.size for formula in formulas]


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize(
    ("vocabulary", "length"),
    [(TRIG, 6), (ROOTS, 6), (GATED, 7), (FLAT, 5), (SQUARES, 6)],
    ids=["trig", "roots", "gated", "flat", "squares"],
)
def test_every_function_comes_once_in_its_shortest_spelling(vocabulary, length, rules):
    grammar = Grammar(vocabulary, 1, length, rules)
    expected = shortest(writable(grammar))
    sizes, order = found_by(Enumeration(grammar))
    assert sizes == expected
    assert order == sorted(order)
    assert max(order) == length
    if not rules:
        assert len(sizes) == {TRIG: 80, ROOTS: 160, GATED: 23, FLAT: 117, SQUARES: 37}[vocabulary]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_a_shorter_search_is_the_beginning_of_a_longer_one(length):
    longer = [f for f in Enumeration(Grammar(TRIG, 1, 6)) if f.size <= length]
    assert list(Enumeration(Grammar(TRIG, 1, length))) == longer


def test_the_functions_of_a_vocabulary_by_hand():
    """Of neg, add and x up to three tokens: x, -x and x + x; --x is x again."""
    assert [str(f) for f in Enumeration(Grammar(Vocabulary(("neg", "add")), max_length=3))] == ["x", "-x", "x + x"]


def test_what_is_yielded_is_legal():
    for rules in RULES:
        grammar = Grammar(ROOTS, 1, 6, rules)
        formulas = list(Enumeration(grammar))
        assert grammar.allows([grammar.vocabulary.encode(f).tolist() for f in formulas]).all()


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("min_length", [2, 3, 5])
@pytest.mark.parametrize("vocabulary", [TRIG, ROOTS], ids=["trig", "roots"])
def test_functions_that_can_be_written_shorter_than_the_least_length_are_left_out(vocabulary, min_length, rules):
    """But their spellings are built on; and the longer ones come as if there were no least length."""
    everything = list(Enumeration(Grammar(vocabulary, 1, 5, rules)))
    try:
        grammar = Grammar(vocabulary, min_length, 5, rules)
    except ConfigError:
        return
    assert list(Enumeration(grammar)) == [f for f in everything if f.size >= min_length]


def test_the_default_language_up_to_three_tokens():
    grammar = Grammar(LanguageSettings().grammar().vocabulary, 1, 3, ALL_RULES)
    assert found_by(Enumeration(grammar))[0] == shortest(writable(grammar))


def test_untested_counts_down_to_nothing():
    """Before size 4 of TRIG: neg and cos on each function of three tokens, mul on those of one and of two."""
    enumeration, seen = Enumeration(Grammar(TRIG, 1, 6)), {}
    assert (enumeration.size, enumeration.untested) == (0, 0)
    for _ in enumeration:
        assert enumeration.untested >= 0
        seen.setdefault(enumeration.size, []).append(enumeration.untested)
    assert enumeration.untested == 0
    assert list(seen) == [1, 2, 3, 4, 5, 6]
    assert all(counts == sorted(counts, reverse=True) for counts in seen.values())
    # Combinations of size 6 fit a few blocks of 512; the first of them is off when the first function comes.
    assert seen[6][0] > 0


def test_the_combinations_of_a_size_by_hand():
    """x alone, neg, cos and mul: of one token x, of two -x and cos(x). Of three: 2 operators on 2, mul on 1 x 1."""
    enumeration = Enumeration(Grammar(Vocabulary(("neg", "cos", "mul")), max_length=3))
    untested = []
    original = Enumeration._apply

    def apply(self, name, sides):
        untested.append((self.size, self.untested))
        return original(self, name, sides)

    enumeration._apply = apply.__get__(enumeration)
    list(enumeration)
    assert untested == [(2, 2), (2, 1), (3, 5), (3, 3), (3, 1)]
    assert enumeration.untested == 0


def template_formulas(vocabulary, binary, unary):
    """All formulas [binary, unary, x, unary, x], a missing unary included, by two nested loops."""
    for outer in binary:
        for left in [(), *((u,) for u in unary)]:
            for right in [(), *((u,) for u in unary)]:
                yield Formula((outer, *left, "x", *right, "x"))


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_a_template_is_filled_in_every_way(rules):
    """Also beyond the grammar's lengths."""
    binary, unary = ("add", "mul", "sub", "max"), ("neg", "cos", "square", "tanh", "sqrt")
    vocabulary = Vocabulary((*binary, *unary), ("x", "g"), (1.0, 2.0))
    wide = Grammar(vocabulary, 1, 5, rules)
    formulas = list(template_formulas(vocabulary, binary, unary))
    assert len(formulas) == 4 * 6 * 6
    legal = wide.allows([vocabulary.encode(f).tolist() for f in formulas])
    expected = {f.fingerprint for f, allowed in zip(formulas, legal, strict=True) if allowed}
    enumeration = Enumeration(Grammar(vocabulary, 1, 3, rules), ["binary", "unary", "x", "unary", "x"])
    sizes, _ = found_by(enumeration)
    assert sizes.keys() == expected
    assert enumeration.untested == 0
    assert enumeration.size == 5


def test_a_template_of_names_is_one_formula():
    grammar = Grammar(Vocabulary(("mul", "sigmoid", "neg"), ("x",), (1.0,)), 4, 9)
    (formula,) = Enumeration(grammar, ["mul", "x", "sigmoid", "x"])
    assert formula == Formula.parse("x * sigmoid(x)")


def test_a_leaf_is_any_input_or_constant_but_a_formula_has_an_input():
    grammar = Grammar(Vocabulary(("add",), ("x", "g"), (1.0, 2.0)))
    formulas = list(Enumeration(grammar, ["add", "leaf", "leaf"]))
    # Unordered pairs of x, g, 1, 2 but for those of constants: ten less three.
    assert len(formulas) == 7
    assert {str(f) for f in formulas} >= {"x + x", "g + g"}
    assert {str(f) for f in Enumeration(grammar, ["leaf"])} == {"x", "g"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (["binary", "unary", "x"], r"the template is incomplete: 1 more operand\(s\) expected"),
        ([], r"the template is incomplete: 1 more operand\(s\) expected"),
        (["binary", "binary"], r"3 more operand\(s\) expected"),
        (["x", "x"], "the template is complete before its entry 2, 'x'"),
        (["unary", "leaf", "unary"], "the template is complete before its entry 3, 'unary'"),
        (["binry", "x", "x"], "the template's entry 'binry' is none of leaf, unary, .*did you mean 'binary'"),
        (["cos", "leef"], "the template's entry 'leef' is none of .*did you mean 'leaf'"),
        (["sin", "x"], "the template's entry 'sin' is none of leaf, unary, binary, x, neg, cos, mul"),
        (["cos", "g"], "the template's entry 'g' is none of"),
    ],
)
def test_what_is_no_template_is_refused(template, message):
    grammar = Grammar(TRIG, 1, 6)
    with pytest.raises(ConfigError, match=message):
        Enumeration(grammar, template)
    with pytest.raises(ConfigError, match=message):
        ExhaustiveSearch(ExhaustiveSettings(template=tuple(template)), grammar, 10, 0)


def test_the_values_that_are_kept_are_those_of_the_formulas(monkeypatch):
    """So the fingerprint that is taken from them is the formula's own."""
    kept = []
    original = Enumeration._apply
    monkeypatch.setattr(Enumeration, "_apply", lambda self, *a: (kept.append(e) or e for e in original(self, *a)))
    list(Enumeration(Grammar(Vocabulary(("neg", "mul", "sin"), ("x", "g")), 1, 5, (ForbidNestedPeriodic(),))))
    assert len(kept) > 50
    grids = {name: fingerprint_grid(name) for name in ("x", "g")}
    for expression in kept:
        formula = Formula(expression.tokens)
        np.testing.assert_array_equal(expression.values, formula(**grids))
        assert expression.values.base is None  # it does not hold its block
        assert fingerprint_of(expression.values) == formula.fingerprint
        assert expression.marks & HAS_INPUT
        assert bool(expression.marks & ~HAS_INPUT) == ("sin" in expression.tokens)


def size(formulas):
    return [RewardResult(-float(f.size)) for f in formulas]


def make(grammar, per_round=7, warm_start=(), template=None):
    return ExhaustiveSearch(ExhaustiveSettings(template=template), grammar, per_round, 0, warm_start)


def run(method, judge, limit=10_000):
    rounds = []
    while not method.finished and len(rounds) < limit:
        method.run_round(judge)
        rounds.append(judge.report.formulas)
    return rounds


class TestExhaustiveSearch:
    GRAMMAR = Grammar(TRIG, 1, 4)
    FUNCTIONS = tuple(Enumeration(GRAMMAR))

    @pytest.mark.parametrize("per_round", [2, 7, 10_000, len(FUNCTIONS), len(FUNCTIONS) - 1])
    def test_it_ends_with_a_round_of_what_is_left(self, per_round):
        judge = make_judge(size)
        method = make(self.GRAMMAR, per_round)
        assert not method.finished
        rounds = run(method, judge)
        assert tuple(formula for formulas in rounds for formula in formulas) == self.FUNCTIONS
        assert [len(formulas) for formulas in rounds[:-1]] == [per_round] * (len(rounds) - 1)
        assert 0 < len(rounds[-1]) <= per_round
        assert method.finished
        assert judge.candidates == judge.proposals == len(self.FUNCTIONS)

    @pytest.mark.parametrize("stop", range(5))
    def test_it_goes_on_from_the_number_of_functions(self, stop):
        method, judge = make(self.GRAMMAR, 5), make_judge(size)
        begun = run(method, judge, stop)
        other = make(self.GRAMMAR, 5)
        other.restore(method.state())
        assert other.scalars() == method.scalars()
        assert begun + run(other, judge) == run(make(self.GRAMMAR, 5), make_judge(size))

    def test_a_finished_one_is_restored_finished(self):
        method = make(self.GRAMMAR)
        run(method, make_judge(size))
        other = make(self.GRAMMAR)
        other.restore(method.state())
        assert other.finished
        assert method.state() == other.state() == {"given": len(self.FUNCTIONS)}

    def test_the_scalars_say_how_far_it_is(self):
        method, judge = make(self.GRAMMAR), make_judge(size)
        sizes = []
        while not method.finished:
            method.run_round(judge)
            sizes.append(method.scalars()["exhaustive/size"])
            assert method.scalars()["exhaustive/untested"] >= 0
        assert sizes == sorted(sizes)
        assert method.scalars() == {"exhaustive/size": 4, "exhaustive/untested": 0}

    @pytest.mark.parametrize("count", [1, 7, 9])
    def test_a_warm_start_opens_the_first_round(self, count):
        warm_start = [Formula.parse("cos(x) * 2")] * count
        rounds = run(make(self.GRAMMAR, 7, warm_start), make_judge(size))
        assert list(rounds[0][:count]) == warm_start
        assert tuple(f for formulas in rounds for f in formulas)[count:] == self.FUNCTIONS

    def test_a_template_is_searched_in_rounds(self):
        template = ("mul", "unary", "x", "leaf")
        rounds = run(make(self.GRAMMAR, 4, template=template), make_judge(size))
        assert [f for formulas in rounds for f in formulas] == list(Enumeration(self.GRAMMAR, template))

    def test_nothing_is_random(self):
        first, second = (ExhaustiveSearch(ExhaustiveSettings(), self.GRAMMAR, 7, seed) for seed in (0, 1))
        assert run(first, make_judge(size)) == run(second, make_judge(size))
