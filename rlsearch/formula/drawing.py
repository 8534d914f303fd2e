"""The picture of a formula: its curve, or its contours."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rlsearch.formula.formula import Formula
from rlsearch.formula.heat import EDGES, colour, line, values_over


def plot_curve(axes: Axes, formula: Formula, reach: float = 5.0, label: str | None = None, **style: Any) -> None:
    """Draws the curve of ``formula`` over its first input; further inputs are held at 1; ``style`` is matplotlib's."""
    x = np.linspace(-reach, reach, 401)
    values = formula(**{name: x if name == formula.inputs[0] else np.ones_like(x) for name in formula.inputs})
    values = np.where(np.isfinite(values), np.clip(values, -1e3, 1e3), np.nan)
    axes.plot(x, values, label=label, **style)


def plot_contours(axes: Axes, formula: Formula, reach: float = 5.0) -> None:
    """Draws the contours of ``formula`` over its first two inputs: blue above 0, vermilion below."""
    across = line(reach, 101)
    first, second = np.meshgrid(across, across)
    values = np.clip(values_over(formula, first, second), -1e3, 1e3)
    edges = (*(-edge for edge in reversed(EDGES)), *EDGES)
    colours = [colour(number) for number in range(-len(EDGES), len(EDGES) + 1)]
    axes.contourf(across, across, np.ma.masked_invalid(values), levels=edges, colors=colours, extend="both")
    axes.set_aspect("equal")
    axes.set_xlabel(formula.inputs[0])
    axes.set_ylabel(formula.inputs[1])
