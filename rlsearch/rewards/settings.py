"""The settings of the default reward."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, Tag

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
    points: int = Field(257, ge=3)
    max_slope: float = Field(20.0, gt=0)
    min_spread: float = Field(1e-3, ge=0, description="values that vary less are a constant")


class RewardSettings(Settings):
    """Accuracy minus latency cost, relative to ReLU."""

    proxies: tuple[_AnyProxy, ...] = Field((ProxySettings(),), min_length=1)
    seeds: int = Field(1, ge=1, le=100)
    baseline_seeds: int = Field(8, ge=1, le=100)
    latency_weight: float = Field(0.01, ge=0)
    latency_costs: Path | None = None
    screening: ScreeningSettings = ScreeningSettings()
