"""The pictures that TensorBoard shows of a search."""

from types import SimpleNamespace

from helpers_boards import a_board, a_report, judged, of_panel

from rlsearch.formula import Formula
from rlsearch.judging.history import Judged
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.runs.pictures import (
    MIN_FUNCTIONS_FOR_CORRELATION,
    contours_figure,
    curves_figure,
    front_figure,
    operators_figure,
    pareto_front,
    proxies_figure,
)


def test_the_front_is_what_nothing_beats_in_both():
    texts = {"x": (0.1, 1.0), "tanh(x)": (0.3, 2.0), "exp(x)": (0.2, 3.0), "x * x": (0.4, 4.0)}
    functions = [judged(text, *of_it) for text, of_it in texts.items()]
    assert [str(f.formula) for f in pareto_front(functions[::-1])] == ["x", "tanh(x)", "x * x"]
    axes = front_figure(functions).axes[0]
    assert len(axes.collections[0].get_offsets()) == 4
    assert front_figure([]) is None


def test_figures():
    (axes,) = curves_figure(a_board()).get_axes()
    assert [line.get_label() for line in axes.get_lines()] == ["ReLU", "GELU", "x * sigmoid(x)", "relu(x)"]
    assert len(curves_figure([]).get_axes()[0].get_lines()) == 2
    texts = ("x * relu(g)", "relu(x)", "x * g", "swiglu(x, g)")
    gated = [Judged(Formula.parse(text), RewardResult(0.1)) for text in texts]
    assert len(curves_figure(gated).get_axes()[0].get_lines()) == 3
    # SwiGLU comes first, and once.
    assert [axes.get_title() for axes in contours_figure(gated).get_axes()] == ["SwiGLU", "x * relu(g)", "x * g"]
    assert contours_figure(a_board()) is None
    (axes,) = operators_figure(a_report()).get_axes()
    # Uses per formula, most frequent first: mul and sigmoid in two of the four, exp, add and cube in one.
    labels = [label.get_text() for label in axes.get_xticklabels()]
    heights = [bar.get_height() for bar in axes.patches]
    assert dict(zip(labels, heights, strict=True)) == {
        "mul": 0.5,
        "sigmoid": 0.5,
        "exp": 0.25,
        "add": 0.25,
        "cube": 0.25,
    }
    assert heights == sorted(heights, reverse=True)
    without_operators = SimpleNamespace(formulas=(Formula.parse("x"),), round_number=0)
    operators_figure(without_operators).draw_without_rendering()


def shown(figure):
    """The numbers in the cells of a figure, row by row."""
    (axes,) = figure.get_axes()
    return [text.get_text() for text in axes.texts]


def test_how_alike_proxies_are():
    """``b`` has the order of ``a`` on another scale, ``c`` the opposite one; ``d`` is as it was but for two pairs."""
    count = MIN_FUNCTIONS_FOR_CORRELATION
    swapped = [1, 0, 3, 2, *range(4, count)]
    functions = [of_panel("x", {"a": i / 10, "b": i**3, "c": -i, "d": swapped[i], "e": 3.0}) for i in range(count)]
    # What has no score has no gains either, and is left out.
    functions.append(Judged(Formula.parse("exp(x)"), RewardResult(-4.0, Status.UNFIT)))
    figure = proxies_figure(functions)
    # 1 - 6 * 4 / (16 * 255) = 0.994.
    assert shown(figure) == [
        "+1.00", "+1.00", "-1.00", "+0.99", "-",
        "+1.00", "+1.00", "-1.00", "+0.99", "-",
        "-1.00", "-1.00", "+1.00", "-0.99", "-",
        "+0.99", "+0.99", "-0.99", "+1.00", "-",
        "-", "-", "-", "-", "-",
    ]  # fmt: skip
    (axes,) = figure.get_axes()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c", "d", "e"]
    assert axes.get_title() == f"correlation of gains over {count} functions"
    figure.draw_without_rendering()


def test_there_is_no_figure_of_too_little():
    count = MIN_FUNCTIONS_FOR_CORRELATION
    assert proxies_figure([of_panel("x", {"a": i, "b": i}) for i in range(count - 1)]) is None
    assert proxies_figure([of_panel("x", {"a": i}) for i in range(count)]) is None
    assert proxies_figure([]) is None
