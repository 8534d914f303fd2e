"""How alike several numbers order the same things."""

import numpy as np
from numpy.typing import NDArray


def rank_correlations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's correlations between columns.

    Of equal numbers, such as gains that are cut, all have their middle rank.

    Args:
        values: Shape ``[things, columns]``. Infinities are the smallest or largest numbers.

    Returns:
        Shape ``[columns, columns]``; NaN where a column is constant.
    """
    from scipy.stats import rankdata

    if len(values) < 2:
        return np.full((values.shape[1], values.shape[1]), np.nan)
    with np.errstate(invalid="ignore"):
        return np.atleast_2d(np.corrcoef(rankdata(values, axis=0), rowvar=False))
