"""The picture of a formula: its curve."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rlsearch.formula.formula import Formula


def plot_curve(axes: Axes, formula: Formula, reach: float = 5.0, label: str | None = None, **style: Any) -> None:
    """Draws the curve of ``formula`` over its first input; further inputs are held at 1; ``style`` is matplotlib's."""
    x = np.linspace(-reach, reach, 401)
    values = formula(**{name: x if name == formula.inputs[0] else np.ones_like(x) for name in formula.inputs})
    values = np.where(np.isfinite(values), np.clip(values, -1e3, 1e3), np.nan)
    axes.plot(x, values, label=label, **style)
