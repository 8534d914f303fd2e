"""The settings of one proxy: everything that decides a score except formula and seed."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rlsearch.settings import Settings

DEFAULT_SIZES = {
    "mnist1d": (4000, 10_000, 10_000),
    "digits": (1000, 396, 400),
}
"""Examples for training, validation and test. mnist1d is generated: many validation points cut the score's noise."""

GENERATED = ("mnist1d",)
"""Data sets that another seed makes anew; of the others it only divides the same examples in another way."""

_AVAILABLE = {"digits": 1796}  # 1797 in scikit-learn; parts are multiples of 4
_CONV1D_LAYERS = 5  # each halves the length of a sequence: 40, 20, 10, 5, 2, 1


class ProxySettings(Settings):
    """A dataset, a network and how it is trained.

    Widths, batch size, part sizes and population are multiples of 4, so that a member's bits do not depend on its
    place: every slice starts on a 16-byte boundary, and all of them together leave no rest behind a vector of 16.
    (One network alone is a population too; it has one place.)
    """

    dataset: Literal["mnist1d", "digits"] = "mnist1d"
    network: Literal["mlp", "conv1d"] = "mlp"
    data_seed: int = Field(0, ge=0)
    train_size: int | None = Field(None, ge=4)
    validation_size: int | None = Field(None, ge=4)
    test_size: int | None = Field(None, ge=4)
    widths: tuple[int, ...] = (100, 100)
    normalisation: Literal["none", "layer"] = "none"
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(1e-2, gt=0)
    batch_size: int = Field(128, ge=4)
    epochs: int = Field(5, ge=1)
    population: int | None = Field(
        None, ge=1, description="candidates trained together; None: 16 on a CPU, on a GPU as many as its memory holds"
    )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of training, validation and test examples."""
        chosen = (self.train_size, self.validation_size, self.test_size)
        train, validation, test = (c or d for c, d in zip(chosen, DEFAULT_SIZES[self.dataset], strict=True))
        return train, validation, test

    @model_validator(mode="after")
    def _fits(self) -> Self:
        numbers = {"batch_size": self.batch_size, "widths": self.widths}
        numbers |= dict(zip(("train_size", "validation_size", "test_size"), self.sizes, strict=True))
        for name, value in numbers.items():
            values = value if isinstance(value, tuple) else (value,)
            if any(v < 4 or v % 4 for v in values):
                raise ValueError(f"{name} must be a multiple of 4, got {list(values) if name == 'widths' else value}")
        if self.population is not None and self.population > 1 and self.population % 4:
            raise ValueError(f"population must be 1 or a multiple of 4, got {self.population}")
        if not self.widths:
            raise ValueError("widths must name at least one layer, or the activation is never used")
        if self.batch_size > self.sizes[0]:
            raise ValueError(f"batch_size {self.batch_size} is larger than the training part of {self.sizes[0]}")
        if sum(self.sizes) > _AVAILABLE.get(self.dataset, sum(self.sizes)):
            raise ValueError(f"{self.dataset} has {_AVAILABLE[self.dataset]} examples, got parts of {self.sizes}")
        if self.network == "conv1d" and self.dataset != "mnist1d":
            raise ValueError(f"the conv1d network is for sequences (mnist1d), not for {self.dataset}")
        if self.network == "conv1d" and len(self.widths) > _CONV1D_LAYERS:
            raise ValueError(
                f"conv1d halves the sequence of 40 in every layer; expected at most {_CONV1D_LAYERS} widths, "
                f"got {len(self.widths)}"
            )
        return self
