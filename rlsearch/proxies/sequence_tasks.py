"""The task of data sets whose examples have a label at every position."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rlsearch.errors import ConfigError
from rlsearch.proxies.tasks import NEXT_TOKEN, CrossEntropy

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rlsearch.proxies.data.base import Dataset

IGNORED = -100
"""A label that counts neither in the loss nor in the score: torch's."""


@dataclass(frozen=True, slots=True)
class TokenAtEachPosition(CrossEntropy):
    """A class at every position of an example; the score is minus the cross-entropy, in nats per label.

    Labels of :data:`IGNORED` do not count.
    """

    def checked_labels(self, dataset: Dataset, labels: NDArray[Any]) -> NDArray[Any]:
        """Classes or :data:`IGNORED`, one per position, as int64."""
        expected = [len(labels), dataset.n_features]
        if list(labels.shape) != expected:
            raise ConfigError(f"{dataset.name} made labels {list(labels.shape)}; expected {expected}")
        whole = labels.astype("int64")
        counted = whole[whole != IGNORED]
        if not len(counted):
            raise ConfigError(f"all labels of {dataset.name} are {IGNORED}, which do not count; expected some that do")
        # Of those alone.
        CrossEntropy.checked_labels(self, dataset, counted)
        return whole

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy over the labels that count; see :meth:`Task.loss`."""
        counted = (labels != IGNORED).flatten(1).sum(dim=1)
        return (_summed(outputs, labels) / counted.clamp(min=1)).sum()

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum of all cross-entropies."""
        return _summed(outputs, labels.expand(outputs.shape[:-1]))

    def scores(self, counts: NDArray[np.float64], labels: Tensor) -> NDArray[np.float64]:
        """Minus the mean cross-entropy over the labels that count."""
        return -counts / int((labels != IGNORED).sum())


def _summed(outputs: Tensor, labels: Tensor) -> Tensor:
    """Each member's sum of cross-entropies, of one matrix of logits: torch is slow where classes do not come last."""
    from torch.nn import functional

    members = len(outputs)
    each = functional.cross_entropy(outputs.flatten(0, -2), labels.reshape(-1), reduction="none", ignore_index=IGNORED)
    return each.reshape(members, -1).sum(dim=1)


NEXT_TOKENS = TokenAtEachPosition(**{field.name: getattr(NEXT_TOKEN, field.name) for field in fields(NEXT_TOKEN)})
"""The label of each position is the token that comes next."""

FACTS = replace(NEXT_TOKENS, name="facts")
"""Labels are what is known of the tokens before."""
