"""scikit-learn's digits, bundled."""

import numpy as np
from numpy.typing import NDArray


def digits(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """scikit-learn's bundled 8x8 digits, scaled to [0, 1] and shuffled by ``seed``."""
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))[:count]
    return inputs[order] / 16, labels[order]
