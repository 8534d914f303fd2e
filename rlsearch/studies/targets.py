"""Targets that are shipped: small tasks that are in no panel, on which what a search found should hold.

A search tries thousands of functions, and some of them please its own proxies alone. So a winner has to hold on tasks
of other kinds and in other networks: the bits of products, regressions that ask for inputs outside the range of
training too, a convolution, and a deeper network with normalisation. There is a file of settings for none of them: a
wheel brings no folder of configs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards.settings import RewardSettings
from rlsearch.runs.config import Config

_TRAINED: dict[str, Any] = {"schedule": "cosine", "warmup": 0.05}

_PROXIES: Mapping[str, ProxySettings] = MappingProxyType(
    {
        "products": ProxySettings(dataset="products", epochs=8, learning_rate=3e-2, **_TRAINED),
        "polynomials": ProxySettings(
            dataset="polynomials", epochs=8, learning_rate=3e-2, outside_weight=0.5, **_TRAINED
        ),
        "harmonics": ProxySettings(dataset="harmonics", epochs=8, learning_rate=3e-2, outside_weight=0.5, **_TRAINED),
        "convolution": ProxySettings(
            dataset="mnist1d",
            network="conv1d",
            widths=(16, 16, 16),
            normalisation="layer",
            epochs=5,
            learning_rate=1e-2,
            validation_size=4000,
            **_TRAINED,
        ),
        "deep-text": ProxySettings(
            dataset="text", widths=(128, 128, 128), normalisation="rms", epochs=1, learning_rate=1e-2, **_TRAINED
        ),
    }
)

TARGETS: Mapping[str, Config] = MappingProxyType(
    {name: Config(reward=RewardSettings(proxies=(proxy,))) for name, proxy in _PROXIES.items()}
)
"""By name: each is a config of one proxy, a small MLP, which takes a fraction of a second on one core."""
