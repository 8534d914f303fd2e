"""Panels that have a name: proxies that together order functions as many other tasks do.

There is no best function for everything: regression dislikes some of the favourites of classification. So a panel has
a purpose, and its proxies are of different kinds. How the present ones were chosen is told in ``docs/results.md``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rlsearch.proxies.settings import ProxySettings

_SCHEDULE: dict[str, Any] = {"schedule": "cosine", "warmup": 0.05}
"""As real networks are trained; with it, the noise between seeds is lower than at a constant rate."""

GENERAL = (
    ProxySettings(dataset="mnist1d", epochs=10, learning_rate=3e-2, validation_size=4000, **_SCHEDULE),
    ProxySettings(dataset="teacher", epochs=10, learning_rate=3e-3, score="loss", **_SCHEDULE),
    ProxySettings(dataset="text", widths=(128, 128), epochs=1, learning_rate=1e-2, **_SCHEDULE),
    ProxySettings(dataset="physics", epochs=10, learning_rate=3e-2, **_SCHEDULE),
)
"""Classification, next token and regression, at unlike learning rates, each in 300 steps of a small MLP.

Unlike rates do the work of several rates for each: a single one would select for scale and for the slope at 0.
"""

PANELS: Mapping[str, tuple[ProxySettings, ...]] = MappingProxyType({"general": GENERAL})
"""By name in a config: ``proxies: general``."""
