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

from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.methods import Estimate

_BETTER, _OPEN, _WORSE, _BASELINE = "#0072B2", "#7F7F7F", "#D55E00", "#E69F00"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINES = ("-", "--", ":", "-.")
_PANELS_PER_ROW = 4
_LONGEST_LABEL = 34


def forest_figure(findings: Findings) -> Figure:
    """Returns the difference of every formula to every baseline, with its interval; a panel per baseline."""
    count, n_rows = len(findings.compared_with), max(len(findings.compared), 1)
    columns = max(min(count, _PANELS_PER_ROW), 1)
    lines = max(math.ceil(count / columns), 1)
    size = (3.2 + 2.3 * columns, 1.1 + lines * (0.75 + 0.24 * n_rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for column, axes in enumerate(panels):
        if column < count:
            _forest_panel(axes, findings, column)
        else:
            axes.set_axis_off()
    for axes in panels[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    labels = [_short(f"{i}  {f.formula}") for i, f in enumerate(findings.compared, start=1)]
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(n_rows - 0.4, -0.6)
    panels[0].set_xlim(*_reach(findings))
    figure.supxlabel("difference in test accuracy, percentage points", fontsize=9)
    handles = [
        _mark(">", _BETTER, "better than the baseline"),
        _mark("o", _OPEN, "not decided"),
        _mark("<", _WORSE, "worse"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    confidence = f"{findings.differences.confidence * 100:.3g} %"
    title = f"{findings.seeds} fresh seeds and data sets; {confidence} intervals, all at once"
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def _forest_panel(axes: Axes, findings: Findings, column: int) -> None:
    d, baseline = findings.differences, findings.compared_with[column]
    axes.axvline(0, color="black", linewidth=0.8)
    for row in range(len(findings.compared)):
        colour, marker = _OPEN, "o"
        if d.better[row, column]:
            colour, marker = _BETTER, ">"
        elif d.worse[row, column]:
            colour, marker = _WORSE, "<"
        ends = np.clip([100 * d.low[row, column], 100 * d.high[row, column]], -1000, 1000)  # a line to infinity is none
        axes.plot(ends, [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(100 * d.mean[row, column], row, marker=marker, color=colour, markersize=5)
    axes.set_title(f"minus {baseline.title}  ({100 * baseline.mean:.1f} %)", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)


def _reach(findings: Findings) -> tuple[float, float]:
    """Returns the ends of the x-axis, in points; intervals without an end run out of the panel."""
    d = findings.differences
    ends = 100 * np.concatenate([end[np.isfinite(end)] for end in (d.mean, d.low, d.high)])
    low, high = ends.min(initial=0.0), ends.max(initial=0.0)
    margin = 0.05 * (high - low) + 0.05
    return float(low - margin), float(high + margin)


def pareto_figure(findings: Findings) -> Figure:
    """Returns score against latency, with the front that no function beats in both."""
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.add_subplot()
    shown = (*findings.formulas, *findings.baselines)
    on_front = sorted(
        (f for f, front in zip(shown, findings.front.tolist(), strict=True) if front), key=lambda f: f.latency
    )
    axes.step(
        [f.latency for f in on_front], [100 * f.mean for f in on_front],
        where="post", color="black", linewidth=1, linestyle="--", zorder=1,
    )  # fmt: skip
    for finding in findings.compared_with:
        _point(axes, finding, _BASELINE, "s", 6)
        axes.annotate(
            finding.title, (finding.latency, 100 * finding.mean), xytext=(7, 5), textcoords="offset points", fontsize=8
        )
    for number, finding in enumerate(findings.compared, start=1):
        _point(axes, finding, _BETTER, "o", 11)
        axes.annotate(
            str(number), (finding.latency, 100 * finding.mean),
            ha="center", va="center", fontsize=7, color="white", weight="bold", zorder=4,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(_ticks(shown)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"latency as a ratio to ReLU (median and quartiles)\n{findings.latency_label}", fontsize=9)
    axes.set_ylabel("test accuracy, % (mean and standard error)", fontsize=9)
    axes.set_title(f"Score against latency, {findings.seeds} fresh seeds and data sets", fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    handles = [_mark("s", _BASELINE, "baseline"), Line2D([], [], color="black", linestyle="--", label="Pareto front")]
    handles += [_mark(f"${i}$", _BETTER, _short(f.formula)) for i, f in enumerate(findings.compared, start=1)]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _ticks(findings: Sequence[Finding]) -> list[float]:
    """Returns round ratios, the closer together the less there is to show."""
    low = min(f.latency_low for f in findings)
    high = max(f.latency_high for f in findings)
    octaves = math.log2(high / low)
    between = (1, 1.25, 1.5, 1.75) if octaves < 2 else (1, 1.5) if octaves < 4 else (1,)
    powers = range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)
    ticks = [2.0**power * factor for power in powers for factor in between]
    return [tick for tick in ticks if low / 1.05 <= tick <= high * 1.05]


def _point(axes: Axes, finding: Finding, colour: str, marker: str, size: float) -> None:
    spread = [[finding.latency - finding.latency_low], [finding.latency_high - finding.latency]]
    axes.errorbar(
        finding.latency, 100 * finding.mean, xerr=np.maximum(spread, 0), yerr=100 * finding.standard_error,
        color=colour, marker=marker, markersize=size, elinewidth=1, zorder=3,
    )  # fmt: skip


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=label)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"


def methods_figure(curves: Mapping[str, Estimate], seeds: int) -> Figure:
    """Returns the best reward so far against trained candidates: interquartile means with 95 % bands.

    Args:
        curves: One per method, each of shape ``[candidates]``.
        seeds: Runs per method.
    """
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for i, (method, curve) in enumerate(curves.items()):
        candidates = np.arange(1, len(curve.value) + 1)
        colour = _COLOURS[i % len(_COLOURS)]
        axes.plot(candidates, curve.value, color=colour, linestyle=_LINES[i % len(_LINES)], label=method)
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
