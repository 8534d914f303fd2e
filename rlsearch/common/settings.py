"""The base of every settings class: frozen, strict about names, with errors that name key and nearest choice."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from rlsearch.errors import ConfigError, nearest


class Settings(BaseModel):
    """A group of settings. Unknown keys are refused; a value is checked when it is made and never changes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, ser_json_inf_nan="constants"
    )

    def __init__(self, **values: Any) -> None:
        """Makes the settings from values by name.

        Raises:
            ConfigError: As :meth:`check`.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(type(self), error) from None

    # Says to pydantic that validation need not go through __init__: the file's reader wants all problems, with lines.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python counts True as 1, and so would "seed: true".
        types = list(_plain_types(cls.model_fields[info.field_name or ""].annotation))
        if isinstance(value, bool) and bool not in types and (int in types or float in types):
            raise ValueError(f"expected a number, got {str(value).lower()}")
        return value

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> Self:
        """Makes the settings from plain values.

        Raises:
            ConfigError: With one line per problem: the key's path, what is wrong, and the nearest valid name.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _config_error(cls, error) from None


def _config_error(cls: type[BaseModel], error: ValidationError) -> ConfigError:
    """The error with one line per problem."""
    lines = [f"{'.'.join(map(str, path)) or 'settings'}: {message}" for path, message in problems(cls, error)]
    return ConfigError("\n".join(lines))


def _plain_types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    if not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _plain_types(argument)


class TargetSettings(Settings):
    """Something of the user's own: any importable class or function, and its arguments."""

    model_config = ConfigDict(extra="allow")

    target: str = Field(
        description="import path of a class or function, 'package.module:name'; other keys are arguments"
    )


class RewardTarget(TargetSettings):
    """A reward of the user's own, and how long it may take."""

    time_limit: float | None = Field(
        None,
        gt=0,
        description="seconds for one formula; with a limit the reward is called in a process of its own, which is "
        "ended when its time is up, and the formula has failed; None: it is called in the process of the search",
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """What the target is called with."""
        return self.model_dump(exclude={"target", "time_limit"})


DEFAULT_KIND, TARGET_KIND, TRAIN_KIND = _KINDS = "<default>", "<target>", "<train>"
"""The tags of the kinds of reward or proxy; pydantic reports them as if they were keys."""


def _kind(values: Any) -> str:
    has_target = "target" in values if isinstance(values, Mapping) else hasattr(values, "target")
    return TARGET_KIND if has_target else DEFAULT_KIND


BY_TARGET = Discriminator(_kind)
"""Tells a user's own reward or proxy, which has a ``target``, from the default kind."""


def _kind_of_proxy(values: Any) -> str:
    kind = values.get("kind") if isinstance(values, Mapping) else getattr(values, "kind", None)
    return TRAIN_KIND if kind is not None and _kind(values) == TARGET_KIND else _kind(values)


BY_TARGET_AND_KIND = Discriminator(_kind_of_proxy)
"""The same for proxies, of which one that has a ``kind`` beside its target is trained by the target."""

_EXPECTED = {"model_type": "a group of settings", "tuple_type": "a list"}


def problems(cls: type[BaseModel], error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yields the path and the description of every problem in ``error``, which arose in checking ``cls``."""
    details = error.errors(include_url=False)
    for detail in details:
        # pydantic does not count items that are wrong themselves, and then finds the list too short.
        if detail["type"] == "too_short" and any(_is_within(d["loc"], detail["loc"]) for d in details):
            continue
        path = tuple(key for key in detail["loc"] if key not in _KINDS)
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            known = _keys_beside(cls, detail["loc"])
            message = f"unknown key{nearest(str(path[-1]), known)}"
            message += f" (known: {', '.join(known)})" if known else ""
        elif detail["type"] in _EXPECTED:
            message = f"expected {_EXPECTED[detail['type']]}, got {detail['input']!r}"
        elif detail["type"] != "value_error" and detail["type"] != "missing":
            message = f"{message[0].lower()}{message[1:]}, got {detail['input']!r}"
            if detail["type"] == "literal_error":
                choices = re.findall("'([^']*)'", detail["ctx"]["expected"])
                message += nearest(str(detail["input"]), choices)
        elif detail["type"] == "missing":
            message = "missing"
        yield path, message


def _is_within(path: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _keys_beside(cls: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The names of the settings that are valid where the last key of ``path`` stands."""
    here: Any = cls
    for key in path[:-1]:
        if key in _KINDS:
            here = next(settings_in(here, key), here)
        elif isinstance(key, str):
            found = next(settings_in(here), None)
            if found is None or key not in found.model_fields:
                return []
            here = found.model_fields[key].annotation
    found = next(settings_in(here), None)
    return list(found.model_fields) if found else []


def settings_in(annotation: Any, kind: str | int | None = None) -> Iterator[type[Settings]]:
    """Yields the settings classes in an annotation, those of a kind alone if one is given."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        if kind is None:
            yield annotation
        return
    if any(isinstance(tag, Tag) and tag.tag == kind for tag in getattr(annotation, "__metadata__", ())):
        kind = None
    for argument in get_args(annotation):
        yield from settings_in(argument, kind)
