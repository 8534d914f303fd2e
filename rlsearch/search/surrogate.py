"""A surrogate: predicts the reward of a formula from its values on a grid, so that bad ones are not trained."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.judging.history import Judged

GRID_REACH, GRID_POINTS = 6.0, 49
"""Pre-activations rarely leave +-6; a step of 1/4 shows any bend that a network would feel."""

TREES = 100

FEATURES_PER_SPLIT = 0.5
"""Share of the features looked at for each split: neighbours on the grid say the same, and half predict as well."""

MAX_FIT_EXAMPLES = 2000
"""Functions learned from, the newest: fitting takes about a second of one core then."""

REWARD_FLOOR_QUANTILE = 0.05
"""Rewards below this quantile are raised to it: how bad the worst are says nothing of the best."""


class Surrogate:
    """Extremely randomised trees (Geurts et al. 2006) on the curve of a formula: its values, its slopes and its size.

    Each input of the language takes the grid's values in an order of its own, so that a formula of several inputs is
    seen along one line through them, and ``sin(x)`` and ``sin(g)`` are different curves.

    Args:
        inputs: Names of the language's inputs; the first one takes the grid's values in their order.
    """

    def __init__(self, inputs: Sequence[str] = ("x",)) -> None:
        self._lines = {name: _line(i) for i, name in enumerate(inputs)}
        self._curves: dict[Formula, NDArray[np.float32]] = {}  # by spelling: two of one function differ by rounding

    def fit(self, known: Iterable[Judged], seed: int) -> None:
        """Learns the rewards of the functions judged last."""
        from sklearn.ensemble import ExtraTreesRegressor

        judged = list(known)[-MAX_FIT_EXAMPLES:]
        self._curves = {j.formula: self._curve(j.formula) for j in judged}
        rewards = np.array([j.result.value for j in judged])
        # On all cores, which are idle now; every tree has random numbers of its own, whatever core it grows on.
        self._trees = ExtraTreesRegressor(
            TREES, min_samples_leaf=2, max_features=FEATURES_PER_SPLIT, random_state=seed, n_jobs=-1
        )
        floor = np.quantile(rewards, REWARD_FLOOR_QUANTILE)
        self._trees.fit(self._features([j.formula for j in judged]), np.maximum(rewards, floor))

    def predict(self, formulas: Sequence[Formula]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicts rewards, and says how unsure it is of them.

        Returns:
            The trees' mean, and the standard deviation over the trees (as in SMAC, Hutter et al. 2011, Section 4.1),
            each of shape ``[len(formulas)]``.
        """
        features = self._features(formulas)
        by_tree = np.stack([tree.predict(features, check_input=False) for tree in self._trees.estimators_])
        return by_tree.mean(axis=0), by_tree.std(axis=0)

    def _features(self, formulas: Sequence[Formula]) -> NDArray[np.float32]:
        """Curve and size of each formula."""
        return np.stack([np.append(self._curve(formula), np.float32(formula.size)) for formula in formulas])

    def _curve(self, formula: Formula) -> NDArray[np.float32]:
        """Values and differences on the grid, compressed as a fingerprint is, with nothing infinite in it."""
        known = self._curves.get(formula)
        if known is not None:
            return known
        # A reference may have an input that the language lacks.
        lines = {name: self._lines.get(name, _line(0)) for name in formula.inputs}
        with np.errstate(all="ignore"):
            compressed = np.nan_to_num(np.arcsinh(formula(**lines)), nan=0.0, posinf=50.0, neginf=-50.0)
            return np.concatenate([compressed, np.diff(compressed)]).astype(np.float32)


def rank_correlation(predicted: Sequence[float], actual: Sequence[float]) -> float:
    """Spearman's correlation; NaN where one side is constant."""
    if len(set(predicted)) < 2 or len(set(actual)) < 2:
        return float("nan")
    from scipy import stats

    return float(stats.spearmanr(predicted, actual).statistic)


@cache
def _line(index: int) -> NDArray[np.float64]:
    """The values of the language's ``index``-th input."""
    line = np.linspace(-GRID_REACH, GRID_REACH, GRID_POINTS)
    return np.random.default_rng(index).permutation(line) if index else line
