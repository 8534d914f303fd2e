"""What a proxy asks of its network: the loss that it is trained by, what its score is, and how one is said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlsearch.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rlsearch.proxies.data.base import Dataset


@dataclass(frozen=True, slots=True)
class Words:
    """What scores mean, for people: tables, axes and verdicts ask for it. Of two scores the higher one is better.

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
    """

    name: str
    score: str
    unit: str
    gain: str
    scale: str
    factor: float = 1.0
    decimals: int = 3
    score_decimals: int = 4
    worst: float = 0.0

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


@dataclass(frozen=True, slots=True)
class Task(Words, ABC):
    """A loss and a score, and what scores mean.

    Trainers ask a task for its loss and its score. None of them knows what it is that they train.

    Shapes are those of a population: outputs ``[K, batch, ..., outputs]``, labels ``[K, batch, ...]``, and in scoring,
    where all members see the same examples, labels ``[batch, ...]``.

    Attributes:
        native_loss: The loss by its name in the native trainer; None if it has none of that kind, and then it does not
            train by it.
        native_count: What is counted, by its name there.
    """

    native_loss: ClassVar[str | None] = None
    native_count: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        """A subclass may change loss or score, so it is native only if it says so itself."""
        # The first of the two classes that a dataclass with slots is made of has no super() of its own.
        for name in ("native_loss", "native_count"):
            setattr(cls, name, cls.__dict__.get(name))

    @property
    def native(self) -> bool:
        """Whether the native trainer trains by this loss and counts this score."""
        return self.native_loss is not None and self.native_count is not None

    @abstractmethod
    def n_outputs(self, dataset: Dataset) -> int:
        """How many numbers a network puts out for each label."""

    @abstractmethod
    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """The labels of a data set in the dtype in which they are trained on.

        Args:
            dataset: Made them.
            labels: Of all its examples, shape ``[examples, ...]``.

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
        """What each member's outputs add to its count; no number is read back from the device.

        Returns:
            Shape ``[K]``, or ``[K, outputs]`` where each output is counted by itself.
        """

    @abstractmethod
    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """The score of each member, shape ``[K]``.

        Args:
            counts: What :meth:`count` summed up over all examples, shape ``[K]`` or ``[K, outputs]``.
            labels: Of all these examples.
        """


def _summed_cross_entropy(outputs: Tensor, labels: Tensor, reduction: str) -> Tensor:
    from torch.nn import functional

    return functional.cross_entropy(outputs.movedim(-1, 1), labels, reduction=reduction)


@dataclass(frozen=True, slots=True)
class Classification(Task):
    """Labels are classes, outputs their logits; the loss is cross-entropy and the score accuracy."""

    native_loss: ClassVar[str | None] = "cross_entropy"
    native_count: ClassVar[str | None] = "right"

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
        return _summed_cross_entropy(outputs, labels, "sum") / labels[0].numel()

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Labels that are the class of the first largest logit."""
        return (outputs.argmax(dim=-1) == labels).flatten(1).sum(dim=1)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """Accuracies: shares of all labels."""
        return counts / labels.numel()


@dataclass(frozen=True, slots=True)
class CrossEntropy(Classification):
    """Classification whose score is the loss itself with its sign changed, in nats per label.

    It is smoother than accuracy, and sees how sure a network is.
    """

    native_loss: ClassVar[str | None] = "cross_entropy"
    native_count: ClassVar[str | None] = "cross_entropy"

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum of all cross-entropies."""
        expanded = labels.expand(outputs.shape[:-1])
        return _summed_cross_entropy(outputs, expanded, "none").flatten(1).sum(dim=1)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """Minus the mean cross-entropy."""
        return -counts / labels.numel()


@dataclass(frozen=True, slots=True)
class Regression(Task):
    """Labels are numbers, outputs their predictions; the loss is the mean squared error and the score digits.

    One digit is an error whose squares are a tenth of the labels' variance, two are a hundredth: for each output
    ``-log10(1 - R2)``, and their mean. So an output whose values reach far does not hide the others.
    """

    native_loss: ClassVar[str | None] = "squared_error"
    native_count: ClassVar[str | None] = "squared_errors"

    def n_outputs(self, dataset: Dataset) -> int:
        """One prediction per number."""
        return dataset.n_targets

    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """Finite numbers ``[examples, n_targets]``, as float32; of each target some differ, or it had no variance."""
        checked = _checked_targets(dataset, labels)
        constant = np.flatnonzero((checked == checked[:1]).all(axis=0))
        if len(constant):
            raise ConfigError(
                f"target {constant[0]} of {dataset.name} is {checked[0, constant[0]]:g} for all of {len(checked)} "
                "examples of a part; expected different numbers, of whose variance the score is a share"
            )
        return checked

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean squared error; see :meth:`Task.loss`."""
        return (outputs - labels).square().sum() / labels[0].numel()

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Each output's sum of squared errors, ``[K, outputs]``."""
        return (outputs - labels).square().sum(dim=1)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """Digits: the mean over outputs of ``-log10(squared error / squared deviation from the labels' mean)``."""
        values = labels.double()
        deviations = (values - values.mean(dim=0)).square().sum(dim=0).numpy(force=True)
        shares = np.maximum(counts / deviations, _LEAST_SHARE)
        digits: NDArray[np.float64] = -np.log10(shares).mean(axis=1)
        return digits


@dataclass(frozen=True, slots=True)
class Bits(Task):
    """Labels are several yes or no at once, outputs their logits; the score is the share of them that is right.

    The loss is the mean binary cross-entropy.
    """

    native_loss: ClassVar[str | None] = "binary_cross_entropy"
    native_count: ClassVar[str | None] = "bits_right"

    def n_outputs(self, dataset: Dataset) -> int:
        """One logit per bit."""
        return dataset.n_targets

    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """Zeros and ones ``[examples, n_targets]``, as float32."""
        if not np.isin(labels, (0, 1)).all():
            raise ConfigError(f"labels of {dataset.name} hold other numbers than 0 and 1")
        return _checked_targets(dataset, labels)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean binary cross-entropy; see :meth:`Task.loss`."""
        from torch.nn import functional

        summed = functional.binary_cross_entropy_with_logits(outputs, labels, reduction="sum")
        return summed / labels[0].numel()

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Logits that are above zero where the bit is one, and not where it is zero."""
        return ((outputs > 0) == (labels > 0.5)).flatten(1).sum(dim=1)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """The share of all bits."""
        return counts / labels.numel()


_LEAST_SHARE = 1e-12
"""Of the variance: an error below it counts as this one, since float32 sums say nothing of smaller ones."""


def _checked_targets(dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
    if labels.ndim != 2 or labels.shape[1] != dataset.n_targets:
        raise ConfigError(
            f"{dataset.name} made labels {list(labels.shape)}; expected {[len(labels), dataset.n_targets]}"
        )
    if not np.isfinite(labels).all():
        raise ConfigError(f"labels of {dataset.name} hold numbers that are not finite")
    return labels.astype("float32")


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

NEXT_TOKEN = CrossEntropy(
    name="next token", score="minus cross-entropy", unit="nats", gain="nats lower", scale="nats", worst=-100.0
)
"""The label is the token that comes next."""

CLASSIFICATION_LOSS = replace(NEXT_TOKEN, name="classification by its loss")
"""Classification trained in the same way; the score is the loss, with its sign changed."""

REGRESSION = Regression(
    name="regression",
    score="digits",
    unit="digits",
    gain="digits",
    scale="digits",
    decimals=2,
    score_decimals=3,
    worst=-12.0,
)
"""Labels are numbers."""

BITS = Bits(
    name="bits", score="bits right", unit="percentage points", gain="points", scale="%", factor=100.0, decimals=1
)
"""Labels are several bits at once."""

GAIN = Words(
    name="panel",
    score="gain",
    unit="spreads of the baselines",
    gain="spreads",
    scale="spreads",
    decimals=2,
    score_decimals=3,
    worst=-3.0,
)
"""The mean over the proxies of a panel, whose scores are of different kinds; see :mod:`rlsearch.rewards.panel`."""
