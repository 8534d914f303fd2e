"""Targets that are shipped: small tasks that are in no panel, on which what a search found should hold.

A search tries thousands of functions, and some of them please its own proxies alone. So a winner has to hold on tasks
of other kinds: the classification of small images, the bits of products, and regressions that ask for inputs outside
the range of training, too. There is a file of settings for none of them: a wheel brings no folder of configs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards.settings import RewardSettings
from rlsearch.runs.config import Config

_TRAINED: dict[str, Any] = {"schedule": "cosine", "warmup": 0.05, "learning_rate": 3e-2}
"""At this rate most of the baselines are best on all four; for those that are not, confirm finds another."""

_PROXIES = (
    # Its accuracies are all nearly the same, and a linear network's too; its losses are not.
    ProxySettings(dataset="digits", epochs=10, score="loss", **_TRAINED),
    ProxySettings(dataset="products", epochs=5, **_TRAINED),
    ProxySettings(dataset="polynomials", epochs=5, outside_weight=0.5, **_TRAINED),
    ProxySettings(dataset="harmonics", epochs=5, outside_weight=0.5, **_TRAINED),
)

TARGETS: Mapping[str, Config] = MappingProxyType(
    {proxy.dataset: Config(reward=RewardSettings(proxies=(proxy,))) for proxy in _PROXIES}
)
"""By name: each is a config of one proxy, a small MLP, which takes a fraction of a second on one core."""
