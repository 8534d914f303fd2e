"""A surrogate: predicts the reward of a formula from its values on a grid, so that the hopeless are not trained."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rlsearch.formula import Formula
from rlsearch.judging import Judged

_REACH, _POINTS = 6.0, 49  # pre-activations rarely leave +-6; a step of 1/4 shows any bend that a network would feel
_TREES = 100
_MOST = 2000  # functions learned from, the newest: fitting takes about a second then
_WORST = 0.05  # rewards below this quantile are as good as it: how bad the worst are says nothing of the best


class Surrogate:
    """Extremely randomised trees (Geurts et al. 2006) on the curve of a formula: its values, its slopes and its size.

    The grid is that of every input, crossed with nothing: the inputs of a gated formula take the same values in an
    order of their own.

    Attributes:
        seen: How many functions it has learned from.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._features: dict[str, NDArray[np.float32]] = {}

    def fit(self, known: Iterable[Judged], seed: int) -> None:
        """Learns the rewards of the functions judged last."""
        from sklearn.ensemble import ExtraTreesRegressor

        judged = list(known)[-_MOST:]
        self.seen = len(judged)
        rewards = np.array([j.result.value for j in judged])
        self._trees = ExtraTreesRegressor(_TREES, min_samples_leaf=2, random_state=seed)
        self._trees.fit(self._of([j.formula for j in judged]), np.maximum(rewards, np.quantile(rewards, _WORST)))

    def predict(self, formulas: Sequence[Formula]) -> NDArray[np.float64]:
        """Returns the predicted rewards, shape ``[len(formulas)]``."""
        predicted: NDArray[np.float64] = self._trees.predict(self._of(formulas))
        return predicted

    def _of(self, formulas: Sequence[Formula]) -> NDArray[np.float32]:
        rows = []
        for formula in formulas:
            if formula.fingerprint not in self._features:
                self._features[formula.fingerprint] = _curve(formula)
            rows.append(np.append(self._features[formula.fingerprint], np.float32(formula.size)))
        return np.stack(rows)


def rank_correlation(predicted: Sequence[float], actual: Sequence[float]) -> float:
    """Returns Spearman's correlation; NaN where one side is constant."""
    if len(set(predicted)) < 2 or len(set(actual)) < 2:
        return float("nan")
    return float(stats.spearmanr(predicted, actual).statistic)


def _curve(formula: Formula) -> NDArray[np.float32]:
    """Returns values and differences on the grid, compressed as a fingerprint is, with nothing infinite in it."""
    line = np.linspace(-_REACH, _REACH, _POINTS)
    orders = [np.random.default_rng(i).permutation(_POINTS) if i else np.arange(_POINTS) for i in range(26)]
    with np.errstate(all="ignore"):
        values = formula(**{name: line[orders[i]] for i, name in enumerate(formula.inputs)})
        compressed = np.nan_to_num(np.arcsinh(values), nan=0.0, posinf=50.0, neginf=-50.0)
        return np.concatenate([compressed, np.diff(compressed)]).astype(np.float32)
