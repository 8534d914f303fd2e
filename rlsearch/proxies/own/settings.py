"""The settings of a user's own proxy: a network and data that are trained here, or a training of the user's."""

import inspect
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from rlsearch.common.settings import TargetSettings
from rlsearch.common.targets import find_target, takes_argument
from rlsearch.errors import ConfigError
from rlsearch.proxies.own.tasks import LOSSES, MINUS_LOSS, SCORES, checked_name, default_score, own_task
from rlsearch.proxies.settings import TrainingSettings, left_out
from rlsearch.proxies.tasks import Task


class OwnProxySettings(TrainingSettings):
    """A user's own network and data, each made by any importable function or class.

    The factory of the network is called as ``build(activation, **arguments)`` with a module that has no parameters
    and may stand in several places. The network returns logits ``[examples, classes]``, or ``[examples, positions,
    classes]`` for labels at several positions; with another loss, what this takes. The factory of the data returns
    three pairs (inputs, labels) for training, validation and test. If it has a parameter ``seed``, it is given
    ``data_seed`` and its data counts as generated: ``confirm`` then makes it anew for every seed.

    All random numbers are drawn from a member's seed, also those of dropout. Initial weights are made on the CPU.

    Attributes:
        batched: Whether the members of a population are trained as one network by ``torch.func.vmap``, or one at a
            time. The two differ by rounding. ``auto``: the faster one, if both give the same and no member feels its
            place or its neighbours; tried once per machine, kept in its cache folder, and written into the config of
            a run. By default 16 are trained together on a CPU and 64 on a GPU.
        source: A digest of the modules that hold the factories, written when a run begins. A run does not go on with
            a network that was edited since.
    """

    target: str = Field(description="import path of the function that builds the network, 'package.module:name'")
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="arguments of that function, by name")
    data: TargetSettings = Field(
        description="import path of the function that makes the data, as target, and its arguments"
    )
    loss: str = Field(
        "cross_entropy",
        description=f"{', '.join(LOSSES)}, or a function of outputs and labels as 'package.module:name'",
    )
    score: str | None = Field(
        None,
        description=f"{', '.join(SCORES)}, loss (minus the loss), or a function of outputs and labels; None: what goes "
        "with the loss",
    )
    ignore_index: int | None = Field(
        None, description="label that counts neither in the loss nor in the score, such as that of padding"
    )
    clip_norm: float | None = Field(
        None, gt=0, description="the gradient of each network is clipped to this norm; None: not at all"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of matrix products; bfloat16: by torch's autocast, with weights in float32"
    )
    batched: bool | Literal["auto"] = Field(
        "auto",
        description="whether several candidates are trained as one network; auto: what is faster on this machine",
    )
    source: str | None = Field(None, description="digest of your code; a run writes it itself")

    @property
    def name(self) -> str:
        """The factory's import path."""
        return self.target

    @property
    def identity(self) -> str:
        """All settings, the digest of the factories' source among them."""
        return self.model_dump_json(exclude=left_out(self))

    @property
    def caveat(self) -> str | None:
        """Says so where the data's factory takes no seed."""
        if takes_argument(self.data.target, "seed"):
            return None
        return (
            f"{self.data.target} takes no seed and cannot generate anew: every seed trains and is tested on the same "
            "examples, of which the search has seen all but the test part, so intervals are too narrow"
        )

    @property
    def scored_by(self) -> str:
        """The score, by name or import path."""
        return self.score or default_score(self.loss)

    @property
    def labelled(self) -> Task | None:
        """The task that says what labels are, which is the score's or the loss's; None if both are functions."""
        return SCORES.get(self.scored_by) or LOSSES.get(self.loss)

    @property
    def task(self) -> Task:
        """What loss and score come to; functions of a user's are imported when they are called."""
        return own_task(self.loss, self.scored_by, self.ignore_index)

    @property
    def targets(self) -> tuple[str, ...]:
        """The import paths of everything that decides a score."""
        functions = [path for path in (self.loss, self.scored_by) if ":" in path]
        return tuple(dict.fromkeys((self.target, self.data.target, *functions)))

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left open: then the factories are needed for training only."""
        return self.source is not None and self.batched != "auto" and self.population is not None

    def __hash__(self) -> int:
        # Arguments are a dictionary, which has no hash.
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _has_a_loss_and_a_score(self) -> Self:
        checked_name("loss", self.loss, tuple(LOSSES))
        checked_name("score", self.scored_by, (*SCORES, MINUS_LOSS))
        if self.loss in LOSSES and self.score in SCORES and LOSSES[self.loss] != SCORES[self.score]:
            raise ValueError(f"score {self.score} does not go with loss {self.loss}; try {default_score(self.loss)}")
        if self.ignore_index is not None and (
            self.loss != "cross_entropy" or self.scored_by not in ("accuracy", MINUS_LOSS)
        ):
            raise ValueError(
                f"ignore_index goes with loss cross_entropy, and score accuracy or loss; got loss {self.loss} and "
                f"score {self.scored_by}, where a function of yours leaves such labels out itself"
            )
        return self


class OwnTrainingSettings(TrainingSettings):
    """A user's own training from beginning to end: a function of activation, seed and device that returns a score.

    It is called as ``train(activation, seed=..., device=..., **arguments)`` with a module that has no parameters and
    may stand in several places, a number, and a ``torch.device``; it returns a number of which higher is better, and
    NaN where training diverged. It is given besides whatever it has a parameter for: any setting of how a proxy is
    trained (``learning_rate``, ``epochs``, ``data_seed``, ...), and ``part``: ``"validation"``, or ``"test"`` where
    something is confirmed. A setting that it has no parameter for cannot be set.
    """

    kind: Literal["train"] = Field(
        description="train: the target is a function that does the whole training and returns a score"
    )
    target: str = Field(description="import path of the function, 'package.module:name'")
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="arguments of that function, by name")
    source: str | None = Field(None, description="digest of your code; a run writes it itself")

    @property
    def name(self) -> str:
        """The function's import path."""
        return self.target

    @property
    def identity(self) -> str:
        """All settings, the digest of the function's source among them."""
        return self.model_dump_json(exclude=left_out(self))

    @property
    def caveat(self) -> str | None:
        """Says so where the function takes no data_seed or no part."""
        missing = [name for name in ("data_seed", "part") if not takes_argument(self.target, name)]
        if not missing:
            return None
        return (
            f"{self.target} takes no {' and no '.join(missing)}, and cannot train on other data or score on a part "
            "that the search has not seen: intervals are too narrow, and scores too high"
        )

    @property
    def task(self) -> Task:
        """A score without a loss that is known here."""
        return own_task("", "", None)

    @property
    def has_learning_rate(self) -> bool:
        """Whether the function takes one."""
        return takes_argument(self.target, "learning_rate")

    @property
    def targets(self) -> tuple[str, ...]:
        """The import paths of everything that decides a score."""
        return (self.target,)

    def given(self, part: str) -> dict[str, Any]:
        """What the function is given by name besides seed and device.

        Args:
            part: The part of the data to score on.

        Raises:
            ConfigError: If the function cannot be found.
        """
        offered = {"part": part} | {name: getattr(self, name) for name in TrainingSettings.model_fields}
        taken = {name: value for name, value in offered.items() if takes_argument(self.target, name)}
        return taken | self.arguments

    def checked(self) -> Self:
        """The settings, after a look at the function's parameters.

        Raises:
            ConfigError: If it cannot be found or called, or has no parameter for something that is set.
        """
        defaults = {name: field.default for name, field in TrainingSettings.model_fields.items()}
        taken = self.given("validation")
        for name, default in defaults.items():
            # Each of several learning rates is given by itself.
            passed = "learning_rate" if name == "learning_rates" else name
            if name != "population" and getattr(self, name) != default and passed not in taken:
                raise ConfigError(f"{name} is set, and {self.target} has no parameter {passed} to take it")
        try:
            inspect.signature(find_target(self.target)).bind(None, seed=0, device=None, **taken)
        except TypeError as error:
            raise ConfigError(
                f"{self.target} cannot be called as train(activation, seed=..., device=...) with {self.arguments}: "
                f"{error}"
            ) from error
        except ValueError:
            # Some callables that are not written in Python have no signature.
            pass
        return self

    def __hash__(self) -> int:
        # Arguments are a dictionary, which has no hash.
        return hash(self.model_dump_json())
