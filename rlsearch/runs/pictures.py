"""The pictures of a search while it goes on: curves, contours, score against latency, operators, and alike proxies."""

import math
import textwrap
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rlsearch.common.ranks import rank_correlations
from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.drawing import plot_contours, plot_curve
from rlsearch.formula.heat import EDGES
from rlsearch.formula.simplify import shown
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import RoundReport
from rlsearch.rewards.base import Status

MIN_FUNCTIONS_FOR_CORRELATION = 16
"""Fewer say little of how alike two proxies are."""

KNOWN_CURVES = {"ReLU": Formula.parse("relu(x)"), "GELU": Formula.parse("gelu(x)")}
"""Drawn beside those of the best, for comparison."""

SWIGLU = Formula.parse("swiglu(x, g)")
"""Drawn before the best gated formulas, for comparison."""

MOST_COLUMNS, LETTERS_ABOVE = 4, 40
"""Contours in a row, and letters in a line above them."""

CURVE_LIMITS = (-3.0, 5.0)
"""Of the vertical axis where the curves lie within them; functions that grow on both sides need more below 0."""


def proxies_figure(functions: Sequence[Judged]) -> Figure | None:
    """How alike the proxies of a panel order the functions of a run: Spearman's correlation between gains.

    Returns:
        A figure; None if there are not several proxies, or too few functions to speak of an order.
    """
    rows = [judged.result.gains for judged in functions if len(judged.result.gains) > 1]
    if len(rows) < MIN_FUNCTIONS_FOR_CORRELATION:
        return None
    names = list(rows[0])
    columns = [[row[name] for row in rows] for name in names]
    correlations = rank_correlations(np.array(columns).T)
    figure = Figure(figsize=(1.5 + len(names), 1 + len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(correlations, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    for (row, column), value in np.ndenumerate(correlations):
        text = "-" if math.isnan(value) else f"{value:+.2f}"
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_title(f"correlation of gains over {len(rows)} functions", fontsize=8)
    return figure


def curves_figure(board: Sequence[Judged]) -> Figure:
    """The curves of the best formulas of one input, beside those of ReLU and GELU."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, formula in KNOWN_CURVES.items():
        plot_curve(axes, formula, label=name, color="0.6", linestyle="--" if name == "ReLU" else ":")
    for judged in board:
        if not judged.formula.is_gated:
            plot_curve(axes, judged.formula, label=shown(judged.formula))
    axes.set_ylim(*CURVE_LIMITS)
    axes.grid(alpha=0.3)
    axes.set_xlabel("x")
    axes.set_title("the best functions, beside ReLU and GELU", fontsize=9)
    axes.legend(fontsize=7)
    return figure


def contours_figure(board: Sequence[Judged]) -> Figure | None:
    """The contours of the best gated formulas, after those of SwiGLU; None where there are none."""
    gated = {shown(judged.formula): judged.formula for judged in board if judged.formula.is_gated}
    if not gated:
        return None
    drawn = {"SwiGLU": SWIGLU, **{text: f for text, f in gated.items() if f.fingerprint != SWIGLU.fingerprint}}
    columns = min(len(drawn), MOST_COLUMNS)
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * rows), layout="constrained")
    for place, (text, formula) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        plot_contours(axes, formula, reach=4.0)
        axes.set_title("\n".join(textwrap.wrap(text, LETTERS_ABOVE)), fontsize=7)
        axes.tick_params(labelsize=7)
    figure.suptitle(f"contours at {', '.join(f'{edge:g}' for edge in EDGES)}: blue above 0, orange below", fontsize=9)
    return figure


def front_figure(functions: Sequence[Judged]) -> Figure | None:
    """Score against latency of all functions of a run, and the front that none beats in both.

    Args:
        functions: All that are known.

    Returns:
        A figure; None where latencies or scores are not known.
    """
    shown = [
        judged
        for judged in functions
        if judged.result.status is Status.OK and judged.result.score is not None and judged.result.latency
    ]
    if not shown:
        return None
    latencies = [judged.result.latency or math.nan for judged in shown]
    scores = [math.nan if judged.result.score is None else judged.result.score for judged in shown]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(latencies, scores, s=6, color="#56B4E9", alpha=0.5, label="functions")
    front = pareto_front(shown)
    axes.step(
        [judged.result.latency or math.nan for judged in front],
        [judged.result.score or 0.0 for judged in front],
        where="post", color="black", linewidth=1, linestyle="--", marker="o", markersize=3, label="front",
    )  # fmt: skip
    references = [judged for judged in shown if judged.is_reference]
    axes.scatter(
        [judged.result.latency or math.nan for judged in references],
        [judged.result.score or 0.0 for judged in references],
        s=24, marker="s", color="#E69F00", label="references", zorder=3,
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    # The many that are far worse would press the rest into a line.
    axes.set_ylim(bottom=float(np.quantile(scores, 0.25)))
    axes.set_xlabel("latency as a ratio to ReLU, by the cost model")
    axes.set_ylabel("score of the search")
    axes.set_title("score against latency", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def pareto_front(functions: Sequence[Judged]) -> list[Judged]:
    """Those that no other one beats in both score and latency, the fastest first."""
    ordered = sorted(functions, key=lambda judged: (judged.result.latency or math.inf, -(judged.result.score or 0.0)))
    front: list[Judged] = []
    for judged in ordered:
        if not front or (judged.result.score or 0.0) > (front[-1].result.score or 0.0):
            front.append(judged)
    return front


def operators_figure(report: RoundReport) -> Figure:
    """How often the round's formulas use each operator."""
    counts: Counter[str | float] = Counter()
    for formula in report.formulas:
        counts.update(token for token in formula.tokens if token in OPERATORS)
    names = [str(name) for name, _ in counts.most_common()]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(names, [counts[name] / len(report.formulas) for name in names])
    axes.tick_params(axis="x", rotation=70)
    axes.set_ylabel("uses per formula")
    axes.set_title(f"operators in the {len(report.formulas)} formulas of round {report.round_number + 1}", fontsize=9)
    return figure
