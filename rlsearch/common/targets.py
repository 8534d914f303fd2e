"""Objects that a config names by their import path: ``{target: "my_package.my_module:MyReward", ...arguments}``."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rlsearch.errors import ConfigError, RlsearchError, nearest


def find_target(path: str) -> Callable[..., Any]:
    """The class or function that ``path`` names as ``"package.module:name"``.

    Raises:
        ConfigError: If the path has another form, or nothing callable is found there.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise ConfigError(f"the target {path!r} is not of the form 'package.module:name'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"the target {path!r} cannot be imported: {error}") from error
    except Exception as error:
        # Importing runs a user's code, which may raise anything.
        raise ConfigError(f"the target {path!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise ConfigError(f"{module_name} has no {name!r}{nearest(name, vars(module))}")
    found = getattr(module, name)
    if not callable(found):
        raise ConfigError(f"the target {path!r} is a {type(found).__name__}, not a class or function")
    return found  # type: ignore[no-any-return]


def takes_argument(path: str, name: str) -> bool:
    """Whether the target has a parameter ``name`` that can be given by its name.

    Raises:
        ConfigError: If the target cannot be found.
    """
    try:
        parameter = inspect.signature(find_target(path)).parameters.get(name)
    except ValueError:
        # Some callables that are not written in Python have no signature.
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def source_of(path: str) -> str:
    """The source of the modules in which the target is named and defined, as the files are now.

    Raises:
        ConfigError: If the target or the source cannot be found.
    """
    target = find_target(path)
    names = {path.partition(":")[0]}
    if inspect.isroutine(target) or inspect.isclass(target):
        names.add(target.__module__)
    try:
        return "\n".join(inspect.getsource(importlib.import_module(name)) for name in sorted(names))
    except (OSError, TypeError, ImportError) as error:
        raise ConfigError(
            f"the source of {path!r} cannot be read: {error}; expected a function in a .py file"
        ) from error


def build_target(config: Mapping[str, Any] | str) -> Any:
    """What the target makes of its arguments: ``find_target(config["target"])(**the_rest)``.

    Raises:
        ConfigError: If the target cannot be found, does not take these arguments, or raises.
    """
    config = {"target": config} if isinstance(config, str) else dict(config)
    path = config.pop("target", None)
    if not isinstance(path, str):
        shown = config if path is None else {"target": path, **config}
        raise ConfigError(f"expected a 'target' of the form 'package.module:name', got {shown}")
    target = find_target(path)
    # Asked before the call: a TypeError of the call may as well come from within the target.
    try:
        inspect.signature(target).bind(**config)
    except TypeError as error:
        raise ConfigError(f"{path} does not take {config}: {error}") from error
    except ValueError:
        # Some callables that are not written in Python have no signature.
        pass
    try:
        return target(**config)
    except RlsearchError:
        raise
    except Exception as error:
        raise ConfigError(f"{path} called with {config} raised {type(error).__name__}: {error}") from error
