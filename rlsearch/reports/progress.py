"""How a search went on: the best reward so far, by trained candidates."""

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from rlsearch.judging.history import History
from rlsearch.reports.drawing import (
    BOTTOM,
    LEFT,
    RIGHT,
    WIDTH,
    Picture,
    Scale,
    axes,
    legend,
    polyline,
    reach,
    step_points,
    svg,
    thinned,
)
from rlsearch.studies.methods import Estimate, best_so_far

HEIGHT, TOP_OF_AXES = 310.0, 46.0

LINES = ("first", "second", "third", "fourth", "fifth", "sixth")
"""Classes of lines, which differ in colour and in dashes."""

Floats = NDArray[np.float64]


def progress_picture(history: History | None, rivals: Mapping[str, Estimate]) -> Picture | None:
    """Draws the best reward so far.

    Args:
        history: Of a single run; None where rivals are drawn alone. Rewards are those that the run knows now.
        rivals: Curves of methods by name, arrays of ``[candidates]``, each with the interval over its runs.

    Returns:
        The picture; None where nothing was trained.
    """
    own = _best_so_far(history) if history is not None else None
    curves = dict(rivals)
    if own is not None:
        curves = {"this run": Estimate(own, own, own), **curves}
    if not curves:
        return None
    longest = max(len(curve.value) for curve in curves.values())
    x = Scale(1.0, max(longest, 2), LEFT, WIDTH - RIGHT)
    y = Scale(*_limits(curves), HEIGHT - BOTTOM, TOP_OF_AXES)
    parts = [axes(x, y, "trained candidates", "best reward so far")]
    kinds = {name: LINES[i % len(LINES)] for i, name in enumerate(curves)}
    for name, curve in curves.items():
        if name in rivals:
            parts.append(_band(x, y, curve, kinds[name]))
    for name, curve in curves.items():
        places = thinned(curve.value)
        values = [y(value) for value in curve.value[places].tolist()]
        parts.append(polyline(step_points([x(place + 1) for place in places.tolist()], values), kinds[name]))
    if len(curves) > 1:
        parts.append(legend(LEFT, 16.0, {kinds[name]: name for name in curves}))
    caption = "Rewards as they are known now: the leaders are trained again from more seeds."
    if rivals:
        caption = "Interquartile mean over runs, with its 95 % interval."
    names = ", ".join(curves)
    return Picture("Progress of the search", svg(f"The best reward so far of {names}", HEIGHT, *parts), caption)


def _best_so_far(history: History) -> Floats | None:
    """The best reward after each trained candidate, in the order in which they came, ``[candidates]``."""
    found = [judged for judged in history.known.values() if not judged.is_reference]
    rewards = [judged.result.value for judged in found if judged.result.status.is_trained]
    return best_so_far(rewards, len(rewards)) if rewards else None


def _limits(curves: Mapping[str, Estimate]) -> tuple[float, float]:
    """The ends of the y axis. The first few candidates are far below all others, and would press these into a line."""
    values: list[float] = []
    for curve in curves.values():
        start = len(curve.value) // 50
        values += [*curve.low[start:].tolist(), *curve.high[start:].tolist()]
    return reach(values)


def _band(x: Scale, y: Scale, curve: Estimate, kind: str) -> Markup:
    places = thinned(curve.value)
    at = [x(place + 1) for place in places.tolist()]
    upper = zip(at, [y(value) for value in curve.high[places].tolist()], strict=True)
    lower = zip(at, [y(value) for value in curve.low[places].tolist()], strict=True)
    return polyline([*upper, *reversed(list(lower))], f"band {kind}")
