"""scikit-learn's digits, bundled."""

import numpy as np

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples


@DATASETS.add
class Digits(Dataset):
    """The 8x8 digits of scikit-learn, scaled to [0, 1] and shuffled by the seed."""

    name = "digits"
    sizes = (1000, 396, 400)
    n_features = 64
    image = (1, 8, 8)
    n_classes = 10
    available = 1796  # 1797 in scikit-learn; parts are multiples of 4

    def examples(self, seed: int, count: int) -> Examples:
        """The first ``count`` after shuffling."""
        from sklearn.datasets import load_digits

        inputs, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(labels))[:count]
        return inputs[order] / 16, labels[order]
