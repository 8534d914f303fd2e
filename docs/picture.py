"""Draws the README's picture, atanline beside GELU and ReLU and their slopes: ``python docs/picture.py`` writes it."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rlsearch import Formula

CURVES = {"atanline": ("#0b6e4f", 2.4), "gelu": ("#c8553d", 1.6), "relu": ("#7a7a7a", 1.6)}
LABELS = {"atanline": "atanline: atan(x) * (0.5 * x + 1)", "gelu": "GELU", "relu": "ReLU"}
STEP = 1e-3


def draw() -> Figure:
    """Two panels: the functions, and their slopes by central differences."""
    x = np.arange(-5, 4 + STEP, STEP)
    figure = Figure(figsize=(9, 3.4), facecolor="white", layout="constrained")
    values, slopes = figure.subplots(1, 2)
    for name, (colour, width) in CURVES.items():
        f = Formula.parse(f"{name}(x)")
        style = {"color": colour, "linewidth": width, "label": LABELS[name]}
        values.plot(x, f(x), **style)
        # ReLU's slope jumps; a steep line would hide that.
        slope = (f(x + STEP) - f(x - STEP)) / (2 * STEP)
        slope[np.abs(np.gradient(slope, x)) > 100] = np.nan
        slopes.plot(x, slope, **style)
    values.set(title="value", xlim=(-5, 4), ylim=(-1.5, 4.5))
    slopes.set(title="slope", xlim=(-5, 4), ylim=(-1.5, 2.6))
    for axes in (values, slopes):
        axes.axhline(0, color="#cccccc", linewidth=0.8, zorder=0)
        axes.axvline(0, color="#cccccc", linewidth=0.8, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    values.legend(frameon=False, loc="upper left")
    return figure


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "atanline"  # the same file every time
    draw().savefig(Path(__file__).with_name("atanline.svg"), metadata={"Date": None})
