"""The engine of mining against plain brute force, and against the exact enumeration."""

import itertools
import sys

import numpy as np
import pytest
from helpers import Recorder

from rlsearch.common.progress import Events
from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Formula, Grammar, Vocabulary
from rlsearch.formula.mirrors import exchange_key
from rlsearch.formula.rules import ALL_RULES, ForbidConstantSubexpressions
from rlsearch.formula.template import WILDCARDS
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.enumeration import Enumeration

pytest.importorskip("numba")
from rlsearch.search.mining import engine
from rlsearch.search.mining.engine import mine

ALL = 10**9
COSTS = LatencyCosts("a test's", 0.5, {name: 0.25 + 0.01 * i for i, name in enumerate(OPERATORS)})
SCREENING = ScreeningSettings()


def grammar(operators, constants=(), max_length=5, min_length=1, rules=()):
    vocabulary = Vocabulary(tuple(operators.split()), ("x",), constants)
    return Grammar(vocabulary, min_length, max_length, rules)


def by_brute_force(language):
    """Every function by its fingerprint: all token sequences, each formula evaluated alone."""
    vocabulary, found = language.vocabulary, {}
    for size in range(1, language.max_length + 1):
        rows = [list(ids) for ids in itertools.product(range(1, len(vocabulary) + 1), repeat=size)]
        complete = [row for row in rows if is_complete(vocabulary, row)]
        # min_length is applied below: a function with a shorter spelling is not one of its length.
        free = Grammar(vocabulary, 1, language.max_length, language.rules)
        for row in itertools.compress(complete, free.allows(complete)):
            if any(vocabulary.tokens[i - 1] in vocabulary.inputs for i in row):
                formula = vocabulary.decode(row)
                found.setdefault(formula.fingerprint, formula)
    return {key: formula for key, formula in found.items() if formula.size >= language.min_length}


def is_complete(vocabulary, ids):
    slots = 1
    for i in ids:
        if not slots:
            return False
        slots += int(vocabulary.arities()[i]) - 1
    return slots == 0


def mined(language, template=None, keep=ALL, costs=COSTS, screening=SCREENING, **more):
    return mine(language, template, screening, costs, keep, **more)


SMALL = [
    grammar("neg sin sigmoid add mul"),
    grammar("neg sin sigmoid add mul", rules=ALL_RULES),
    grammar("neg sin cos mul sub", (2.0,), 4, rules=ALL_RULES),
    grammar("tanh exp sub max", (0.5, 1.0), 4),
    grammar("abs square relu min gate", (1.0,), 4, rules=ALL_RULES[:1]),
    grammar("exp softplus asinh min0 add", (), 5, min_length=3, rules=ALL_RULES),
]


@pytest.mark.parametrize("language", SMALL, ids=lambda g: " ".join(map(str, g.vocabulary.tokens)))
def test_the_functions_are_those_of_brute_force(language):
    expected = by_brute_force(language)
    fit = {key for key, formula in expected.items() if not why_unfit(formula, SCREENING)}
    found = mined(language)
    assert found.complete
    assert found.unique == len(expected)
    assert {formula.fingerprint for formula in found.formulas} == fit
    assert found.fit == len(found.formulas) == len(fit)
    assert found.tested >= found.unique


def test_the_functions_are_those_of_the_exact_enumeration():
    """Twenty operators up to five tokens; without sqrt, log and div, whose guards within a millionth of a singular
    point make functions that differ by less than the engine's keys tell apart.
    """
    names = [name for name in OPERATORS if name not in ("sqrt", "log", "div", "sinc", "cosh", "sinh", "cube", "elu")]
    language = grammar(" ".join(names), (0.5, 1.0), 4, rules=ALL_RULES)
    exact = {formula.fingerprint: formula for formula in Enumeration(language)}
    found = mined(language)
    assert abs(found.unique - len(exact)) <= 0.005 * len(exact)
    fit = {key for key, formula in exact.items() if not why_unfit(formula, SCREENING)}
    mine_only = {formula.fingerprint for formula in found.formulas} - fit
    missed = fit - {formula.fingerprint for formula in found.formulas}
    assert len(fit) > 2000
    assert not mine_only
    grid = np.linspace(-8, 8, 257)
    curves = np.arcsinh([formula(grid) for formula in found.formulas])
    for key in missed:  # each stands for another that is the same to within a step
        assert np.abs(curves - np.arcsinh(exact[key](grid))).max(axis=1).min() < 1e-3
    assert len(missed) <= 0.005 * len(fit)


TEMPLATES = [
    ["binary", "unary", "x", "unary", "x"],
    ["mul", "x", "unary", "unary", "x"],
    ["unary", "leaf"],
    ["binary", "unary", "leaf", "sin", "x"],
    ["x"],
]


@pytest.mark.parametrize("template", TEMPLATES, ids=" ".join)
@pytest.mark.parametrize("rules", [(), ALL_RULES], ids=["free", "rules"])
def test_the_functions_of_a_form_are_those_of_the_exact_enumeration(template, rules):
    language = grammar("neg sin tanh exp softplus add mul max sub", (2.0,), rules=rules)
    exact = {formula.fingerprint: formula for formula in Enumeration(language, template)}
    found = mined(language, template)
    assert found.unique == len(exact)
    fit = {key for key, formula in exact.items() if not why_unfit(formula, SCREENING)}
    assert {formula.fingerprint for formula in found.formulas} == fit
    for formula in found.formulas:
        assert ForbidConstantSubexpressions() not in language.rules or "sin 2" not in " ".join(map(str, formula.tokens))


def fillings(form, vocabulary):
    """Every token sequence that the first part of a form can be, and the rest of the form."""
    place, *rest = form
    if place in ("x", "leaf"):
        return [("x",)] + [(c,) for c in vocabulary.constants if place == "leaf"], rest
    arity, sides = WILDCARDS.get(place) or OPERATORS[place].arity, []
    for _ in range(arity):
        side, rest = fillings(rest, vocabulary)
        sides.append(side)
    names = [name for name in vocabulary.operators if name == place or OPERATORS[name].arity == WILDCARDS.get(place)]
    filled = [(name, *itertools.chain(*operands)) for name in names for operands in itertools.product(*sides)]
    return filled + (sides[0] if place == "unary" else []), rest


MIRRORED = [
    ["binary", "unary", "x", "unary", "x"],
    ["add", "binary", "leaf", "leaf", "binary", "leaf", "leaf"],
    ["unary", "max", "unary", "leaf", "unary", "leaf"],
    ["binary", "x", "leaf"],
]


@pytest.mark.parametrize("template", MIRRORED, ids=" ".join)
@pytest.mark.parametrize("rules", [(), ALL_RULES], ids=["free", "rules"])
@pytest.mark.parametrize("constants", [(), (2.0,)], ids=str)
def test_the_functions_of_a_form_are_those_of_brute_force(template, rules, constants):
    language = grammar("neg sin tanh add sub max", constants, 9, rules=rules)
    filled, _ = fillings(template, language.vocabulary)
    ids = [[language.vocabulary.tokens.index(token) + 1 for token in tokens] for tokens in filled]
    allowed = itertools.compress(filled, language.allows(ids))
    expected = {Formula(tokens).fingerprint: Formula(tokens) for tokens in allowed if "x" in tokens}
    found = mined(language, template)
    assert found.unique == len(expected)
    fit = {key for key, formula in expected.items() if not why_unfit(formula, SCREENING)}
    assert {formula.fingerprint for formula in found.formulas} == fit
    assert found.fit == len(fit)


def test_of_a_form_whose_sides_are_the_same_only_one_of_two_orders_is_tested():
    """sin x and tanh x, once; of these and x, sub on 3 * 3 pairs, add and mul on the 6 whose order does not matter."""
    language = grammar("sin tanh add mul sub")
    assert mined(language, ["binary", "unary", "x", "unary", "x"]).tested == 2 + 9 + 2 * 6
    assert mined(language, ["add", "x", "unary", "x"]).tested == 2 + 3
    assert mined(language, ["sub", "unary", "x", "unary", "x"]).tested == 2 + 9


def test_another_screening():
    language = grammar("neg square exp add mul")
    strict = ScreeningSettings(reach=3.0, points=101, max_slope=2.5, min_spread=0.5)
    expected = by_brute_force(language)
    fit = {key for key, formula in expected.items() if not why_unfit(formula, strict)}
    found = mined(language, screening=strict)
    assert {formula.fingerprint for formula in found.formulas} == fit
    assert 0 < len(fit) < mined(language).fit


def written(formula):
    """The cost of a formula's operators as written."""
    return sum(COSTS.costs.get(token, 0.0) for token in formula.tokens)


def test_the_cheapest_come_first_and_stand_where_only_some_are_kept():
    language = grammar("neg sin sigmoid add mul", rules=ALL_RULES)
    every = mined(language).formulas
    ratios = [COSTS.ratio(formula) for formula in every]
    assert ratios == sorted(ratios)
    some = mined(language, keep=25).formulas
    assert len(some) == 25
    dearest = max(map(written, some))
    others = {formula.fingerprint for formula in every} - {formula.fingerprint for formula in some}
    by_key = {formula.fingerprint: formula for formula in every}
    assert min(written(by_key[key]) for key in others) >= dearest - 1e-6
    assert [COSTS.ratio(formula) for formula in some] == sorted(COSTS.ratio(formula) for formula in some)


@pytest.mark.parametrize(("dear", "cheap"), [("add", "mul"), ("mul", "add")])
def test_of_the_spellings_of_one_size_the_cheapest_stands(dear, cheap):
    """x + x and 2 * x are one function of three tokens."""
    costs = LatencyCosts("a test's", 0.5, COSTS.costs | {dear: 5.0, cheap: 0.1})
    found = {f.fingerprint: f for f in mined(grammar("add mul", (2.0,), 3), costs=costs).formulas}
    assert found[Formula.parse("x + x").fingerprint].tokens[0] == cheap


def test_in_a_form_the_cheapest_stands_of_spellings_that_the_rules_tell_apart():
    """-1 * x and -max(x, x), of which only the second may not be negated again."""
    language = grammar("neg max mul", (-1.0,), rules=ALL_RULES[:1])
    for costs in ({"mul": 5.0, "max": 0.1, "neg": 0.1}, {"mul": 0.1, "max": 5.0, "neg": 5.0}):
        found = mined(language, ["unary"] * 2 + ["binary", "leaf", "leaf"], costs=LatencyCosts("a test's", 0.5, costs))
        spelled = {formula.fingerprint: formula for formula in found.formulas}
        assert ("mul" in spelled[Formula.parse("-x").fingerprint].tokens) == (costs["mul"] < 1)


def test_a_shorter_spelling_stands_whatever_it_costs():
    costs = LatencyCosts("a test's", 0.5, COSTS.costs | {"square": 50.0})
    found = {f.fingerprint: f for f in mined(grammar("square mul", (), 3), costs=costs).formulas}
    assert found[Formula.parse("x * x").fingerprint].tokens == ("square", "x")


def test_the_same_again():
    language = grammar("neg sin tanh add mul max", (0.5,), 5, rules=ALL_RULES)
    assert mined(language) == mined(language)


def test_memory_ends_it_with_what_was_found_until_then():
    language = grammar("neg sin tanh exp softplus add mul max sub", (2.0,), 6)
    whole = mined(language)
    part = mined(language, memory_bytes=1_500_000)
    assert whole.complete
    assert not part.complete
    assert 0 < part.tested < whole.tested
    assert 0 < part.fit < whole.fit
    assert {f.fingerprint for f in part.formulas} <= {f.fingerprint for f in whole.formulas}


def test_it_tells_how_far_it_is_and_stops_when_asked(monkeypatch):
    monkeypatch.setattr(engine, "_WATCH_SECONDS", 0.0)
    language = grammar("neg sin tanh add mul max", (0.5,), 5)
    recorder = Recorder()
    found = mined(language, events=recorder)
    told = [(tested, expected) for _, tested, expected in recorder.progress]
    assert [tested for tested, _ in told] == sorted(tested for tested, _ in told)
    assert all(tested < expected for tested, expected in told[:-1])
    assert told[-1] == (found.tested, found.tested)
    assert found.tested / 3 < told[-2][1] < 3 * found.tested

    class Stop(Events):
        calls = 0

        def on_progress(self, what, done, wanted):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt

    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        mined(language, events=stop)
    assert stop.calls == 3


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (["binary", "x"], "the template is incomplete: 1 more"),
        (["x", "x"], "complete before its entry 2"),
        (["sine", "x"], "'sine' is none of .*did you mean 'sin'"),
    ],
)
def test_what_is_no_form(template, message):
    with pytest.raises(ConfigError, match=message):
        mined(grammar("sin add"), template)


@pytest.mark.parametrize(
    "language",
    [
        Grammar(Vocabulary(("neg", "sigmoid", "mul"), ("x", "g")), 1, 5),
        Grammar(Vocabulary(("square", "exp", "sub", "max"), ("x", "g"), (2.0,)), 2, 4, ALL_RULES),
    ],
    ids=str,
)
def test_functions_of_two_inputs_are_those_of_brute_force_each_in_one_order(language):
    expected = by_brute_force(language)
    fit = {exchange_key(formula) for formula in expected.values() if not why_unfit(formula, SCREENING)}
    found = mined(language)
    assert found.unique == len(expected)
    # Of f(x, g) and f(g, x) one is returned, and none of g alone.
    assert {exchange_key(formula) for formula in found.formulas} == fit
    assert len(found.formulas) == len(fit) < found.fit <= len(expected)
    assert all("x" in formula.inputs for formula in found.formulas)
    gated = mined(language, screening=ScreeningSettings(gated_only=True)).formulas
    assert gated == [formula for formula in found.formulas if formula.is_gated]
    assert 0 < len(gated) < len(found.formulas)


def test_the_gate_of_a_template_may_be_named():
    language = Grammar(Vocabulary(("sigmoid", "relu", "mul"), ("x", "g"), (2.0,)), 1, 9)
    found = mined(language, ["mul", "x", "unary", "g"])
    assert {formula.spelling for formula in found.formulas} == {"x * g", "x * sigmoid(g)", "x * relu(g)"}


def test_slopes_by_both_inputs_are_screened():
    """Of ``x**2 * g`` the slope by ``x`` is ``2 * x * g``, up to 2 * 8 * 8, and that by ``g`` is ``x**2``, up to 64."""
    language, cubic = Grammar(Vocabulary(("square", "mul"), ("x", "g")), 1, 4), exchange_key(Formula.parse("x**2 * g"))
    for steepest, is_there in ((100.0, False), (128.0, True)):
        found = mined(language, screening=ScreeningSettings(max_slope=steepest)).formulas
        assert any(exchange_key(formula) == cubic for formula in found) is is_there


def test_without_numba(monkeypatch):
    monkeypatch.delattr("rlsearch.search.mining.native", raising=False)
    monkeypatch.setitem(sys.modules, "rlsearch.search.mining.native", None)
    with pytest.raises(ConfigError, match="mining needs numba, which is not installed: pip install"):
        mined(grammar("sin add"))
