"""The picture of a formula: its curve or contours, or its text while it is incomplete."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rlsearch.formula import FormulaBuilder
from rlsearch.formula.drawing import plot_contours, plot_curve


def draw_curve(builder: FormulaBuilder) -> NDArray[np.uint8]:
    """Draws the first row of ``builder``, uint8 of shape ``[300, 400, 3]``."""
    figure = Figure(figsize=(4, 3), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if builder.finished[0]:
        formula = builder.formula(0)
        if formula.is_gated:
            plot_contours(axes, formula)
        else:
            plot_curve(axes, formula)
    axes.set_title(_shortened(builder.text(0)), fontsize=9)
    axes.grid(alpha=0.3)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
