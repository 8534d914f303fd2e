"""A config as a script or a notebook gives it: a file, a dict or itself, with changes by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlsearch.common.targets import MAIN, path_of
from rlsearch.errors import InputError
from rlsearch.runs.config import Config, load_config

ConfigLike = Config | Mapping[str, Any] | Path | str
"""A config, its settings as a dict, or the path of its file.

In a dict a reward, a network or data may be given as the class or function itself in the place of its import path.
"""

SHORTCUTS = {
    "rounds": "search.rounds",
    "candidates": "search.candidates",
    "method": "search.method",
    "seed": "seed",
    "device": "device",
    "workers": "workers",
}
"""Settings that are asked for so often that they have a name of their own."""


def config_of(
    config: ConfigLike, settings: Mapping[str, Any] | None = None, shortcuts: Mapping[str, Any] | None = None
) -> Config:
    """The config with its changes.

    Args:
        config: What was given.
        settings: Changes by their path, such as ``{"search.rounds": 10}``.
        shortcuts: Changes by a name of :data:`SHORTCUTS`.

    Raises:
        ConfigError: If the config is wrong.
        InputError: If there is no such shortcut, or a path leads through what is no group.
    """
    changes = dict(settings or {})
    for name, value in (shortcuts or {}).items():
        if name not in SHORTCUTS:
            known = ", ".join(SHORTCUTS)
            raise InputError(f"there is no argument {name!r} (known: {known}); other settings go to settings={{...}}")
        changes[SHORTCUTS[name]] = value
    changes = {path: _by_name(value) for path, value in changes.items()}
    if isinstance(config, str | Path):
        return load_config(config, [f"{path}={json.dumps(value)}" for path, value in changes.items()])
    tree = config.model_dump() if isinstance(config, Config) else _by_name(config)
    for path, value in changes.items():
        _put(tree, path, value)
    # What is defined in a notebook or script is there in this process alone.
    if f"{MAIN}:" in repr(tree) and tree.get("workers") is None:
        tree["workers"] = 1
    return Config.check(tree)


def config_if_given(config: ConfigLike | None, settings: Mapping[str, Any] | None) -> Config | None:
    """The config with its changes; None without one.

    Raises:
        InputError: If there are changes, and nothing to change.
    """
    if config is None and settings:
        raise InputError("settings go with a config")
    return None if config is None else config_of(config, settings)


def _by_name(settings: Any) -> Any:
    """The settings as a file may have them.

    In the place of every class and function stands its import path, and in that of numpy's numbers stand Python's.
    """
    if isinstance(settings, Mapping):
        return {key: _by_name(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_by_name(value) for value in settings]
    if isinstance(settings, np.generic):
        return settings.item()
    return path_of(settings) if callable(settings) else settings


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Puts a value at a path such as ``"search.rounds"``; groups on the way are copied or made."""
    first, dot, rest = path.partition(".")
    if not dot:
        tree[first] = value
        return
    group = tree.get(first) or {}
    if not isinstance(group, Mapping):
        raise InputError(f"{first} is no group of settings, so there is no {path}; give the whole of {first}")
    tree[first] = dict(group)
    _put(tree[first], rest, value)
