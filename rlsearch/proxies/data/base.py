"""What a data set says of itself."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.registry import Registry
from rlsearch.proxies.tasks import CLASSIFICATION, Task

Examples = tuple[NDArray[np.float64], NDArray[Any]]
"""Inputs ``[count, features]`` and labels ``[count]``."""


class Dataset(ABC):
    """A data set that a proxy names: a subclass, added to :data:`DATASETS`.

    Attributes:
        name: In a config.
        sizes: Examples for training, validation and test, unless the config says others; multiples of 4.
        n_features: Numbers of an example.
        n_classes: Of a classification: labels are whole numbers from 0 up to this one, which is left out. A data set
            of another task has none.
        is_sequence: Whether an example's numbers are a sequence in which neighbours belong together.
        available: Examples that there are, or None if as many as wanted are generated from a seed. Of a data set that
            is not generated, another seed only divides the same examples in another way.
        task: Loss and score; it says what labels are.
    """

    name: ClassVar[str]
    sizes: ClassVar[tuple[int, int, int]]
    n_features: ClassVar[int]
    n_classes: ClassVar[int]
    is_sequence: ClassVar[bool] = False
    available: ClassVar[int | None] = None
    task: ClassVar[Task] = CLASSIFICATION

    @abstractmethod
    def examples(self, seed: int, count: int) -> Examples:
        """Inputs ``[count, n_features]`` and labels ``[count]``, in an order that is cut into parts as it is.

        Args:
            seed: Decides all of it; below 2**32.
            count: How many; at most :attr:`available`.
        """


DATASETS: Registry[Dataset] = Registry("data set")
