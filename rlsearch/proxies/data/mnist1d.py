"""MNIST-1D, generated."""

from types import SimpleNamespace

from rlsearch.proxies.data.base import DATASETS, Dataset, Examples
from rlsearch.proxies.data.kept import kept_examples


@DATASETS.add
class Mnist1d(Dataset):
    """MNIST-1D (Greydanus 2020, arXiv 2011.14439) by its own generator."""

    name = "mnist1d"
    sizes = (4000, 10_000, 10_000)  # many validation points cut the score's noise
    n_features = 40
    n_classes = 10
    is_sequence = True

    def examples(self, seed: int, count: int) -> Examples:
        """Generated once per machine, and then read from its cache."""
        return kept_examples(self.name, seed, count, lambda: self._generate(seed, count))

    def _generate(self, seed: int, count: int) -> Examples:
        from mnist1d.data import get_dataset_args, make_dataset

        from rlsearch.common.rng import random_numbers_kept

        # The generator makes as many of each class.
        whole = -(-count // self.n_classes) * self.n_classes
        arguments = get_dataset_args(as_dict=True) | {"num_samples": whole, "train_split": 1.0, "seed": seed}
        # It reseeds the global generators.
        with random_numbers_kept():
            made = make_dataset(SimpleNamespace(**arguments))
        return made["x"][:count], made["y"][:count]
