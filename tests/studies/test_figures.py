import math

import pytest
from helpers_findings import NATS, baseline, finding, findings_of, noisy, panel, typical

from rlsearch.studies.figures import forest_figure, pareto_figure


def drawn(figure, path):
    figure.savefig(path)
    assert path.stat().st_size > 5000
    return [axes for axes in figure.axes if axes.axison]


def test_the_forest_has_a_panel_per_baseline_and_a_row_per_formula(tmp_path):
    found = typical()
    panels = drawn(forest_figure(found), tmp_path / "forest.png")
    assert [axes.get_title() for axes in panels] == [
        f"minus {b.title}  ({100 * b.mean:.1f} %)" for b in found.compared_with
    ]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["1  x * atan(x)", "2  x * x"]
    for column, axes in enumerate(panels):
        _, *lines = axes.get_lines()  # the first is the line at zero
        for row in range(2):
            interval, mark = lines[2 * row : 2 * row + 2]
            low, high = found.differences.low[row, column], found.differences.high[row, column]
            assert interval.get_xdata() == pytest.approx([100 * low, 100 * high])
            assert mark.get_xdata()[0] == pytest.approx(100 * found.differences.mean[row, column])
            assert mark.get_marker() == (">" if found.differences.better[row, column] else "o")
        left, right = axes.get_xlim()
        assert left <= 100 * found.differences.low.min() < 100 * found.differences.high.max() <= right


def test_axes_are_in_the_unit_of_the_task(tmp_path):
    """The scores of the typical case, taken for minus cross-entropies: a factor of 1 instead of 100."""
    found = typical(words=NATS)
    forest, pareto = forest_figure(found), pareto_figure(found)
    assert forest.get_supxlabel() == "difference in test minus cross-entropy, nats"
    panels = drawn(forest, tmp_path / "forest.png")
    assert panels[0].get_title() == f"minus GELU  ({found.compared_with[0].mean:.3f} nats)"
    mark = panels[0].get_lines()[2]
    assert mark.get_xdata()[0] == pytest.approx(found.differences.mean[0, 0])
    left, right = panels[0].get_xlim()
    low, high = min(0, found.differences.low.min()), found.differences.high.max()
    assert left == pytest.approx(low - 0.05 * (high - low) - 0.0005)
    assert right == pytest.approx(high + 0.05 * (high - low) + 0.0005)
    (axes,) = drawn(pareto, tmp_path / "pareto.png")
    assert axes.get_ylabel() == "test minus cross-entropy, nats (mean and standard error)"
    assert axes.get_lines()[0].get_ydata() == pytest.approx([found.formulas[1].mean, found.formulas[0].mean])


def test_the_axes_of_classification():
    assert forest_figure(typical()).get_supxlabel() == "difference in test accuracy, percentage points"
    (axes,) = pareto_figure(typical()).axes
    assert axes.get_ylabel() == "test accuracy, % (mean and standard error)"


def test_the_figures_of_a_proxy_say_which_one_and_are_in_its_unit():
    whole, proxies = panel()
    for found, where, axis in (
        (whole, "", "difference in test gain, spreads of the baselines"),
        (proxies["spots-mlp"], "On spots-mlp: ", "difference in test accuracy, percentage points"),
        (proxies["chars-mlp"], "On chars-mlp: ", "difference in test minus cross-entropy, nats"),
    ):
        forest, pareto = forest_figure(found), pareto_figure(found)
        assert forest.get_suptitle() == f"{where}20 fresh seeds and data sets; 95 % intervals, all at once"
        assert forest.get_supxlabel() == axis
        (axes,) = pareto.axes
        assert (
            axes.get_title(loc="left").lower() == f"{where.lower()}score against latency, 20 fresh seeds and data sets"
        )


def test_seven_baselines_take_two_rows_of_panels(tmp_path):
    found = findings_of([finding("x", noisy(0.5))], [baseline("relu", noisy(0.4, i)) for i in range(7)])
    assert len(drawn(forest_figure(found), tmp_path / "forest.png")) == 7


def test_a_long_formula_is_cut_in_the_figure(tmp_path):
    found = findings_of([finding(" + ".join(["sin(x)"] * 20), noisy(0.5))], [baseline("relu", noisy(0.4, 1))])
    (panel,) = drawn(forest_figure(found), tmp_path / "forest.png")
    label = panel.get_yticklabels()[0].get_text()
    assert label.endswith("…")
    assert len(label) < 40


@pytest.mark.parametrize("figure", [forest_figure, pareto_figure])
@pytest.mark.parametrize("seeds", [2, 20])
def test_few_seeds_and_nothing_to_compare_are_drawn_too(figure, seeds, tmp_path):
    few = findings_of([finding("x", noisy(0.5, 0, seeds))], [baseline("relu", noisy(0.4, 1, seeds))])
    nothing = findings_of([finding("x", [math.nan] * seeds)], [baseline("relu", [math.nan] * seeds)])
    for found in (few, nothing):
        figure(found).savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 2000


def test_the_pareto_figure_has_every_function_and_the_front(tmp_path):
    found = typical()
    (axes,) = drawn(pareto_figure(found), tmp_path / "pareto.png")
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["GELU", "ReLU", "1", "2"]
    front = axes.get_lines()[0]
    assert front.get_xdata().tolist() == [0.5, 1.8]
    assert front.get_ydata() == pytest.approx([100 * found.formulas[1].mean, 100 * found.formulas[0].mean])
    assert axes.get_xscale() == "log"
    assert "some kernel" in axes.get_xlabel()
