"""The settings of one proxy: everything that decides a score except formula and seed."""

import hashlib
import inspect
import sys
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rlsearch.common.settings import Settings
from rlsearch.errors import ConfigError
from rlsearch.proxies.data import DATASETS, Dataset
from rlsearch.proxies.networks import NETWORKS, Network
from rlsearch.proxies.tasks import CLASSIFICATION, CLASSIFICATION_LOSS, Task

Registered = tuple[type[Dataset], type[Network]] | None
"""What a process must have registered before it can train."""


ADAMW_DECAY = 0.01
"""The weight decay of AdamW, unless settings say another: torch's."""


class TrainingSettings(Settings):
    """How a proxy is trained, whatever its network and data."""

    data_seed: int = Field(
        0, ge=0, lt=2**32, description="seed of the data: decides which examples are generated, or drawn from files"
    )
    optimiser: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="Adam, AdamW, or gradient descent with momentum 0.9"
    )
    weight_decay: float | None = Field(
        None, ge=0, description="weight decay of AdamW, on all weights; None: 0.01; the other optimisers have none"
    )
    learning_rate: float = Field(
        1e-2, gt=0, description="step size of the optimiser; with a schedule or warm-up, the highest one"
    )
    learning_rates: tuple[float, ...] = Field(
        (),
        description="instead of one rate: every function is trained at each of these, and its best score counts",
    )
    schedule: Literal["constant", "cosine", "linear"] = Field(
        "constant", description="learning rate after warm-up: constant, or falling to 0 along a cosine or a line"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps in which the learning rate rises from 0")
    batch_size: int = Field(128, ge=1, description="examples per step; a last batch that is not full is left out")
    epochs: int = Field(5, ge=1, description="passes over the training part")
    evaluations: int = Field(
        1,
        ge=1,
        le=20,
        description="number of scorings: at the end, and before it every twentieth of the steps; the mean counts",
    )
    population: int | None = Field(
        None, ge=1, description="candidates trained together; None: 16 on a CPU, on a GPU as many as its memory holds"
    )

    @property
    @abstractmethod
    def name(self) -> str:
        """Network and data in a few words, for people."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """All that decides a score except formula, seed, kernel and device."""

    @property
    @abstractmethod
    def task(self) -> Task:
        """Loss and score."""

    @property
    def decay(self) -> float:
        """The weight decay that is used."""
        if self.optimiser != "adamw":
            return 0.0
        return ADAMW_DECAY if self.weight_decay is None else self.weight_decay

    def at_each_rate(self) -> tuple[Self, ...]:
        """The proxy itself, or one for each of its learning rates."""
        if not self.learning_rates:
            return (self,)
        values = self.model_dump() | {"learning_rates": ()}
        return tuple(self.check(values | {"learning_rate": rate}) for rate in self.learning_rates)

    @property
    def has_learning_rate(self) -> bool:
        """Whether the learning rate decides anything; a user's own training may have none."""
        return True

    @property
    def registered(self) -> Registered:
        """The classes that the names of data set and network stand for; None where there are no such names."""
        return None

    @property
    @abstractmethod
    def caveat(self) -> str | None:
        """What is not fresh about the data of another ``data_seed``; None if it is generated anew."""

    @model_validator(mode="after")
    def _has_rates_and_decay(self) -> Self:
        if len(set(self.learning_rates)) < len(self.learning_rates) or any(rate <= 0 for rate in self.learning_rates):
            raise ValueError(f"learning_rates must be different and positive, got {list(self.learning_rates)}")
        if self.weight_decay is not None and self.optimiser != "adamw":
            raise ValueError(f"weight_decay goes with optimiser adamw, not with {self.optimiser}")
        return self


class ProxySettings(TrainingSettings):
    """A dataset, a network and how it is trained.

    Widths, batch size, part sizes and population are multiples of 4, so that a member's bits do not depend on its
    place: every slice starts on a 16-byte boundary, and all of them together leave no rest behind a vector of 16.
    (One network alone is a population too; it has one place.)
    """

    dataset: Annotated[str, AfterValidator(DATASETS.checked)] = Field("mnist1d", description="name of a data set")
    network: Annotated[str, AfterValidator(NETWORKS.checked)] = Field("mlp", description="name of a network")
    path: Path | None = Field(
        None, description="file or folder that the data set is read from, if it is read from files"
    )
    data_digest: str | None = Field(None, description="digest of what is read from files; a run writes it itself")
    score: Literal["task", "loss"] = Field(
        "task", description="task: the score of the data set's task; loss: minus the cross-entropy, for classifications"
    )
    outside_weight: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the score that is counted on inputs outside the range of training",
    )
    train_size: int | None = Field(None, ge=4, description="examples to train on; None: the data set's own number")
    validation_size: int | None = Field(
        None, ge=4, description="examples that a search scores on; None: the data set's own number"
    )
    test_size: int | None = Field(
        None, ge=4, description="examples that no search sees, for later claims; None: the data set's own number"
    )
    widths: tuple[int, ...] = Field(
        (100, 100),
        description="width of each hidden layer, or of each block of a transformer; channels of each convolution, or "
        "of each block of a resnet",
    )
    embedding: int = Field(12, ge=4, description="width of the embedding of a token, for data sets of tokens")
    normalisation: Literal["none", "layer", "rms", "batch"] = Field(
        "none",
        description="what stands between a layer and its activation, or before each part of a transformer's block: "
        "nothing, layer, RMS or batch normalisation; not every network has all",
    )
    heads: int = Field(4, ge=1, description="heads of each attention of a transformer; they divide its width")
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="how a transformer sees positions: queries and keys turned by them, or a learned table"
    )
    parameters: Literal["layer", "network", "channel"] = Field(
        "layer",
        description="what shares a trained parameter of a formula: the channels of a layer, or the network; or "
        "each channel has its own",
    )
    clip_norm: float | None = Field(
        None, gt=0, description="each network's gradient is clipped to this norm; None: not at all"
    )

    @property
    def data(self) -> Dataset:
        """The data set, with what its files say of it.

        Raises:
            ConfigError: If its files are not there, or not of its format.
        """
        return DATASETS[self.dataset].opened(self.path)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of training, validation and test examples."""
        chosen = (self.train_size, self.validation_size, self.test_size)
        if None not in chosen:
            return chosen  # type: ignore[return-value]
        train, validation, test = (c or d for c, d in zip(chosen, self.data.sizes, strict=True))
        return train, validation, test

    @property
    def n_features(self) -> int:
        """Numbers of an example that the first layer sees, after the embedding of tokens."""
        return self.data.n_features * (1 if self.data.n_tokens is None else self.embedding)

    @property
    def n_outputs(self) -> int:
        """Numbers that the network puts out for an example."""
        return self.task.n_outputs(self.data)

    @property
    def registered(self) -> Registered:
        """The classes that the names of data set and network stand for."""
        return type(DATASETS[self.dataset]), type(NETWORKS[self.network])

    @property
    def task(self) -> Task:
        """That of the data set, scored as the settings want."""
        task = DATASETS[self.dataset].task
        return CLASSIFICATION_LOSS if self.score == "loss" and task == CLASSIFICATION else task

    @property
    def name(self) -> str:
        """Data set and network."""
        return f"{self.dataset}-{self.network}"

    @property
    def identity(self) -> str:
        """All settings, sizes spelled out, and a digest of what was added from outside of this package."""
        classes = (type(DATASETS[self.dataset]), type(NETWORKS[self.network]), type(self.task))
        # Where the files lie decides nothing: their digest tells.
        settings = self.model_dump_json(exclude={"path", *left_out(self)})
        return f"{settings} {self.sizes}{source_of_outsiders(classes)}"

    @property
    def caveat(self) -> str | None:
        """What the data set says."""
        return self.data.caveat

    def completed(self) -> Self:
        """The settings with the digest of what comes from files, after a look at them.

        Raises:
            ConfigError: If the files are not there, not of the format, or do not go with the other settings; or if
                they are not those whose digest is in the settings.
        """
        digest = self.data.digest()
        if self.data_digest not in (None, digest):
            raise ConfigError(
                f"the files of {self.dataset} have changed: their digest is {digest}, and the run began with "
                f"{self.data_digest}; scores of the two are not comparable"
            )
        try:
            self._fits_data()
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error}") from error
        return self.model_copy(update={"data_digest": digest})

    @model_validator(mode="before")
    @classmethod
    def _has_its_networks_normalisation(cls, values: Any) -> Any:
        """Takes a network's first normalisation where none is named: a transformer has no training without."""
        network = values.get("network") if isinstance(values, Mapping) else None
        if not isinstance(network, str) or network not in NETWORKS or "normalisation" in values:
            return values
        return {**values, "normalisation": NETWORKS[network].normalisations[0]}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(width < 4 or width % 4 for width in self.widths):
            raise ValueError(f"widths must be a multiple of 4, got {list(self.widths)}")
        if not self.widths:
            raise ValueError("widths must name at least one layer, or the activation is never used")
        if self.embedding % 4:
            raise ValueError(f"embedding must be a multiple of 4, got {self.embedding}")
        if self.population is not None and self.population > 1 and self.population % 4:
            raise ValueError(f"population must be 1 or a multiple of 4, got {self.population}")

        possible = NETWORKS[self.network].normalisations
        if self.normalisation not in possible:
            others = ", ".join(name for name in NETWORKS if self.normalisation in NETWORKS[name].normalisations)
            raise ValueError(
                f"the {self.network} network has no {self.normalisation} normalisation; expected one of "
                f"{', '.join(possible)}, or one of the networks that have it: {others}"
            )

        self._fits_network()
        dataset = DATASETS[self.dataset]
        if self.path is None and dataset.needs_path:
            raise ValueError(f"{self.dataset} is read from files: expected a path")
        if self.path is not None and not dataset.may_have_path:
            raise ValueError(f"{self.dataset} is not read from files: expected no path, got {self.path}")
        if self.score == "loss" and dataset.task != CLASSIFICATION:
            raise ValueError(f"score: loss is for classification; {self.dataset} is scored by {dataset.task.score}")
        if self.outside_weight and not dataset.has_outside:
            others = ", ".join(name for name in DATASETS if DATASETS[name].has_outside)
            raise ValueError(f"{self.dataset} has no inputs outside the range of training; those that have: {others}")
        # What lies in files is looked at when it is needed: reading a config must not depend on them.
        if self.path is None:
            self._fits_data()
        return self

    def _fits_network(self) -> None:
        network, dataset = NETWORKS[self.network], DATASETS[self.dataset]
        for name in ("heads", "positions"):
            if name not in network.own_settings and getattr(self, name) != type(self).model_fields[name].default:
                others = ", ".join(each for each in NETWORKS if name in NETWORKS[each].own_settings)
                raise ValueError(f"{name} goes with the network {others}, not with {self.network}")
        if dataset.by_position and not network.by_position:
            others = ", ".join(name for name in NETWORKS if NETWORKS[name].by_position)
            raise ValueError(
                f"{self.dataset} has a label at every position, and the {self.network} network gives one answer per "
                f"example; expected one of the networks {others}"
            )
        if network.by_position and not dataset.by_position:
            others = ", ".join(name for name in DATASETS if DATASETS[name].by_position)
            raise ValueError(
                f"the {self.network} network gives an answer at every position, and {self.dataset} has one label per "
                f"example; expected one of the data sets {others}"
            )

    def _fits_data(self) -> None:
        # A member's slice of memory must start on a 16-byte boundary.
        numbers = dict(zip(("train_size", "validation_size", "test_size"), self.sizes, strict=True))
        for name, number in {"batch_size": self.batch_size, **numbers}.items():
            if number < 4 or number % 4:
                raise ValueError(f"{name} must be a multiple of 4, got {number}")
        if self.batch_size > self.sizes[0]:
            raise ValueError(f"batch_size {self.batch_size} is larger than the training part of {self.sizes[0]}")
        available = self.data.available
        if available is not None and sum(self.sizes) > available:
            raise ValueError(f"{self.dataset} has {available} examples, got parts of {self.sizes}")
        NETWORKS[self.network].check(self)


_ADDED_LATER = (
    "weight_decay",
    "learning_rates",
    "schedule",
    "warmup",
    "evaluations",
    "data_digest",
    "score",
    "outside_weight",
    "embedding",
    "loss",
    "ignore_index",
    "clip_norm",
    "precision",
    "heads",
    "positions",
    "parameters",
)
"""Settings that proxies of older runs do not have."""


def left_out(settings: TrainingSettings) -> set[str]:
    """The settings that are no part of a proxy's identity: later ones that are as if they were not there."""
    fields = type(settings).model_fields
    return {name for name in _ADDED_LATER if name in fields and getattr(settings, name) == fields[name].default}


_SCORES_VERSION = 3
"""Raised with every change of the code that changes scores: those of two versions are not compared."""


def proxy_name(settings: TrainingSettings, kernel: str, device_type: str) -> str:
    """The name that stands for all that decides a score except formula and seed.

    It follows from its arguments alone: no data is loaded and no target is imported.

    Args:
        settings: The proxy. A user's own has nothing left open.
        kernel: The name of the kernel that computes the activations.
        device_type: ``"cpu"`` or ``"cuda"``.

    Returns:
        Network and data, and a digest of the rest, such as ``"mnist1d-mlp-0123456789"``.
    """
    text = f"{settings.identity} {kernel} {device_type} {_SCORES_VERSION}"
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    return f"{settings.name}-{digest}"


def source_of_outsiders(classes: Iterable[type]) -> str:
    """The source of those classes that are not of this package, whose scores change with it; empty if all are.

    A class whose source cannot be found, such as one of a notebook, is told by its name alone.
    """
    parts = []
    for cls in classes:
        if cls.__module__.partition(".")[0] == "rlsearch":
            continue
        try:
            parts.append(f" {inspect.getsource(sys.modules[cls.__module__])}")
        except (OSError, TypeError, KeyError):
            parts.append(f" {cls.__module__}.{cls.__qualname__}")
    return "".join(parts)
