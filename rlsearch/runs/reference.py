"""The reference of settings and of TensorBoard's tags, as pages of Markdown."""

import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from rlsearch.common.markdown import table_lines
from rlsearch.common.settings import Settings, settings_in
from rlsearch.proxies.settings import TrainingSettings
from rlsearch.rewards.panels import PANELS
from rlsearch.rewards.settings import RewardSettings
from rlsearch.runs.config import Config
from rlsearch.runs.tags import DESCRIPTIONS, OF_FAMILIES


def settings_classes(cls: type[Settings] = Config) -> list[type[Settings]]:
    """The settings class and all that stand in it at any depth, each once, in the order of a config."""
    found = [cls]
    for field in cls.model_fields.values():
        for inner in settings_in(field.annotation):
            found += [more for more in settings_classes(inner) if more not in found]
    return found


def settings_as_markdown() -> str:
    """Every setting with its type, default and description: a section for each group, as a page."""
    lines = ["# Settings", "", _INTRODUCTION, ""]
    for cls in settings_classes():
        lines += _section(cls)
        if cls is RewardSettings:
            lines += _section(TrainingSettings)
    return "\n".join(lines)


_INTRODUCTION = (
    "Made from the settings classes. `rlsearch config show CONFIG` prints a config with every value. `--set` changes "
    "any of them, such as `--set search.rounds=10` or `--set 'language.constants=[1, 2]'`. Items of a list are counted "
    "from 0: `--set reward.proxies.0.epochs=2`. None is written `null`."
)


def tags_as_markdown() -> str:
    """What every tag of TensorBoard means, as a page."""
    families = [(f"`{beginning}...`", text) for beginning, text in OF_FAMILIES.items()]
    tags = [(f"`{tag}`", text) for tag, text in DESCRIPTIONS.items()]
    return "\n".join(
        [
            "# TensorBoard",
            "",
            "`tensorboard --logdir runs` shows runs while they go on. The x axis counts proposals, repeats included.",
            "The page Custom Scalars groups the curves; Text has the leaderboard, Images the best functions beside",
            "ReLU and GELU, contours of gated ones, and the front of score against latency, HParams the settings of",
            "all runs.",
            "",
            *table_lines(("tag", "meaning"), [*tags, *families]),
            "",
        ]
    )


def _section(cls: type[Settings]) -> list[str]:
    """A heading, what the class says of itself, and the table of its own settings."""
    paths = dict.fromkeys(_paths(Config, cls))
    where = f"In a config: {', '.join(f'`{path}`' for path in paths)}." if paths else ""
    about = (cls.__doc__ or "").strip().splitlines()[0]
    # What all kinds of proxy share has a section of its own.
    shared: dict[str, FieldInfo] = {}
    if issubclass(cls, TrainingSettings) and cls is not TrainingSettings:
        shared = TrainingSettings.model_fields
        where += " The settings of [training](#training) stand here too."
    rows = [
        (f"`{name}`", _type(field.annotation), _default(field), field.description or "")
        for name, field in cls.model_fields.items()
        if name not in shared
    ]
    table = table_lines(("setting", "type", "default", "what it is"), rows)
    return [f"## {_words(cls)}", "", f"{about} {where}", "", *table, ""]


def _paths(within: type[Settings], cls: type[Settings], before: str = "") -> Iterator[str]:
    """Where a settings class stands in a config: ``controller.ppo``, or ``reward.proxies[]`` in a list."""
    for name, field in within.model_fields.items():
        for inner in settings_in(field.annotation):
            many = "[]" if _is_a_list(field.annotation) else ""
            path = f"{before}{name}{many}"
            if inner is cls:
                yield path
            yield from _paths(inner, cls, f"{path}.")


def _is_a_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(_is_a_list(argument) for argument in get_args(annotation))


def _words(cls: type[Settings]) -> str:
    """The name of a settings class in words: ``OwnProxySettings`` is own proxy."""
    name = cls.__name__.removesuffix("Settings")
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", name)


def _type(annotation: Any) -> str:
    """A type in plain words; choices are spelled out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, types.UnionType):
        kinds = [_type(argument) for argument in arguments if argument is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return f"[group](#{_words(annotation).lower().replace(' ', '-')})"
    return _PLAIN.get(annotation, "mapping")


_PLAIN = {str: "text", Path: "path", int: "whole number", float: "number", bool: "`true` or `false`"}
"""The words for plain types; what else there is are arguments by name."""


def _default(field: FieldInfo) -> str:
    """A default as YAML writes it; nothing for groups, whose own tables have theirs."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        return ""
    if value == PANELS["general"]:
        return "`general`"
    if isinstance(value, tuple) and any(isinstance(item, Settings) for item in value):
        return "see `rlsearch config show`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{json.dumps(value).strip(chr(34))}`"
