"""Symbolic regression, as a plug-in reward: the Nguyen benchmark with the set-up of Petersen et al. 2021 (Table 2).

Twenty points per problem from its range, the operators ``+ - * / sin cos exp log``, and no constant.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards import RewardResult, Status

Array = NDArray[np.float64]

PROBLEMS: dict[int, tuple[tuple[float, float], Callable[[Array, Array], Array]]] = {
    1: ((-1, 1), lambda x, y: x**3 + x**2 + x),
    2: ((-1, 1), lambda x, y: x**4 + x**3 + x**2 + x),
    3: ((-1, 1), lambda x, y: x**5 + x**4 + x**3 + x**2 + x),
    4: ((-1, 1), lambda x, y: x**6 + x**5 + x**4 + x**3 + x**2 + x),
    5: ((-1, 1), lambda x, y: np.sin(x**2) * np.cos(x) - 1),
    6: ((-1, 1), lambda x, y: np.sin(x) + np.sin(x + x**2)),
    7: ((0, 2), lambda x, y: np.log(x + 1) + np.log(x**2 + 1)),
    8: ((0, 4), lambda x, y: np.sqrt(x)),
    9: ((0, 1), lambda x, y: np.sin(x) + np.sin(y**2)),
    10: ((0, 1), lambda x, y: 2 * np.sin(x) * np.cos(y)),
    11: ((0, 1), lambda x, y: x**y),
    12: ((0, 1), lambda x, y: x**4 - x**3 + y**2 / 2 - y),
}


def language(problem: int) -> LanguageSettings:
    """Returns the language of the published runs."""
    return LanguageSettings(
        inputs=("x", "y") if problem >= 9 else ("x",),
        operators=("add", "sub", "mul", "div", "sin", "cos", "exp", "log"),
        constants=(),
        min_length=4,
        max_length=30,
    )


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
