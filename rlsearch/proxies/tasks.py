"""What a proxy asks of its network: the loss that it is trained by, and what its score is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from rlsearch.proxies.data.base import Dataset


class Task(ABC):
    """A loss and a score. Instances are values: two of one class are equal.

    Shapes are those of a population: outputs ``[K, batch, ..., outputs]``, labels ``[K, batch, ...]``, and in scoring,
    where all members see the same examples, labels ``[batch, ...]``.

    Attributes:
        name: The kind of task.
        score: What the score is.
        unit: In which a difference of scores is told.
        factor: From a score to that unit.
        native: Whether the native trainer trains by this loss and counts this score.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    unit: ClassVar[str]
    factor: ClassVar[float]
    native: ClassVar[bool] = False

    @abstractmethod
    def n_outputs(self, dataset: Dataset) -> int:
        """How many numbers a network puts out for each label."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum over members of each one's mean loss.

        So the gradient of a member's weights is that of its own loss, and a loss that is NaN stays with its owner.
        """

    @abstractmethod
    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """What each member's outputs add to its count, shape ``[K]``; no number is read back from the device."""

    @abstractmethod
    def scores(self, counts: Sequence[float], labels: Tensor) -> list[float]:
        """The score of each member from its count over all examples, whose labels are given; higher is better."""


@dataclass(frozen=True, slots=True)
class Classification(Task):
    """Labels are classes, outputs their logits; the loss is cross-entropy and the score accuracy."""

    name: ClassVar[str] = "classification"
    score: ClassVar[str] = "accuracy"
    unit: ClassVar[str] = "percentage points"
    factor: ClassVar[float] = 100.0
    native: ClassVar[bool] = True

    def n_outputs(self, dataset: Dataset) -> int:
        """One logit per class."""
        return dataset.n_classes

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy; see :meth:`Task.loss`."""
        from torch.nn import functional

        summed = functional.cross_entropy(outputs.movedim(-1, 1), labels, reduction="sum")
        return summed / labels[0].numel()

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Labels that are the class of the first largest logit."""
        return (outputs.argmax(dim=-1) == labels).flatten(1).sum(dim=1)

    def scores(self, counts: Sequence[float], labels: Tensor) -> list[float]:
        """Accuracies: shares of all labels."""
        return [count / labels.numel() for count in counts]


CLASSIFICATION = Classification()
