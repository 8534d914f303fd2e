"""Pictures with a row per function: differences with their intervals, and scores seed by seed."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from rlsearch.reports.drawing import RIGHT, WIDTH, Picture, Scale, dots, line, mark, reach, short, svg, text, x_axis
from rlsearch.studies.findings import Finding, Findings, p_text

ROW = 34.0
"""Each row has its label above its marks: formulas are long, and a telephone is narrow."""

FOOT = 40.0

MOST_ROWS = 12
"""Formulas in a picture, the best-supported first; a comparison confirms the best of every run."""

_SIGNS = {"better": "better", "worse": "worse", "open": "not decided"}


def winner_forest(findings: Findings) -> Picture | None:
    """The difference of the best-supported formula to every baseline; None where nothing was compared."""
    if not findings.compared or not findings.compared_with:
        return None
    formula = findings.compared[0].formula
    labels = [f"minus {baseline.title}" for baseline in findings.compared_with]
    places = [(0, column) for column in range(len(labels))]
    drawn = _forest(findings, places, labels, f"Differences of {formula} to every baseline")
    return Picture("The best-supported function beside every baseline", drawn, _how_to_read(findings))


def baseline_forests(findings: Findings) -> list[Picture]:
    """The differences of every formula to a baseline, the strongest first; a picture for each."""
    pictures = []
    labels = [f"{row}  {f.formula}" for row, f in enumerate(findings.compared[:MOST_ROWS], start=1)]
    is_cut = len(labels) < len(findings.compared)
    which = f"The first {len(labels)} functions" if is_cut else "Every confirmed function"
    for column, baseline in enumerate(findings.compared_with if labels else ()):
        places = [(row, column) for row in range(len(labels))]
        title = f"{which} minus {baseline.title} ({findings.words.level(baseline.mean)})"
        pictures.append(Picture(title, _forest(findings, places, labels, title)))
    return pictures


def _how_to_read(findings: Findings) -> str:
    confidence = f"{findings.differences.confidence * 100:.3g} %"
    return (
        f"Means over {findings.seeds} fresh seeds, each with its own data, and {confidence} intervals that hold for "
        "all pairs at once. A triangle to the right is better, one to the left worse, a circle is not decided: "
        "interval and test must both say so."
    )


def _forest(findings: Findings, places: Sequence[tuple[int, int]], labels: Sequence[str], title: str) -> Markup:
    d, words = findings.differences, findings.words
    ends: list[float] = [0.0]
    for place in places:
        ends += [words.factor * float(values[place]) for values in (d.mean, d.low, d.high)]
    bottom = ROW * len(places) + 6
    x = Scale(*reach(ends), 14.0, WIDTH - RIGHT)
    parts = [x_axis(x, 0, bottom, words.difference_axis), line(x(0), 0, x(0), bottom, "zero")]
    for row, (place, label) in enumerate(zip(places, labels, strict=True)):
        kind = "open"
        if d.better[place]:
            kind = "better"
        elif d.worse[place]:
            kind = "worse"
        y = ROW * row + 24
        said = f"{words.in_words(d.mean[place])}, {p_text(d.p[place])} after correction: {_SIGNS[kind]}"
        parts.append(text(14, y - 10, short(label), kind="label"))
        # An interval without an end runs out of the picture.
        parts.append(line(x(words.factor * d.low[place]), y, x(words.factor * d.high[place]), y, f"interval {kind}"))
        parts.append(mark(x(words.factor * d.mean[place]), y, kind, f"{label}: {said}"))
    return svg(title, bottom + FOOT, *parts)


def seeds_picture(findings: Findings) -> Picture | None:
    """The score of every function from every seed; None where all diverged."""
    chosen = (*findings.formulas[:MOST_ROWS], *findings.baselines)
    shown = [f for f in chosen if np.isfinite(f.scores).any()]
    if not shown:
        return None
    words = findings.words
    shown.sort(key=lambda f: -math.inf if f.diverged else f.mean, reverse=True)
    bottom = ROW * len(shown) + 6
    x = Scale(*reach(_scores(shown, words.factor)), 14.0, WIDTH - RIGHT)
    parts = [x_axis(x, 0, bottom, words.axis)]
    for row, finding in enumerate(shown):
        y, kind = ROW * row + 24, "baseline" if finding.name else "found"
        diverged = f"  ({finding.diverged} of {findings.seeds} seeds diverged)" if finding.diverged else ""
        parts.append(text(14, y - 10, short(finding.title) + diverged, kind="label"))
        parts.append(dots([(x(score), y) for score in _scores([finding], words.factor)], kind))
        if not finding.diverged:
            parts.append(line(x(words.factor * finding.mean), y - 7, x(words.factor * finding.mean), y + 7, "mean"))
    caption = "A dot per seed; the bar is the mean. Each seed has new weights, a new order of examples and new data."
    drawn = svg(f"Test {words.score} of every function from every seed", bottom + FOOT, *parts)
    return Picture("Seed by seed", drawn, caption)


def _scores(findings: Iterable[Finding], factor: float) -> list[float]:
    scores: list[float] = []
    for finding in findings:
        scores += [factor * score for score in finding.scores.tolist() if math.isfinite(score)]
    return scores
