"""A data set that was loaded: three disjoint parts of inputs and labels."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Part:
    """Examples that serve one purpose.

    Attributes:
        inputs: float32 of shape ``[examples, features]``; a user's own have any shape ``[examples, ...]``.
        labels: Of shape ``[examples]``, in the dtype that the task wants: int64 for classes. A user's own may have
            several positions, ``[examples, positions]``.
    """

    inputs: Tensor
    labels: Tensor

    def to(self, device: str) -> "Part":
        """The same on a device."""
        return Part(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Parts:
    """A search sees training and validation; the test part is for judging its result."""

    train: Part
    validation: Part
    test: Part

    def to(self, device: str) -> "Parts":
        """The same on a device."""
        return Parts(self.train.to(device), self.validation.to(device), self.test.to(device))
