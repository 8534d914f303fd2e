"""The bits of products."""

import numpy as np

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.tasks import BITS

_BITS = 7
"""Of a factor."""


@DATASETS.add
class Products(Dataset):
    """The bits of the product of two numbers of seven bits.

    Inputs are the bits of both factors, each from the lowest to the highest, as -1 and 1; labels are the 14 bits of
    the product in the same order, as 0 and 1. The pairs are shuffled by the seed. A product with its factors swapped is
    another example, which may be in another part.
    """

    name = "products"
    sizes = (8000, 4000, 4384)
    n_features = 2 * _BITS
    n_targets = 2 * _BITS
    task = BITS
    available = 4**_BITS

    def examples(self, seed: int, count: int) -> Examples:
        """The first ``count`` pairs after shuffling."""
        pairs = np.random.default_rng(seed).permutation(self.available)[:count]
        first, second = np.divmod(pairs, 2**_BITS)
        places = np.arange(2 * _BITS)
        return 2 * (pairs[:, None] >> places & 1) - 1, (first * second)[:, None] >> places & 1
