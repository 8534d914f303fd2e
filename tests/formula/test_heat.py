import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from rlsearch import Formula
from rlsearch.formula.display import formula_html
from rlsearch.formula.drawing import plot_contours
from rlsearch.formula.heat import EDGES, SHADES, bands, colour, paths, plane, values_over

parse = Formula.parse


def test_the_plane_reads_as_a_picture():
    x, g = plane(4.0, 4)
    assert x[0].tolist() == [-3, -1, 1, 3]  # the middles of four cells
    assert g[:, 0].tolist() == [3, 1, -1, -3]  # upwards
    assert values_over(parse("x - g"), x, g)[0].tolist() == [-6, -4, -2, 0]
    assert values_over(parse("x * g * h"), x, g).tolist() == (x * g).tolist()  # h is held at 1


def test_bands_are_counted_from_zero():
    values = np.array([0.0, 0.2, -0.2, 0.25, -0.3, 1.5, 8.0, -100.0, math.inf, -math.inf, math.nan])
    assert bands(values)[:-1].tolist() == [0, 0, 0, 1, -1, 3, 6, -6, 6, -6]
    assert np.isnan(bands(values)[-1])


def test_cells_side_by_side_are_one_line():
    numbers = np.array([[1, 1, 2], [math.nan, 1, 1], [0, math.nan, math.nan]])
    assert paths(numbers) == {0: "M0 2.5h1", 1: "M0 0.5h2M1 1.5h2", 2: "M2 0.5h1"}


def test_every_cell_is_drawn_once_in_its_band():
    numbers = bands(values_over(parse("swiglu(x, g)"), *plane(4.0, 40)))
    drawn = np.full(numbers.shape, 99)
    for number, data in paths(numbers).items():
        for start, row, length in re.findall(r"M(\d+) ([\d.]+)h(\d+)", data):
            cells = drawn[int(float(row)), int(start) : int(start) + int(length)]
            assert (cells == 99).all()
            cells[:] = number
    assert np.array_equal(drawn, numbers)


def test_colours_run_from_white_to_blue_and_to_vermilion():
    assert (colour(0), colour(6), colour(-6)) == ("#ffffff", "#0072b2", "#d55e00")
    assert len({colour(number) for number in range(-6, 7)}) == 13
    assert len(EDGES) == len(SHADES) == 6


@pytest.mark.parametrize("text", ["swiglu(x, g)", "exp(exp(x)) / g", "log(x * g)", "x * 1e300 * g", "x - g + h"])
def test_any_formula_of_several_inputs_can_be_drawn(text):
    formula = parse(text)
    html = formula_html(formula)
    assert 'role="img" aria-label="contours of ' in html
    assert not re.search(r'd="[^"]*(nan|inf)', html)
    axes = Figure().add_subplot()
    plot_contours(axes, formula)
    assert (axes.get_xlabel(), axes.get_ylabel()) == formula.inputs[:2]
    axes.figure.draw_without_rendering()


def test_a_notebook_shows_a_curve_of_one_input():
    assert "curve of" in formula_html(parse("gelu(x)"))
    assert "contours of" not in formula_html(parse("sin(g)"))
