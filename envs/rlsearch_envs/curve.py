"""A cheap reward: how closely a formula's curve follows a given one. No network is trained."""

from collections.abc import Sequence

import numpy as np

from rlsearch.errors import ConfigError
from rlsearch.formula import Formula
from rlsearch.rewards.base import RewardResult, Status


class CurveReward:
    """``1 / (1 + NRMSE)`` of a formula against a target formula; 1 is a perfect fit.

    NRMSE is the root mean squared error divided by the target's standard deviation, as in Petersen et al. 2021
    (arXiv 1912.04871), Section 4. A formula that is not finite on the grid is unfit.

    Args:
        curve: The formula to follow, as infix text.
        reach: The grid spans ``-reach`` to ``reach`` in every input.
        points: Number of grid points; for several inputs they are drawn from a fixed seed.

    Raises:
        ConfigError: If the curve is constant or not finite on the grid.
    """

    def __init__(self, curve: str = "gelu(x)", reach: float = 5.0, points: int = 64) -> None:
        formula = Formula.parse(curve)
        rng = np.random.default_rng(0)
        self.inputs = {
            name: np.linspace(-reach, reach, points) if name == "x" else rng.uniform(-reach, reach, points)
            for name in ("x", *formula.inputs)
        }
        self.target = formula(**self.inputs)
        self.spread = float(np.std(self.target)) if np.isfinite(self.target).all() else 0.0
        if self.spread == 0:
            raise ConfigError(f"the curve '{curve}' is constant or not finite on [-{reach}, {reach}]")

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        """Judges the formulas; one result each, in order."""
        return [self._result(formula) for formula in formulas]

    def _result(self, formula: Formula) -> RewardResult:
        missing = set(formula.inputs) - set(self.inputs)
        if missing:
            return RewardResult(0.0, Status.UNFIT, message=f"the curve has no input {sorted(missing)[0]}")
        with np.errstate(all="ignore"):
            error = float(np.sqrt(np.mean((formula(**self.inputs) - self.target) ** 2))) / self.spread
        if not np.isfinite(error):
            return RewardResult(0.0, Status.UNFIT, message="not finite on the grid")
        return RewardResult(1 / (1 + error), score=1 / (1 + error))
