"""The base of every settings class: frozen, strict about names, with errors that name key and nearest choice."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rlsearch.errors import ConfigError, nearest


class Settings(BaseModel):
    """A group of settings. Unknown keys are refused; a value is checked when it is made and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

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


def problems(cls: type[BaseModel], error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yields the path and the description of every problem in ``error``, which arose in checking ``cls``."""
    for detail in error.errors(include_url=False):
        path = tuple(key for key in detail["loc"] if not str(key).startswith("<"))  # "<...>" tags a kind of reward
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            known = _keys_beside(cls, path)
            message = f"unknown key{nearest(str(path[-1]), known)}"
            message += f" (known: {', '.join(known)})" if known else ""
        elif detail["type"] != "value_error" and detail["type"] != "missing":
            message = f"{message[0].lower()}{message[1:]}, got {detail['input']!r}"
        elif detail["type"] == "missing":
            message = "missing"
        yield path, message


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
