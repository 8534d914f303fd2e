import math
import re

import numpy as np
import pytest
from helpers_findings import baseline, finding, findings_of, noisy, panel, typical

from rlsearch.formula import Formula
from rlsearch.judging.history import History, Judged
from rlsearch.reports.drawing import GRID, Scale, dots, number, polyline, reach, round_step, short, step_points, thinned
from rlsearch.reports.front import Names, confirmed_front, searched_front
from rlsearch.reports.progress import progress_picture
from rlsearch.reports.rows import MOST_ROWS, baseline_forests, seeds_picture, winner_forest
from rlsearch.reports.shape import CELLS, POINTS, REACH, shape_pictures, value_and_slope
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.studies.methods import Estimate

parse = Formula.parse


def history_of(*functions):
    """Functions given as formula, reward and latency; the first one is the reference."""
    entries = []
    for place, (text, reward, latency) in enumerate(functions):
        result = RewardResult(reward, Status.OK, score=reward, latency=latency)
        formula = parse(text)
        entries.append((formula.fingerprint, Judged(formula, result, seeds=1, is_reference=place == 0)))
    return History(entries)


def test_a_scale_maps_its_ends_and_keeps_within_them():
    scale = Scale(-1.0, 3.0, 0.0, 100.0)
    assert [scale(value) for value in (-1, 0, 3, 99, -math.inf)] == [0, 25, 100, 100, 0]
    # Equal ratios lie equally far apart: 1, 2, 4 are at 0, 1/2 and 1.
    assert [Scale(1.0, 4.0, 0.0, 10.0, log=True)(value) for value in (1, 2, 4)] == [0, 5, 10]
    assert Scale(2.0, 2.0, 0.0, 10.0)(2.0) == 5


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 1, 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(-0.31, 0.2, 0, 1), [-0.3, -0.2, -0.1, 0, 0.1, 0.2]),
        (Scale(1, 2000, 0, 1), [500, 1000, 1500, 2000]),
        (Scale(0.9, 4.2, 0, 1, log=True), [1, 1.5, 2, 3, 4]),
        (Scale(0.6, 9, 0, 1, log=True), [1, 2, 4, 8]),
    ],
)
def test_ticks_are_round(scale, ticks):
    assert scale.ticks == pytest.approx(ticks)


def test_small_helpers():
    assert [round_step(step) for step in (0.13, 1, 3, 70, 0.0)] == [0.2, 1, 5, 100, 1]
    # A twentieth of what is shown on either side; half a unit where nothing is.
    assert reach([0.0, 10.0, math.nan, math.inf]) == (-0.5, 10.5)
    assert reach([]) == (-0.05, 1.05)
    assert reach([2.0]) == (1.5, 2.5)
    assert [number(value) for value in (-0.0, -1.5, 2000.0)] == ["0", "\N{MINUS SIGN}1.5", "2000"]
    assert len(short("x" * 99)) == 64
    assert step_points([1, 2, 3], [5, 6, 7]) == [(1, 5), (2, 5), (2, 6), (3, 6), (3, 7)]
    assert thinned(np.zeros(1000), 3).tolist() == [0, 500, 999]
    assert thinned(np.zeros(2), 9).tolist() == [0, 1]


def test_a_line_has_gaps_where_it_is_not_finite():
    assert 'd="M0.0 0.0L1.0 1.0M3.0 3.0"' in polyline([(0, 0), (1, 1), (2, math.nan), (3, 3)], "first")


def test_dots_on_one_place_are_drawn_once():
    drawn = dots([(0.1 * i, 0.0) for i in range(1000)], "seen")
    assert drawn.count("h0") == 100 / GRID + 1


def test_slopes_are_those_of_the_function():
    x = np.linspace(-REACH, REACH, POINTS)
    value, slope = value_and_slope(parse("x * tanh(x)"))
    np.testing.assert_allclose(value, x * np.tanh(x))
    np.testing.assert_allclose(slope, np.tanh(x) + x / np.cosh(x) ** 2, atol=1e-12)
    assert value_and_slope(parse("x"))[1].tolist() == [1.0] * POINTS


def test_the_shape_is_drawn_beside_relu_and_gelu():
    curve, slope = shape_pictures(parse("1 / x"))
    assert ">ReLU<" in curve.svg
    assert ">GELU<" in slope.svg
    assert "nan" not in curve.svg + slope.svg


def test_a_gated_function_is_drawn_as_contours_of_its_values_and_both_slopes():
    pictures = shape_pictures(parse("x * g"))
    assert [picture.title for picture in pictures] == [
        "Its values",
        "SwiGLU's values",
        "Its slope by x",
        "Its slope by g",
    ]
    values, _, by_x, by_g = (picture.svg for picture in pictures)
    # 16 in the corners, beyond the last number of the key on both sides.
    classes = re.findall(r'class="(above|below)(\d)"', values)
    assert {number for sign, number in classes if sign == "above"} == set("123456")
    assert {number for sign, number in classes if sign == "below"} == set("0123456")
    # The slope by x is g, which is the same along every row: a line from side to side for each.
    rows = re.findall(r"M(\d+) ([\d.]+)h(\d+)", by_x.partition("</g>")[0])
    assert [(start, length) for start, _, length in rows] == [("0", str(CELLS))] * CELLS
    assert by_x != by_g
    assert not re.search("nan|inf", values + by_x)


def test_of_more_than_two_inputs_the_others_are_held():
    assert shape_pictures(parse("x * g * h"))[0].caption.endswith(" h held at 1.")


def test_a_forest_has_a_row_for_every_baseline():
    found = typical()
    picture = winner_forest(found)
    labels = re.findall(r'class="label">([^<]*)<', picture.svg)
    assert labels == ["minus GELU", "minus ReLU"]
    # x * atan(x) is better than both; x * x is not decided beside GELU.
    assert picture.svg.count('class="mark better"') == 2
    beside_gelu, beside_relu = baseline_forests(found)
    assert beside_gelu.svg.count('class="mark open"') == 1
    assert beside_relu.svg.count('class="mark better"') == 2
    assert "x * x: +0.3 points, p = 0.21 after correction: not decided" in beside_gelu.svg


def test_what_loses_is_marked_as_worse():
    assert winner_forest(panel()[0]).svg.count('class="mark better"') == 2
    beside_relu = next(picture for picture in baseline_forests(panel()[0]) if "minus ReLU" in picture.title)
    assert beside_relu.svg.count('class="mark worse"') == 1


def test_intervals_without_an_end_leave_the_picture():
    two = findings_of([finding("x * x", [0.5, 0.6])], [baseline("relu", [0.4, 0.5])])
    picture = winner_forest(two)
    assert "inf" not in picture.svg
    assert "nan" not in picture.svg


def test_many_formulas_are_cut():
    many = findings_of([finding(f"x + {i}", noisy(0.6, i)) for i in range(20)], [baseline("relu", noisy(0.5))])
    (beside_relu,) = baseline_forests(many)
    assert beside_relu.title.startswith(f"The first {MOST_ROWS} functions minus ReLU")
    assert beside_relu.svg.count('class="label"') == MOST_ROWS
    assert seeds_picture(many).svg.count('class="label"') == MOST_ROWS + 1


def test_seed_by_seed_says_what_diverged():
    picture = seeds_picture(typical())
    assert "exp(x)  (1 of 20 seeds diverged)" in picture.svg
    assert picture.svg.count('class="mean"') == 4
    only = findings_of([finding("exp(x)", [math.nan] * 5)], [baseline("relu", [math.nan] * 5)])
    assert seeds_picture(only) is None


def test_the_front_names_what_was_confirmed():
    history = history_of(("relu(x)", 0.0, 1.0), ("sin(x)", 0.62, 2.0), ("cos(x)", -9.0, 2.0))
    picture = confirmed_front(typical(), history, lambda judged: judged.result.score)
    assert re.findall(r'class="name">([^<]*)<', picture.svg) == ["1", "2", "GELU", "ReLU"]
    # cos(x) lies far below what was confirmed, and so does the score of ReLU in the search.
    assert re.search(r'd="([^"]*)" class="dots seen"', picture.svg)[1].count("h0") == 1
    assert "Faint dots" in picture.caption
    assert "Faint dots" not in confirmed_front(typical(), History(), lambda judged: None).caption


def test_a_search_alone_has_its_own_front():
    """tanh is slower and worse than sin, so it is not on the front; cos is of the worst quarter, which is not shown."""
    history = history_of(("relu(x)", 0.0, 1.0), ("sin(x)", 0.6, 2.0), ("tanh(x)", 0.5, 3.0), ("cos(x)", -9.0, 0.5))
    picture = searched_front(history)
    assert re.findall(r'class="mark (\w+)"><title>([^<]*)<', picture.svg) == [
        ("baseline", "relu(x)"),
        ("found", "sin(x)"),
    ]
    assert searched_front(History()) is None


def test_names_do_not_cover_each_other():
    place = Names()
    at = [re.search(r'x="([^"]*)" y="([^"]*)"', place(200.0, 200.0, "GELU")).groups() for _ in range(6)]
    assert len(set(at)) == 6


def test_progress_is_the_best_so_far():
    """Rewards 0.1, 0.3, 0.2: the line rises once. The reference does not count."""
    history = history_of(("relu(x)", 9.0, 1.0), ("sin(x)", 0.1, 1.0), ("cos(x)", 0.3, 1.0), ("tanh(x)", 0.2, 1.0))
    picture = progress_picture(history, {})
    (path,) = re.findall(r'<path d="([^"]*)" class="first"/>', picture.svg)
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert len(set(heights)) == 2
    assert heights == sorted(heights, reverse=True)
    assert progress_picture(History(), {}) is None
    assert progress_picture(None, {}) is None


def test_rivals_have_bands():
    rising = np.array([0.1, 0.2, 0.3])
    curves = {"ppo": Estimate(rising, rising - 0.05, rising + 0.05), "a & b": Estimate(rising, rising, rising)}
    picture = progress_picture(None, curves)
    assert picture.svg.count('class="band') == 2
    assert "a &amp; b" in picture.svg
