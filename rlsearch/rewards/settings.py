"""The settings of the default reward."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, Tag, model_validator

from rlsearch.common.settings import BY_TARGET, DEFAULT_KIND, TARGET_KIND, Settings
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings

_AnyProxy = Annotated[
    Annotated[ProxySettings, Tag(DEFAULT_KIND)] | Annotated[OwnProxySettings, Tag(TARGET_KIND)], BY_TARGET
]


def epochs_at(proxy: ProxySettings | OwnProxySettings, share: float) -> int:
    """The whole epochs that a share of a proxy's comes to, at least one."""
    return max(1, round(share * proxy.epochs))


class ScreeningSettings(Settings):
    """Which formulas are not worth training: judged on a grid, before any network."""

    reach: float = Field(8.0, gt=0, description="the grid spans -reach to reach: what pre-activations mostly do")
    points: int = Field(257, ge=3, description="of the grid")
    max_slope: float = Field(20.0, gt=0, description="a formula that is steeper somewhere is unfit")
    min_spread: float = Field(1e-3, ge=0, description="values that vary less are a constant")


class RewardSettings(Settings):
    """Scores of proxies minus latency cost, relative to ReLU."""

    proxies: tuple[_AnyProxy, ...] = Field(
        (ProxySettings(),), min_length=1, description="what a formula is trained on; gains are averaged over them"
    )
    seeds: int = Field(1, ge=1, le=100, description="trainings of a new function on each proxy")
    baseline_seeds: int = Field(8, ge=1, le=100, description="trainings of ReLU on each proxy")
    latency_weight: float = Field(
        0.01, ge=0, description="what twice ReLU's latency costs, in units of the score, such as accuracy"
    )
    latency_costs: Path | None = Field(
        None, description="file with the operators' costs; None: this machine's, calibrated once"
    )
    screening: ScreeningSettings = Field(ScreeningSettings(), description="which formulas are not worth training")

    @model_validator(mode="after")
    def _has_one_task(self) -> Self:
        tasks = list(dict.fromkeys(proxy.task for proxy in self.proxies))
        if len(tasks) > 1:
            names = ", ".join(task.name for task in tasks)
            raise ValueError(f"the proxies have scores of different kinds ({names}), of which there is no mean")
        return self
