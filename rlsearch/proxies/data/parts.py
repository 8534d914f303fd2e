"""A data set that was loaded: three disjoint parts of inputs and labels."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Part:
    """Examples that serve one purpose.

    Attributes:
        inputs: float32 of shape ``[examples, features]``, or int64 where they are tokens; a user's own have any shape
            ``[examples, ...]``.
        labels: Of shape ``[examples]`` or ``[examples, targets]``, in the dtype that the task wants: int64 for
            classes. A user's own may have several positions, ``[examples, positions]``.
        outside: Examples from another range of inputs, if they are scored too.
    """

    inputs: Tensor
    labels: Tensor
    outside: "Part | None" = None

    def to(self, device: str) -> "Part":
        """The same on a device."""
        outside = None if self.outside is None else self.outside.to(device)
        return Part(self.inputs.to(device), self.labels.to(device), outside)


@dataclass(frozen=True, slots=True)
class Parts:
    """A search sees training and validation; the test part is for judging its result."""

    train: Part
    validation: Part
    test: Part

    def to(self, device: str) -> "Parts":
        """The same on a device."""
        return Parts(self.train.to(device), self.validation.to(device), self.test.to(device))
