"""What a proxy asks of its network: the loss that it is trained by, what its score is, and how one is said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rlsearch.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rlsearch.proxies.data.base import Dataset


@dataclass(frozen=True, slots=True)
class Task(ABC):
    """A loss, and what scores mean. Of two scores the higher one is better, whatever the task.

    Trainers ask a task for its loss and its score; tables, axes and verdicts for their words. None of them knows what
    it is that they train or show.

    Shapes are those of a population: outputs ``[K, batch, ..., outputs]``, labels ``[K, batch, ...]``, and in scoring,
    where all members see the same examples, labels ``[batch, ...]``.

    Attributes:
        name: ``"classification"``.
        score: What a score is called: ``"accuracy"``.
        unit: Of a difference, written out for headings: ``"percentage points"``.
        gain: Of a difference, as a sentence says it: ``"points"``. A task whose scores are losses with the sign
            changed says here which way is better: ``"nats lower"``.
        scale: Of a score times ``factor``: ``"%"``.
        factor: A difference of scores times this is in ``unit``, and a score times this is in ``scale``.
        decimals: Of a number in ``unit`` or in ``scale``.
        score_decimals: Of a score as tables show it.
        worst: The score that a training which diverged counts as, where a number is wanted.
        native: Whether the native trainer trains by this loss and counts this score; its own are those of
            classification.
    """

    native: ClassVar[bool] = False

    name: str
    score: str
    unit: str
    gain: str
    scale: str
    factor: float = 1.0
    decimals: int = 3
    score_decimals: int = 4
    worst: float = 0.0

    def __init_subclass__(cls) -> None:
        """A subclass may change loss or score, so it is native only if it says so itself."""
        # The first of the two classes that a dataclass with slots is made of has no super() of its own.
        cls.native = cls.__dict__.get("native", False)

    @property
    def title(self) -> str:
        """What a score is called at the start of a sentence: ``"Accuracy"``."""
        return self.score[:1].upper() + self.score[1:]

    @property
    def axis(self) -> str:
        """Title of an axis of scores: ``"test accuracy, %"``."""
        return f"test {self.score}, {self.scale}"

    @property
    def difference_axis(self) -> str:
        """Title of an axis of differences: ``"difference in test accuracy, percentage points"``."""
        return f"difference in test {self.score}, {self.unit}"

    @property
    def resolution(self) -> float:
        """The smallest difference from zero that :attr:`decimals` can show, in ``unit``."""
        return float(10.0**-self.decimals)

    def in_words(self, difference: float) -> str:
        """Says a difference with its sign and unit: ``"+7.1 points"``."""
        return f"{self.number(difference, sign=True)} {self.gain}"

    def number(self, difference: float, *, sign: bool = False) -> str:
        """Writes a difference in ``unit``; with one more decimal where it would look like none.

        Args:
            difference: Of two scores.
            sign: Whether a plus is written.
        """
        value = self.factor * difference
        decimals = self.decimals if abs(value) >= self.resolution else self.decimals + 1
        rounded = round(value, decimals) + 0.0  # no minus before a zero
        if not rounded:
            decimals = self.decimals
        return format(rounded, f"{'+' if sign else ''}.{decimals}f")

    def cell(self, difference: float) -> str:
        """Writes a difference for a column of a table, where all have as many decimals: ``"+7.1"``."""
        return format(self.factor * difference, f"+.{self.decimals}f")

    def level(self, score: float) -> str:
        """Writes a score with its scale: ``"64.9 %"``."""
        return f"{self.factor * score:.{self.decimals}f} {self.scale}"

    def score_text(self, score: float) -> str:
        """Writes a score, or the standard error of one, as tables show it: ``"0.6495"``."""
        return format(score, f".{self.score_decimals}f")

    @abstractmethod
    def n_outputs(self, dataset: Dataset) -> int:
        """How many numbers a network puts out for each label."""

    @abstractmethod
    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """The labels of a data set in the dtype in which they are trained on.

        Args:
            dataset: Made them.
            labels: Of all its examples, shape ``[examples]``.

        Raises:
            ConfigError: If they are not what the data set says, or none of this task.
        """

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
        """The score of each member from its count over all examples, whose labels are given."""


@dataclass(frozen=True, slots=True)
class Classification(Task):
    """Labels are classes, outputs their logits; the loss is cross-entropy and the score accuracy."""

    native: ClassVar[bool] = True

    def n_outputs(self, dataset: Dataset) -> int:
        """One logit per class."""
        return dataset.n_classes

    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """Whole numbers from 0 up to the number of classes, as int64."""
        if labels.min() < 0 or labels.max() >= dataset.n_classes:
            raise ConfigError(
                f"labels of {dataset.name} reach from {labels.min()} to {labels.max()}; expected 0 to "
                f"{dataset.n_classes - 1}"
            )
        return labels.astype("int64")

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


CLASSIFICATION = Classification(
    name="classification",
    score="accuracy",
    unit="percentage points",
    gain="points",
    scale="%",
    factor=100.0,
    decimals=1,
)
"""Examples have classes; the score is the share that is told right."""
