"""The picture of a formula: its curve, or its text while it is incomplete."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rlsearch.formula import Formula, FormulaBuilder


def plot_curve(axes: Axes, formula: Formula, reach: float = 5.0, label: str | None = None) -> None:
    """Draws the curve of ``formula`` over its first input; further inputs are held at 1."""
    x = np.linspace(-reach, reach, 401)
    values = formula(**{name: x if name == formula.inputs[0] else np.ones_like(x) for name in formula.inputs})
    values = np.where(np.isfinite(values), np.clip(values, -1e3, 1e3), np.nan)
    axes.plot(x, values, label=label)


def draw_curve(builder: FormulaBuilder) -> NDArray[np.uint8]:
    """Returns the first row of ``builder`` as a picture, uint8 of shape ``[300, 400, 3]``."""
    figure = Figure(figsize=(4, 3), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if builder.finished[0]:
        plot_curve(axes, builder.formula(0))
    axes.set_title(_shortened(builder.text(0)), fontsize=9)
    axes.grid(alpha=0.3)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
