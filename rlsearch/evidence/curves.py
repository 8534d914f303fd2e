"""The curves of search methods at equal budget, in the colours of Okabe and Ito 2008."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from rlsearch.evidence.methods import Estimate

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINES = ("-", "--", ":", "-.")


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
