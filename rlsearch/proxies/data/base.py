"""What a data set is: three disjoint parts of inputs and labels."""

from dataclasses import dataclass

from torch import Tensor

N_CLASSES = 10  # of every set here


@dataclass(frozen=True, slots=True)
class Part:
    """Inputs, float32 of shape ``[examples, features]``, and labels, int64 of shape ``[examples]``."""

    inputs: Tensor
    labels: Tensor

    def to(self, device: str) -> "Part":
        """Returns the part on ``device``."""
        return Part(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three disjoint parts. A search sees training and validation; the test part is for judging its result."""

    train: Part
    validation: Part
    test: Part

    def to(self, device: str) -> "Dataset":
        """Returns the dataset on ``device``."""
        return Dataset(self.train.to(device), self.validation.to(device), self.test.to(device))
