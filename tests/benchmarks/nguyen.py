"""Symbolic regression, as a plug-in reward: the Nguyen benchmark (Uy et al. 2011; Petersen et al. 2021, Table 2)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.rewards import RewardResult, Status

Array = NDArray[np.float64]

PROBLEMS: dict[int, tuple[tuple[float, float], Callable[[Array, Array], Array]]] = {
    1: ((-1, 1), lambda x, y: x**3 + x**2 + x),
    3: ((-1, 1), lambda x, y: x**5 + x**4 + x**3 + x**2 + x),
    9: ((0, 1), lambda x, y: np.sin(x) + np.sin(y**2)),
}


class NguyenReward:
    """``1 / (1 + NRMSE)`` on 20 points; :meth:`recovered` checks on 100 fresh ones."""

    def __init__(self, problem: int) -> None:
        (self.low, self.high), self.truth = PROBLEMS[problem]
        self.points = self._points(20, seed=0)
        self.target = self.truth(*self.points)
        self.spread = self.target.std()

    def _points(self, count: int, seed: int) -> tuple[Array, Array]:
        rng = np.random.default_rng(seed)
        return rng.uniform(self.low, self.high, count), rng.uniform(self.low, self.high, count)

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        return [self._result(formula) for formula in formulas]

    def _result(self, formula: Formula) -> RewardResult:
        x, y = self.points
        with np.errstate(all="ignore"):
            error = np.sqrt(np.mean((formula(x=x, y=y) - self.target) ** 2)) / self.spread
        if not np.isfinite(error):
            return RewardResult(0.0, Status.UNFIT)
        return RewardResult(float(1 / (1 + error)))

    def recovered(self, formula: Formula) -> bool:
        """Whether the normalised mean squared error on 100 fresh points is below 1e-12."""
        x, y = self._points(100, seed=1)
        truth = self.truth(x, y)
        with np.errstate(all="ignore"):
            return bool(np.mean((formula(x=x, y=y) - truth) ** 2) / truth.var() < 1e-12)
