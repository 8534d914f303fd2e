import math
from dataclasses import replace

import pytest
from helpers_findings import panel, typical
from test_pictures import history_of

from rlsearch.formula import Formula
from rlsearch.judging.history import History
from rlsearch.reports.tables import (
    HEAT_STEPS,
    cell,
    leaders,
    operator_uses,
    parts_seen_earlier,
    proxy_gains,
    searched_gains,
    transfer_gains,
)
from rlsearch.studies.study import Confirmation

parse = Formula.parse


@pytest.mark.parametrize(
    ("gain", "text", "shade"),
    [
        (0.0, "+0.00", 0),
        (-0.0, "+0.00", 0),
        # Four shades up to one spread: 0.25 is the first, 0.5 the second.
        (0.25, "+0.25", 1),
        (0.5, "+0.50", 2),
        (-0.5, "\N{MINUS SIGN}0.50", -2),
        (7.0, "+7.00", HEAT_STEPS),
        (-7.0, "\N{MINUS SIGN}7.00", -HEAT_STEPS),
    ],
)
def test_a_gain_has_a_sign_and_a_shade(gain, text, shade):
    assert (cell(gain).text, cell(gain).shade) == (text, shade)


def test_marks_say_what_is_significant():
    assert cell(0.5, better=True).text == "+0.50 ▲"
    assert (cell(-0.5, worse=True).text, cell(-0.5, worse=True).said) == ("\N{MINUS SIGN}0.50 ▼", "significantly worse")
    assert (cell(math.nan).text, cell(math.nan).shade) == ("diverged", 0)


def test_gains_on_each_proxy():
    whole, proxies = panel()
    table = proxy_gains(proxies, (*whole.formulas, *whole.baselines))
    assert table.places == ("spots-mlp", "chars-mlp")
    assert table.under == ("beside GELU", "beside GELU")
    rows = {title: [cell.text for cell in cells] for title, _, cells in table.rows}
    assert rows["x * x"] == ["+1.25 ▲", "+1.25 ▲"]
    assert rows["sin(x)"] == ["\N{MINUS SIGN}0.50 ▼", "\N{MINUS SIGN}0.50 ▼"]
    assert rows["GELU"] == ["+0.50", "+0.50"]
    assert [is_baseline for _, is_baseline, _ in table.rows] == [False, False, True, True]


def test_a_single_proxy_has_no_table_of_gains():
    assert searched_gains(history_of(("relu(x)", 0.0, 1.0), ("sin(x)", 0.1, 1.0))) is None
    assert searched_gains(History()) is None


def test_gains_on_other_tasks_are_over_gelu():
    found = typical(spread=0.1)
    table = transfer_gains({"apples": Confirmation(found, None, 0, {}, 0.1)})
    rows = {title: [cell.text for cell in cells] for title, _, cells in table.rows}
    # The means of x * atan(x) and of GELU lie about 0.05 apart, half a spread.
    difference = float(found.differences.mean[0, 0]) / 0.1
    assert rows["x * atan(x)"] == [f"{difference:+.2f} ▲"]
    assert rows["exp(x)"] == ["diverged"]


def test_leaders_carry_what_one_copies():
    first, second = leaders(history_of(("relu(x)", 0.0, 1.0), ("sin(x)", 0.1, 1.0)))
    assert (first.rank, first.title, first.latex) == (1, "sin(x)", parse("sin(x)").latex())
    assert first.source == parse("sin(x)").source()
    assert (second.rank, second.title) == (2, "ReLU")


def test_everything_that_one_copies_is_of_one_spelling():
    # A reference without a title among them.
    for leader, short in zip(
        leaders(history_of(("sin(x) / 1", 0.0, 1.0), ("atan(x) / 1", 0.3, 1.0))), ("atan(x)", "sin(x)"), strict=True
    ):
        assert str(leader.judged.formula) == f"{short} / 1"
        assert (leader.title, leader.formula) == (short, parse(short))
        assert (leader.latex, leader.source) == (parse(short).latex(), parse(short).source())


def test_of_mirror_images_the_best_has_a_row_of_gains():
    """relu(-x) is min0(x) mirrored; the reference, which is another image of it, stands by itself."""
    history = history_of(("relu(x)", 0.0, 1.0), ("relu(-x)", 0.1, 1.0), ("sin(x)", 0.2, 1.0), ("min0(x)", 0.3, 1.0))
    with_gains = History()
    for fingerprint, judged in history.known.items():
        result = replace(judged.result, gains={"apples": judged.result.value, "pears": 0.0})
        with_gains.put(fingerprint, replace(judged, result=result))
    assert [title for title, _, _ in searched_gains(with_gains).rows] == ["min(x, 0)", "sin(x)", "ReLU"]
    assert [title for title, _, _ in searched_gains(with_gains, 1).rows] == ["min(x, 0)", "ReLU"]


def test_operators_are_counted_once_per_formula():
    """Of two formulas the best tenth is one: tanh(tanh(x)), which counts as one use."""
    uses = operator_uses(history_of(("relu(x)", 9.0, 1.0), ("tanh(tanh(x))", 0.2, 1.0), ("sin(x) + tanh(x)", 0.1, 1.0)))
    assert [(use.operator, use.best, use.all) for use in uses] == [
        ("tanh", 1.0, 1.0), ("add", 0.0, 0.5), ("sin", 0.0, 0.5)
    ]  # fmt: skip
    assert operator_uses(History()) == []


def test_parts_are_told_where_they_were_seen_first():
    history = history_of(
        ("relu(x)", 0.0, 1.0), ("sin(tanh(x))", 0.1, 1.0), ("tanh(x) * 2", 0.2, 1.0), ("x + tanh(x)", 0.3, 1.0)
    )
    parts = parts_seen_earlier(parse("x + tanh(x)"), history)
    # The reference is the first function.
    assert [(part.text, part.number, str(part.first.formula), part.is_whole) for part in parts] == [
        ("tanh(x)", 2, "sin(tanh(x))", False),
        ("x + tanh(x)", 4, "x + tanh(x)", True),
    ]


def test_a_simpler_spelling_of_the_winner_is_found_by_its_function():
    history = history_of(("relu(x)", 0.0, 1.0), ("atan(x)", 0.1, 1.0), ("atan(x) / 1", 0.3, 1.0))
    spelled = [judged.formula for judged in history.known.values()]
    assert str(spelled[-1]) == "atan(x) / 1"
    parts = parts_seen_earlier(parse("atan(x)"), history)
    assert [(part.text, part.number) for part in parts] == [("atan(x)", 2), ("atan(x) / 1", 2)]
