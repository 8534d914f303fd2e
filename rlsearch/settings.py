"""The base of every settings class: frozen, strict about names, with errors that name key and nearest choice."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rlsearch.errors import ConfigError, nearest


class Settings(BaseModel):
    """A group of settings. Unknown keys are refused; a value is checked when it is made and never changes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, ser_json_inf_nan="constants"
    )

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings that ``values`` spell out.

        Raises:
            ConfigError: With one line per problem: the key's path, what is wrong, and the nearest valid name.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, path)) or 'settings'}: {message}" for path, message in problems(cls, error)]
            raise ConfigError("\n".join(lines)) from None


DEFAULT_KIND, TARGET_KIND = "<default>", "<target>"
"""The tags of the two kinds of reward; pydantic reports them as if they were keys."""

_EXPECTED = {"model_type": "a group of settings", "tuple_type": "a list"}


def problems(cls: type[BaseModel], error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yields the path and the description of every problem in ``error``, which arose in checking ``cls``."""
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and any(_is_within(d["loc"], detail["loc"]) for d in details):
            continue  # pydantic does not count items that are wrong themselves
        path = tuple(key for key in detail["loc"] if key not in (DEFAULT_KIND, TARGET_KIND))
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            known = _keys_beside(cls, path)
            message = f"unknown key{nearest(str(path[-1]), known)}"
            message += f" (known: {', '.join(known)})" if known else ""
        elif detail["type"] in _EXPECTED:
            message = f"expected {_EXPECTED[detail['type']]}, got {detail['input']!r}"
        elif detail["type"] != "value_error" and detail["type"] != "missing":
            message = f"{message[0].lower()}{message[1:]}, got {detail['input']!r}"
        elif detail["type"] == "missing":
            message = "missing"
        yield path, message


def _is_within(path: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _keys_beside(cls: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Returns the names of the settings that are valid where the last key of ``path`` stands."""
    here: Any = cls
    for key in path[:-1]:
        if isinstance(here, type) and issubclass(here, BaseModel) and key in here.model_fields:
            here = here.model_fields[str(key)].annotation
        while not (isinstance(here, type) and issubclass(here, BaseModel)):
            choices = [a for a in getattr(here, "__args__", ()) if a is not type(None) and a is not Ellipsis]
            if not choices:
                return []
            here = choices[0]
    return list(here.model_fields)
