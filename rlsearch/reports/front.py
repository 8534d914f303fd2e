"""Score against latency: what was confirmed, the baselines, and behind them everything that the search has seen."""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from rlsearch.formula.simplify import shown
from rlsearch.judging.history import History, Judged
from rlsearch.reports.drawing import (
    BOTTOM,
    LEFT,
    RIGHT,
    WIDTH,
    Picture,
    Scale,
    axes,
    dots,
    line,
    log_reach,
    mark,
    polyline,
    reach,
    step_points,
    svg,
    text,
)
from rlsearch.reports.rows import MOST_ROWS
from rlsearch.rewards.base import Status
from rlsearch.runs.pictures import pareto_front
from rlsearch.studies.findings import Finding, Findings

HEIGHT, TOP_OF_AXES = 360.0, 30.0

SHOWN_SHARE = 0.75
"""Of the functions of the search, the best: those far below would press the rest into a line."""

ScoreOf = Callable[[Judged], float | None]


def confirmed_front(findings: Findings, history: History, score_of: ScoreOf) -> Picture:
    """Draws confirmed functions and baselines by test score and measured latency, over the functions of the search.

    Args:
        findings: What was confirmed.
        history: The functions of the search; may be empty.
        score_of: The score that the search saw of one, in the unit of the findings; None if there is none.
    """
    words = findings.words
    shown = [f for f in (*findings.formulas, *findings.baselines) if not f.diverged]
    seen = [(latency, words.factor * score) for latency, score in _seen(history, score_of)]
    ends: list[float] = []
    heights: list[float] = []
    for f in shown:
        ends += [f.latency_low, f.latency_high]
        heights += [words.factor * (f.mean + f.standard_error), words.factor * (f.mean - f.standard_error)]
    x = Scale(*log_reach(ends + [latency for latency, _ in seen]), LEFT, WIDTH - RIGHT, log=True)
    # Of the search's functions those are shown that reach what was confirmed; most lie far below.
    best_seen = max((score for _, score in seen), default=math.nan)
    y = Scale(*reach([*heights, best_seen]), HEIGHT - BOTTOM, TOP_OF_AXES)
    parts = [axes(x, y, "latency as a ratio to ReLU", words.axis)]
    parts.append(dots([(x(latency), y(score)) for latency, score in seen if score >= y.low], "seen"))
    on_front = sorted(_on_front(findings), key=lambda f: f.latency)
    corners = step_points([x(f.latency) for f in on_front], [y(words.factor * f.mean) for f in on_front])
    parts.append(polyline(corners, "front"))
    place_name = Names()
    numbers = {f.formula: str(i) for i, f in enumerate(findings.compared, start=1)}
    # The best first: their names get the best places.
    for finding in (*findings.compared, *findings.compared_with):
        at, height = x(finding.latency), y(words.factor * finding.mean)
        kind = "baseline" if finding.name else "found"
        said = f"{finding.title}: {words.level(finding.mean)}, {finding.latency:.2f} of ReLU's latency"
        parts.append(line(x(finding.latency_low), height, x(finding.latency_high), height, f"spread {kind}"))
        parts.append(mark(at, height, kind, said))
        name = numbers.get(finding.formula, finding.title)
        if finding in findings.compared_with or int(name) <= MOST_ROWS:
            parts.append(place_name(at, height, name))
    caption = (
        f"Marks: test {words.score} on fresh seeds, and latency measured, with quartiles ({findings.latency_label}). "
        "The dashed line is the front that none of them beats in both."
    )
    if seen:
        caption += " Faint dots: all functions of the search, by what it saw and by its model of latency."
    return Picture("Score against latency", svg(f"Test {words.score} against latency", HEIGHT, *parts), caption)


class Names:
    """Writes names beside marks, each where none is yet, as far as there is room."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float, float]] = []

    def __call__(self, x: float, y: float, name: str) -> Markup:
        """The name of the mark at a place."""
        # A letter is about seven wide and twelve high. Right above, left above, below, and then ever further up.
        width = 7.0 * len(name)
        corners = [(x + 7, y - 6), (x - 7 - width, y - 6), (x + 7, y + 14), (x - 7 - width, y + 14)]
        for up in (18, 30, 42):
            corners += [(x + 7, y - up), (x - 7 - width, y - up)]
        free = [corner for corner in corners if self._is_free(*corner, width)]
        left, bottom = free[0] if free else corners[0]
        self._taken.append((left, bottom, left + width, bottom - 11))
        return text(left, bottom, name, kind="name")

    def _is_free(self, left: float, bottom: float, width: float) -> bool:
        if left < LEFT or left + width > WIDTH or bottom < TOP_OF_AXES - 12 or bottom > HEIGHT - BOTTOM:
            return False
        return all(
            left >= others_right or left + width <= others_left or bottom <= others_top or bottom - 11 >= others_bottom
            for others_left, others_bottom, others_right, others_top in self._taken
        )


def searched_front(history: History) -> Picture | None:
    """Draws the functions of a search that was not confirmed; None where there are no scores or latencies."""
    seen = _seen(history, _score)
    if not seen:
        return None
    x = Scale(*log_reach([latency for latency, _ in seen]), LEFT, WIDTH - RIGHT, log=True)
    y = Scale(*reach(_best_of([score for _, score in seen])), HEIGHT - BOTTOM, TOP_OF_AXES)
    parts = [axes(x, y, "latency as a ratio to ReLU", "score that the search saw")]
    parts.append(dots([(x(latency), y(score)) for latency, score in seen if score >= y.low], "seen"))
    front = pareto_front([judged for judged in history.known.values() if _is_shown(judged, _score)])
    front = [judged for judged in front if (_score(judged) or 0.0) >= y.low]
    at = [x(judged.result.latency or math.nan) for judged in front]
    heights = [y(_score(judged) or 0.0) for judged in front]
    parts.append(polyline(step_points(at, heights), "front"))
    for judged, place, height in zip(front, at, heights, strict=True):
        parts.append(mark(place, height, "baseline" if judged.is_reference else "found", shown(judged.formula)))
    caption = "All functions of the search, by what it saw and by its model of latency; the marks are beaten by none."
    return Picture("Score against latency", svg("Score of the search against latency", HEIGHT, *parts), caption)


def _score(judged: Judged) -> float | None:
    return judged.result.score


def _on_front(findings: Findings) -> list[Finding]:
    shown = (*findings.formulas, *findings.baselines)
    return [f for f, is_on_front in zip(shown, findings.front.tolist(), strict=True) if is_on_front]


def _seen(history: History, score_of: ScoreOf) -> list[tuple[float, float]]:
    """Latency and score of the functions of a search."""
    shown = [judged for judged in history.known.values() if _is_shown(judged, score_of)]
    return [(judged.result.latency or math.nan, score_of(judged) or 0.0) for judged in shown]


def _is_shown(judged: Judged, score_of: ScoreOf) -> bool:
    return judged.result.status is Status.OK and bool(judged.result.latency) and score_of(judged) is not None


def _best_of(scores: Sequence[float]) -> list[float]:
    return sorted(scores, reverse=True)[: max(1, round(SHOWN_SHARE * len(scores)))] if scores else []
