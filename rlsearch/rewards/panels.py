"""Panels that have a name: proxies that together order functions as many other tasks do.

There is no best function for everything: regression dislikes some of the favourites of classification. So a panel has
a purpose, and its proxies are of different kinds. How the present ones were chosen is told in ``docs/results.md``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rlsearch.proxies.settings import ProxySettings

_COMMON: dict[str, Any] = {"widths": (64, 64), "schedule": "cosine", "warmup": 0.05, "validation_size": 4000}
"""Small networks, and learning rates that rise and fall as those of real networks do."""

GENERAL = (
    ProxySettings(dataset="mnist1d", epochs=8, learning_rate=3e-2, **_COMMON),
    ProxySettings(dataset="teacher", epochs=8, learning_rate=1e-2, score="loss", **_COMMON),
    ProxySettings(dataset="text", train_size=25_600, epochs=1, learning_rate=2e-2, **_COMMON),
    ProxySettings(dataset="physics", epochs=8, learning_rate=3e-2, **_COMMON),
)
"""Classification, next token and regression, each in 200 to 250 steps of a small MLP, at three learning rates.

Unlike rates do the work of several rates for each: a single one would select for scale and for the slope at 0.
"""

PANELS: Mapping[str, tuple[ProxySettings, ...]] = MappingProxyType({"general": GENERAL})
"""By name in a config: ``proxies: general``."""
