"""The settings of the default reward."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, Tag, model_validator

from rlsearch.common.settings import BY_TARGET_AND_KIND, DEFAULT_KIND, TARGET_KIND, TRAIN_KIND, Settings
from rlsearch.errors import FormulaError, nearest
from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.named import BASELINES, GATED_BASELINES, NAMED, applied
from rlsearch.formula.typed import GATED, typed_formula
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.settings import ProxySettings, TrainingSettings
from rlsearch.proxies.tasks import CLASSIFICATION
from rlsearch.rewards.base import WORST_POINTS, WORST_SPREADS
from rlsearch.rewards.panels import GENERAL, PANELS

AnyProxy = ProxySettings | OwnProxySettings | OwnTrainingSettings
"""A proxy of any kind."""

_TaggedProxy = Annotated[
    Annotated[ProxySettings, Tag(DEFAULT_KIND)]
    | Annotated[OwnProxySettings, Tag(TARGET_KIND)]
    | Annotated[OwnTrainingSettings, Tag(TRAIN_KIND)],
    BY_TARGET_AND_KIND,
]


def epochs_at(proxy: TrainingSettings, share: float) -> int:
    """The whole epochs that a share of a proxy's comes to, at least one."""
    return max(1, round(share * proxy.epochs))


class ScreeningSettings(Settings):
    """Which formulas are not worth training: judged on a grid, before any network."""

    reach: float = Field(
        8.0, gt=0, description="the grid spans -reach to reach, where most inputs of an activation lie"
    )
    points: int = Field(257, ge=3, description="number of points of the grid")
    max_slope: float = Field(20.0, gt=0, description="a formula that is steeper somewhere is unfit")
    min_spread: float = Field(
        1e-3, ge=0, description="a formula whose values vary less than this is a constant, and unfit"
    )
    gated_only: bool = Field(False, description="in a gated language: a formula of x alone is unfit too")


def function(text: str) -> Formula:
    """A function of ``x``, or of ``x`` and ``g``: a formula, or the name of a published function or an operator.

    Raises:
        FormulaError: If it is neither, or has another input.
    """
    return typed_formula(applied(text) if text in NAMED or text in OPERATORS else text, GATED)


def _checked_function(text: str) -> str:
    try:
        function(text)
    except FormulaError as error:
        raise ValueError(str(error)) from None
    return text


def _named_panel(value: Any) -> Any:
    """The proxies of a panel that is given by its name."""
    if not isinstance(value, str):
        return value
    if value not in PANELS:
        known = ", ".join(PANELS)
        raise ValueError(
            f"unknown panel {value!r}; expected a list of proxies, or one of {known}{nearest(value, PANELS)}"
        )
    return PANELS[value]


_Function = Annotated[str, AfterValidator(_checked_function)]

POINTS_PER_DOUBLING = 0.01
"""Default latency weight where gains are in points: twice the activation's time costs one point of accuracy."""

SPREADS_PER_DOUBLING = 0.1
"""Default latency weight where gains are in spreads of the baselines.

On the panel ``general`` GELU gains half a spread over ReLU, and takes 1.8 times its time with the numba kernel: it pays
a sixth of its gain. In a whole network an activation is some per cent of a step's time; so the price is high enough to
decide between equals, and too low to buy a worse function.
"""


class RewardSettings(Settings):
    """Gains of proxies over the reference, minus latency cost."""

    proxies: Annotated[tuple[_TaggedProxy, ...], BeforeValidator(_named_panel)] = Field(
        GENERAL,
        min_length=1,
        description="what a formula is trained on: a list of proxies, or the name of a panel, such as general",
    )
    combine: Literal["mean", "worst", "softmin"] = Field(
        "mean",
        description="how gains on several proxies become one; softmin lies between the mean and the worst",
    )
    reference: _Function = Field(
        "relu", description="what gains are counted from: a name or a formula; if the language is gated: swiglu"
    )
    baselines: tuple[_Function, ...] = Field(
        BASELINES,
        min_length=2,
        description="functions whose spread is the unit of gains, names or formulas; if the language is gated: "
        f"{', '.join(GATED_BASELINES)}",
    )
    seeds: int = Field(1, ge=1, le=100, description="trainings of a new function on each proxy")
    baseline_seeds: int = Field(
        8, ge=1, le=100, description="trainings of the reference and of the baselines on each proxy"
    )
    time_limit: float | None = Field(
        None,
        gt=0,
        description="seconds for one training, after which its process is ended and the formula has failed; None: 20 "
        "times what the reference and the baselines take, and at least 60; it holds in worker processes, where code of "
        "your own always runs",
    )
    latency_weight: float | None = Field(
        None,
        ge=0,
        description="what doubling the latency costs, in units of the gain; None: 0.01 (one point of accuracy) for a "
        "single classifier, else 0.1 spreads of the baselines",
    )
    latency_costs: Path | None = Field(
        None, description="file with the costs of operators; None: they are measured once on this machine"
    )
    screening: ScreeningSettings = Field(ScreeningSettings(), description="which formulas are not worth training")

    @property
    def in_spreads(self) -> bool:
        """Whether gains are in spreads of the baselines; those of a single classifier are in points of accuracy."""
        return len(self.proxies) > 1 or self.proxies[0].task.score != CLASSIFICATION.score

    @property
    def scale_functions(self) -> tuple[Formula, ...]:
        """What has to be trained for gains in spreads: the reference first, then the baselines; each once."""
        texts = (self.reference, *self.baselines)
        return tuple({formula.fingerprint: formula for formula in map(function, texts)}.values())

    @property
    def references(self) -> tuple[Formula, ...]:
        """What a search's rewards are relative to: the reference, and the baselines if their spread is the unit."""
        return self.scale_functions if self.in_spreads else self.scale_functions[:1]

    @property
    def price_of_doubling(self) -> float:
        """The latency weight that is used."""
        if self.latency_weight is not None:
            return self.latency_weight
        return SPREADS_PER_DOUBLING if self.in_spreads else POINTS_PER_DOUBLING

    @property
    def worst(self) -> float:
        """The reward of a function without a score, where nothing else is said."""
        return WORST_SPREADS if self.in_spreads else WORST_POINTS

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each proxy, different from the others'."""
        names: list[str] = []
        for proxy in self.proxies:
            taken = sum(name.partition(" ")[0] == proxy.name for name in names)
            names.append(f"{proxy.name} ({taken + 1})" if taken else proxy.name)
        return tuple(names)

    @model_validator(mode="after")
    def _has_a_spread(self) -> Self:
        if len({function(text).fingerprint for text in self.baselines}) < 2:
            raise ValueError(f"baselines must be at least two different functions, got {list(self.baselines)}")
        return self
