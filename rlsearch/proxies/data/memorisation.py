"""Facts that only weights can hold."""

import numpy as np

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.sequence_tasks import FACTS, IGNORED

_LETTERS = 32
"""There are as many facts as pairs of them: 1024."""


@DATASETS.add
class Memorisation(Dataset):
    """The values of 32 keys in a row; a key is a pair of letters, and its value is a letter that the seed draws.

    In the manner of the memorisation task of MAD (arXiv 2403.17844, section 3.1). No value stands in a sequence, so
    attention cannot look it up: the feed-forward part must have learnt it. Two things differ. Keys there are single
    tokens, whose values an embedding could hold, and here pairs, which ask for units that see both letters. The value
    there is asked for at a token behind the key, and here at the key's second letter; at the first one there is no
    label.

    Another seed is another dictionary. All parts of one ask for the same facts, or there would be nothing to remember.
    """

    name = "memorisation"
    sizes = (6400, 400, 1600)
    n_features = 64
    n_classes = _LETTERS
    n_tokens = _LETTERS
    by_position = True
    task = FACTS

    def examples(self, seed: int, count: int) -> Examples:
        """Independent letters, and the values of their pairs."""
        of_facts, of_keys = np.random.default_rng(seed).spawn(2)
        values = of_facts.integers(_LETTERS, size=(_LETTERS, _LETTERS))
        letters = of_keys.integers(_LETTERS, size=(count, self.n_features))
        labels = np.full_like(letters, IGNORED)
        labels[:, 1::2] = values[letters[:, ::2], letters[:, 1::2]]
        return letters, labels
