"""What a user's own network is trained by and scored by: tasks of this package, or functions of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlsearch.common.targets import find_target
from rlsearch.errors import nearest
from rlsearch.proxies.tasks import (
    BITS,
    CLASSIFICATION,
    CLASSIFICATION_LOSS,
    REGRESSION,
    Classification,
    Task,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from rlsearch.proxies.data.base import Dataset

LOSSES = {"cross_entropy": CLASSIFICATION, "squared_error": REGRESSION, "binary_cross_entropy": BITS}
"""The tasks that have each loss; the first score of each is what is counted unless settings say another."""

SCORES = {"accuracy": CLASSIFICATION, "digits": REGRESSION, "bits_right": BITS}
"""The tasks that have each score."""

MINUS_LOSS = "loss"
"""The score that is the loss with its sign changed."""


def checked_name(what: str, text: str, known: tuple[str, ...]) -> str:
    """A name, or an import path as it is.

    Raises:
        ValueError: If it is neither.
    """
    if ":" not in text and text not in known:
        raise ValueError(
            f"unknown {what} {text!r}; expected one of {', '.join(known)}, or a function of yours, such as "
            f"'my_module:my_{what}'{nearest(text, known)}"
        )
    return text


def default_score(loss: str) -> str:
    """What is counted unless settings say another: the loss itself, if it is a user's."""
    return next((name for name, task in SCORES.items() if LOSSES.get(loss) == task), MINUS_LOSS)


def own_task(loss: str, score: str, ignore_index: int | None) -> Task:
    """The task of a loss and a score, each a name or an import path. Nothing is imported.

    Args:
        loss: Of :data:`LOSSES`, or the path of a function.
        score: Of :data:`SCORES`, ``"loss"``, or the path of a function.
        ignore_index: The label that does not count; None if all do.
    """
    if loss == "cross_entropy" and score in ("accuracy", MINUS_LOSS):
        task = CLASSIFICATION if score == "accuracy" else CLASSIFICATION_LOSS
        return task if ignore_index is None else masked(task, ignore_index)
    if loss in LOSSES and LOSSES[loss] == SCORES.get(score):
        return LOSSES[loss]
    words = _OWN_SCORE
    if score == MINUS_LOSS:
        words = _OWN_LOSS
    elif score in SCORES:
        words = {name: getattr(SCORES[score], name) for name in _OWN_SCORE}
    return OwnTask(**words, loss_by=loss, score_by=score)


_OWN_SCORE: dict[str, Any] = {
    "name": "own score",
    "score": "score",
    "unit": "units of the score",
    "gain": "higher",
    "scale": "units",
    "factor": 1.0,
    "decimals": 4,
    "score_decimals": 4,
    "worst": -100.0,
}
_OWN_LOSS = _OWN_SCORE | {
    "name": "own loss",
    "score": "minus loss",
    "unit": "units of the loss",
    "gain": "lower in loss",
}


@dataclass(frozen=True, slots=True)
class OwnTask(Task):
    """A loss and a score, of which one at least is a function of a user's.

    Such a function is called as ``function(outputs, labels)`` with those of one network: a loss for a batch, of which
    it returns the mean, a tensor of one number; a score once for all examples, a number of which higher is better.

    Attributes:
        loss_by: A name of :data:`LOSSES`, or an import path.
        score_by: A name of :data:`SCORES`, ``"loss"``, or an import path.
    """

    loss_by: str = ""
    score_by: str = ""

    @property
    def sees_all(self) -> bool:
        """Whether the score is counted on all outputs at once, rather than summed up."""
        return self.score_by not in SCORES

    def n_outputs(self, dataset: Dataset) -> int:
        """Not asked: a user's network has the outputs that it has."""
        raise NotImplementedError

    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """Not asked: a user's data are checked where they are made."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`Task.loss`."""
        if self.loss_by in LOSSES:
            return LOSSES[self.loss_by].loss(outputs, labels)
        # Member by member: what the user wrote is for one network, and nothing of a member reaches another.
        return sum_of(find_target(self.loss_by), outputs, labels)

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The score itself, where it is a function of all outputs; else see :meth:`Task.count`."""
        import torch

        if self.score_by in SCORES:
            return SCORES[self.score_by].count(outputs, labels)
        found = []
        for of_member in outputs.unbind(0):
            if self.score_by == MINUS_LOSS:
                score = -self.loss(of_member.unsqueeze(0), labels.unsqueeze(0))
            else:
                score = find_target(self.score_by)(of_member, labels)
            found.append(torch.as_tensor(score, dtype=torch.float64, device=outputs.device).reshape(()))
        return torch.stack(found)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """See :meth:`Task.scores`."""
        return SCORES[self.score_by].scores(counts, labels) if self.score_by in SCORES else counts


def sum_of(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
    """The sum over members of what a loss for one network gives."""
    import torch

    pairs = zip(outputs.unbind(0), labels.unbind(0), strict=True)
    return torch.stack([loss(of_member, its_labels) for of_member, its_labels in pairs]).sum()


def masked(task: Task, ignore_index: int) -> Task:
    """A classification in which one label does not count."""
    kind = MaskedLoss if task == CLASSIFICATION_LOSS else Masked
    values = {name: getattr(task, name) for name in _OWN_SCORE}
    return kind(**values, ignore_index=ignore_index)


@dataclass(frozen=True, slots=True)
class Masked(Classification):
    """Classification in which labels of one value, such as padding, count neither in the loss nor in the score.

    Attributes:
        ignore_index: That value.
    """

    ignore_index: int = -100

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy over the labels that count; 0 where a batch has none."""
        return (self._summed(outputs, labels) / self._counted(labels).flatten(1).sum(dim=1).clamp(min=1)).sum()

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Labels that count and are told right."""
        return ((outputs.argmax(dim=-1) == labels) & self._counted(labels)).flatten(1).sum(dim=1)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """Shares of the labels that count."""
        return counts / int(self._counted(labels).sum())

    def _counted(self, labels: Tensor) -> Tensor:
        return labels != self.ignore_index

    def _summed(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Each member's sum of cross-entropies."""
        from torch.nn import functional

        expanded = labels.expand(outputs.shape[:-1])
        each = functional.cross_entropy(
            outputs.movedim(-1, 1), expanded, reduction="none", ignore_index=self.ignore_index
        )
        return each.flatten(1).sum(dim=1)


@dataclass(frozen=True, slots=True)
class MaskedLoss(Masked):
    """The same with minus the loss as the score."""

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum of cross-entropies."""
        return self._summed(outputs, labels)

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """Minus their mean over the labels that count."""
        return -counts / int(self._counted(labels).sum())
