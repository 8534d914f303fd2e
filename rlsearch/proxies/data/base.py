"""What a data set says of itself."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from rlsearch.common.registry import Registry
from rlsearch.proxies.tasks import CLASSIFICATION, Task

Examples = tuple[NDArray[Any], NDArray[Any]]
"""Inputs ``[count, n_features]``, whole numbers where they are tokens; and labels.

Those are ``[count]``, ``[count, n_targets]``, or ``[count, n_features]`` where there is one at every position.
"""


class Dataset(ABC):
    """A data set that a proxy names: a subclass, added to :data:`DATASETS`.

    Attributes:
        name: In a config.
        sizes: Examples for training, validation and test, unless the config says others; multiples of 4.
        n_features: Numbers of an example, or tokens.
        n_classes: Of a classification: labels are whole numbers from 0 up to this one, which is left out.
        n_targets: Numbers or bits that are asked for at once, of a task whose labels are ``[count, n_targets]``.
        n_tokens: If an example is a row of tokens: whole numbers from 0 up to this one, which is left out.
        by_position: Whether there is a label at every one of the ``n_features`` positions: labels are
            ``[count, n_features]``.
        is_sequence: Whether an example's numbers are a sequence in which neighbours belong together.
        image: Channels, height and width, if an example's numbers are an image in that order.
        available: Examples that there are, or None if as many as wanted are made from a seed.
        task: Loss and score; it says what labels are.
        has_outside: Whether there are examples from another range of inputs; see :meth:`outside`.
        needs_path: Whether a config must say where its files are. ``may_have_path``: whether it may.
    """

    name: ClassVar[str]
    sizes: tuple[int, int, int]
    n_features: int
    n_classes: int
    n_targets: int
    n_tokens: int | None = None
    by_position: bool = False
    is_sequence: bool = False
    image: tuple[int, int, int] | None = None
    available: int | None = None
    task: Task = CLASSIFICATION
    has_outside: ClassVar[bool] = False
    needs_path: ClassVar[bool] = False
    may_have_path: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """A set that needs files may have them."""
        super().__init_subclass__()
        cls.may_have_path = cls.may_have_path or cls.needs_path

    @property
    def caveat(self) -> str | None:
        """What is not fresh about the examples of another seed, as a sentence; None if they are made anew."""
        if self.available is None:
            return None
        return (
            f"{self.name} cannot be generated anew: every seed divides the same examples in another way, and a "
            "search on it has seen most of them, so intervals are too narrow"
        )

    def opened(self, path: Path | None) -> "Dataset":
        """The data set with what its files say of it, such as the number of features; one without files is itself.

        It is asked for often: the same path gives the same object.

        Raises:
            ConfigError: If the files are not there, or not of its format.
        """
        return self

    def digest(self) -> str | None:
        """Stands for all that comes from files, whoever's they are; None if nothing does."""
        return None

    def parts(self, seed: int, sizes: tuple[int, ...]) -> list[Examples]:
        """The parts, disjoint, of these sizes: here the examples of a seed, cut up.

        Args:
            seed: Decides all of it; below 2**32.
            sizes: Of training, validation and test.
        """
        inputs, labels = self.examples(seed, sum(sizes))
        parts = []
        start = 0
        for size in sizes:
            parts.append((inputs[start : start + size], labels[start : start + size]))
            start += size
        # What is too much or too little is the last one's, whose shape then tells.
        parts[-1] = (inputs[start - sizes[-1] :], labels[start - sizes[-1] :])
        return parts

    @abstractmethod
    def examples(self, seed: int, count: int) -> Examples:
        """Inputs and labels, in an order that is cut into parts as it is.

        Args:
            seed: Decides all of it; below 2**32.
            count: How many; at most :attr:`available`.
        """

    def outside(self, seed: int, count: int) -> Examples:
        """Examples of the same question for inputs from outside the range of :meth:`examples`.

        They are for scoring alone; half of them serve a search, the others judge its result.

        Args:
            seed: The same question as that of ``examples`` of this seed.
            count: How many.
        """
        raise NotImplementedError(f"{self.name} has no examples from another range")


DATASETS: Registry[Dataset] = Registry("data set")
