"""A surrogate: predicts the reward of a formula from its values on a grid, so that the hopeless are not trained."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rlsearch.formula import Formula
from rlsearch.judging.history import Judged

_REACH, _POINTS = 6.0, 49  # pre-activations rarely leave +-6; a step of 1/4 shows any bend that a network would feel
_TREES = 100
_FEATURES = 0.5  # looked at for each split: neighbours on the grid say the same, and half of them predict as well
_MOST = 2000  # functions learned from, the newest: fitting takes about a second of one core then
_WORST = 0.05  # rewards below this quantile are as good as it: how bad the worst are says nothing of the best


class Surrogate:
    """Extremely randomised trees (Geurts et al. 2006) on the curve of a formula: its values, its slopes and its size.

    The grid is that of every input, crossed with nothing: the inputs of a gated formula take the same values in an
    order of their own.
    """

    def __init__(self) -> None:
        self._curves: dict[Formula, NDArray[np.float32]] = {}  # by spelling: two of one function differ by rounding

    def fit(self, known: Iterable[Judged], seed: int) -> None:
        """Learns the rewards of the functions judged last."""
        from sklearn.ensemble import ExtraTreesRegressor

        judged = list(known)[-_MOST:]
        self._curves = {j.formula: self._curve(j.formula) for j in judged}
        rewards = np.array([j.result.value for j in judged])
        # On all cores, which are idle now; every tree has random numbers of its own, whatever core it grows on.
        self._trees = ExtraTreesRegressor(
            _TREES, min_samples_leaf=2, max_features=_FEATURES, random_state=seed, n_jobs=-1
        )
        self._trees.fit(self._of([j.formula for j in judged]), np.maximum(rewards, np.quantile(rewards, _WORST)))

    def predict(self, formulas: Sequence[Formula]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the predicted rewards and how unsure they are, each of shape ``[len(formulas)]``.

        The trees' mean, and the standard deviation over the trees (as in SMAC, Hutter et al. 2011, Section 4.1).
        """
        curves = self._of(formulas)
        by_tree = np.stack([tree.predict(curves, check_input=False) for tree in self._trees.estimators_])
        return by_tree.mean(axis=0), by_tree.std(axis=0)

    def _of(self, formulas: Sequence[Formula]) -> NDArray[np.float32]:
        return np.stack([np.append(self._curve(formula), np.float32(formula.size)) for formula in formulas])

    def _curve(self, formula: Formula) -> NDArray[np.float32]:
        known = self._curves.get(formula)
        return _curve(formula) if known is None else known


def rank_correlation(predicted: Sequence[float], actual: Sequence[float]) -> float:
    """Returns Spearman's correlation; NaN where one side is constant."""
    if len(set(predicted)) < 2 or len(set(actual)) < 2:
        return float("nan")
    return float(stats.spearmanr(predicted, actual).statistic)


def _curve(formula: Formula) -> NDArray[np.float32]:
    """Returns values and differences on the grid, compressed as a fingerprint is, with nothing infinite in it."""
    with np.errstate(all="ignore"):
        values = formula(*(_line(i) for i in range(len(formula.inputs))))
        compressed = np.nan_to_num(np.arcsinh(values), nan=0.0, posinf=50.0, neginf=-50.0)
        return np.concatenate([compressed, np.diff(compressed)]).astype(np.float32)


@cache
def _line(index: int) -> NDArray[np.float64]:
    """Returns the values of a formula's ``index``-th input."""
    line = np.linspace(-_REACH, _REACH, _POINTS)
    return np.random.default_rng(index).permutation(line) if index else line
