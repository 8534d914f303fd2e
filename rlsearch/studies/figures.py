"""The findings as figures, in colours that the colour-blind can tell apart, and never by colour alone.

Source of the colours: Okabe and Ito 2008.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rlsearch.proxies.tasks import Words
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.methods import Estimate

BETTER, OPEN, WORSE, BASELINE = "#0072B2", "#7F7F7F", "#D55E00", "#E69F00"
METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
METHOD_LINES = ("-", "--", ":", "-.")

MAX_PANELS_PER_ROW = 4
MAX_LABEL_CHARACTERS = 34

FAR_OUTSIDE = 1000.0
"""In place of infinity, to which no line can be drawn: outside of every panel."""


def forest_figure(findings: Findings) -> Figure:
    """Draws the difference of every formula to every baseline, with its interval; a panel per baseline."""
    count, n_rows = len(findings.compared_with), max(len(findings.compared), 1)
    columns = max(min(count, MAX_PANELS_PER_ROW), 1)
    lines = max(math.ceil(count / columns), 1)
    size = (3.2 + 2.3 * columns, 1.1 + lines * (0.75 + 0.24 * n_rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()

    # A panel per baseline; what is left of the last row stays empty, and the lowest panel of each column has the axis.
    for column, axes in enumerate(panels):
        if column < count:
            _forest_panel(axes, findings, column)
        else:
            axes.set_axis_off()
    for axes in panels[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)

    # All panels share their axes: one label per formula, and one reach.
    labels = [_short(f"{i}  {f.formula}") for i, f in enumerate(findings.compared, start=1)]
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(n_rows - 0.4, -0.6)
    panels[0].set_xlim(*_reach(findings))
    figure.supxlabel(findings.words.difference_axis, fontsize=9)

    handles = [
        _mark(">", BETTER, "better than the baseline"),
        _mark("o", OPEN, "not decided"),
        _mark("<", WORSE, "worse"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    confidence = f"{findings.differences.confidence * 100:.3g} %"
    title = f"{_where(findings)}{findings.seeds} fresh seeds and data sets; {confidence} intervals, all at once"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _where(findings: Findings) -> str:
    return f"On {findings.proxy}: " if findings.proxy else ""


def _forest_panel(axes: Axes, findings: Findings, column: int) -> None:
    d, baseline, words = findings.differences, findings.compared_with[column], findings.words
    axes.axvline(0, color="black", linewidth=0.8)
    for row in range(len(findings.compared)):
        colour, marker = OPEN, "o"
        if d.better[row, column]:
            colour, marker = BETTER, ">"
        elif d.worse[row, column]:
            colour, marker = WORSE, "<"
        ends = words.factor * np.array([d.low[row, column], d.high[row, column]])
        ends = np.clip(ends, -FAR_OUTSIDE, FAR_OUTSIDE)
        axes.plot(ends, [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(words.factor * d.mean[row, column], row, marker=marker, color=colour, markersize=5)
    axes.set_title(f"minus {baseline.title}  ({words.level(baseline.mean)})", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)


def _reach(findings: Findings) -> tuple[float, float]:
    """The ends of the x-axis, in the task's unit; intervals without an end run out of the panel."""
    d, words = findings.differences, findings.words
    ends = words.factor * np.concatenate([end[np.isfinite(end)] for end in (d.mean, d.low, d.high)])
    low, high = ends.min(initial=0.0), ends.max(initial=0.0)

    # A twentieth of what is shown; where all differences are zero, half of the smallest that can be told.
    margin = 0.05 * (high - low) + 0.5 * words.resolution
    return float(low - margin), float(high + margin)


def pareto_figure(findings: Findings) -> Figure:
    """Draws score against latency, with the front that no function beats in both."""
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.add_subplot()
    words, shown = findings.words, (*findings.formulas, *findings.baselines)

    # The front is a staircase: for more time, the score of the best that takes no longer.
    on_front = [f for f, is_on_front in zip(shown, findings.front.tolist(), strict=True) if is_on_front]
    on_front.sort(key=lambda f: f.latency)
    axes.step(
        [f.latency for f in on_front], [words.factor * f.mean for f in on_front],
        where="post", color="black", linewidth=1, linestyle="--", zorder=1,
    )  # fmt: skip

    # Baselines carry their names; formulas carry numbers, which the legend explains.
    for finding in findings.compared_with:
        place = _point(axes, finding, words, BASELINE, "s", 6)
        axes.annotate(finding.title, place, xytext=(7, 5), textcoords="offset points", fontsize=8)
    for number, finding in enumerate(findings.compared, start=1):
        place = _point(axes, finding, words, BETTER, "o", 11)
        axes.annotate(
            str(number), place,
            ha="center", va="center", fontsize=7, color="white", weight="bold", zorder=4,
        )  # fmt: skip

    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(shown)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"latency as a ratio to ReLU (median and quartiles)\n{findings.latency_label}", fontsize=9)
    axes.set_ylabel(f"{words.axis} (mean and standard error)", fontsize=9)
    title = f"{_where(findings)}score against latency, {findings.seeds} fresh seeds and data sets"
    axes.set_title(title[:1].upper() + title[1:], fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    handles = [_mark("s", BASELINE, "baseline"), Line2D([], [], color="black", linestyle="--", label="Pareto front")]
    handles += [_mark(f"${i}$", BETTER, _short(f.formula)) for i, f in enumerate(findings.compared, start=1)]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _ticks(findings: Sequence[Finding]) -> list[float]:
    """Round ratios, the closer together the less there is to show."""
    low = min(f.latency_low for f in findings)
    high = max(f.latency_high for f in findings)
    octaves = math.log2(high / low)
    within_octave: tuple[float, ...] = (1,)
    if octaves < 2:
        within_octave = (1, 1.25, 1.5, 1.75)
    elif octaves < 4:
        within_octave = (1, 1.5)
    powers = 2.0 ** np.arange(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)
    ticks = np.outer(powers, within_octave).ravel().tolist()
    return [tick for tick in ticks if low / 1.05 <= tick <= high * 1.05]


def _point(axes: Axes, finding: Finding, words: Words, colour: str, marker: str, size: float) -> tuple[float, float]:
    """Draws a function with its spread in both directions; the result is where it lies."""
    x, y = finding.latency, words.factor * finding.mean
    spread = [[finding.latency - finding.latency_low], [finding.latency_high - finding.latency]]
    axes.errorbar(
        x, y, xerr=np.maximum(spread, 0), yerr=words.factor * finding.standard_error,
        color=colour, marker=marker, markersize=size, elinewidth=1, zorder=3,
    )  # fmt: skip
    return x, y


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=label)


def _short(label: str) -> str:
    return label if len(label) <= MAX_LABEL_CHARACTERS else label[: MAX_LABEL_CHARACTERS - 1] + "…"


def methods_figure(curves: Mapping[str, Estimate], seeds: int) -> Figure:
    """Draws the best reward so far against trained candidates: interquartile means with 95 % bands.

    Args:
        curves: One per method, each of shape ``[candidates]``.
        seeds: Runs per method.
    """
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for i, (method, curve) in enumerate(curves.items()):
        candidates = np.arange(1, len(curve.value) + 1)
        colour, line = METHOD_COLOURS[i % len(METHOD_COLOURS)], METHOD_LINES[i % len(METHOD_LINES)]
        axes.plot(candidates, curve.value, color=colour, linestyle=line, label=method)
        axes.fill_between(candidates, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)

    # The first few candidates are far below all others, and would press everything else into a line.
    start = max(1, len(next(iter(curves.values())).value) // 50)
    low = min(float(np.min(curve.low[start:], initial=np.inf)) for curve in curves.values())
    high = max(float(np.max(curve.high, initial=-np.inf)) for curve in curves.values())
    if low < high:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))

    axes.set_xlabel("trained candidates")
    axes.set_ylabel("best reward so far")
    axes.set_title(f"{seeds} seeds; interquartile mean and its 95 % interval", fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure
