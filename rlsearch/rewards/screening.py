"""Screening: which formulas are not worth training, told from their values and slopes on a grid."""

import math

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.program import run_with_slopes
from rlsearch.rewards.settings import ScreeningSettings

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def screening_grid(settings: ScreeningSettings, inputs: int) -> NDArray[np.float32]:
    """The points at which functions are screened, float32 of shape ``[inputs, points]``.

    The first input takes equally spaced values in their order. Each further one takes the same values in the order of a
    lattice (Korobov 1959), so that the points of two inputs fill the square evenly and every value of each is met once.
    """
    points = settings.points
    line = np.linspace(-settings.reach, settings.reach, points, dtype=np.float32)
    # The step nearest to the golden section that meets every point.
    step = next(step for step in range(round(points / GOLDEN_RATIO), points) if math.gcd(step, points) == 1)
    centre = points // 2
    orders = [(step**i * (np.arange(points) - centre) + centre) % points for i in range(inputs)]
    grid: NDArray[np.float32] = line[np.stack(orders)]
    return grid


def why_unfit(formula: Formula, settings: ScreeningSettings) -> str:
    """Why ``formula`` should not be trained, or an empty text where it is fit.

    Values and slopes are computed in float32, as training will compute them; parameters have their start values.
    """
    formula = formula.with_values()
    if formula.inputs[0] != "x":
        return f"a function of {', '.join(formula.inputs)} and not of x"
    if settings.gated_only and not formula.is_gated:
        return "a function of x alone"
    with np.errstate(all="ignore"):
        values, slopes = run_with_slopes(formula.program, NUMPY, [*screening_grid(settings, len(formula.inputs))])
        steepest = max(float(np.max(np.abs(slope))) for slope in slopes)
    interval = f"[-{settings.reach:g}, {settings.reach:g}]"
    if not np.isfinite(values).all():
        return f"not finite on {interval}"
    if float(np.ptp(values)) <= settings.min_spread:
        return f"constant on {interval}"
    if not np.isfinite(steepest):
        return f"slope not finite on {interval}"
    if steepest > settings.max_slope:
        return f"slope {steepest:.3g} on {interval}, above {settings.max_slope:g}"
    return ""
