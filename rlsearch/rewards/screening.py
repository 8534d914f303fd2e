"""Screening: which formulas are not worth training, told from their values and slopes on a grid."""

import numpy as np

from rlsearch.formula import Formula
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.program import run_with_slopes
from rlsearch.rewards.settings import ScreeningSettings


def why_unfit(formula: Formula, settings: ScreeningSettings) -> str:
    """Why ``formula`` should not be trained, or an empty text where it is fit.

    Values and slopes are computed in float32, as training will compute them; parameters have their start values.
    """
    formula = formula.with_values()
    x = np.linspace(-settings.reach, settings.reach, settings.points, dtype=np.float32)
    inputs = [x] * len(formula.inputs)
    with np.errstate(all="ignore"):
        values, slopes = run_with_slopes(formula.program, NUMPY, inputs)
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
