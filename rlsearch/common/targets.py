"""Objects that a config names by their import path: ``{target: "my_package.my_module:MyReward", ...arguments}``."""

import ast
import importlib
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rlsearch.common.users_code import FAILURES, as_message, seed_of, users_code, what_was_raised
from rlsearch.errors import ConfigError, RlsearchError, nearest

MAIN = "__main__"
"""The module of a script or a notebook, which worker processes do not have."""


def find_target(path: str) -> Callable[..., Any]:
    """The class or function that ``path`` names as ``"package.module:name"``.

    Raises:
        ConfigError: If the path has another form, or nothing callable is found there.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise ConfigError(f"the target {path!r} is not of the form 'package.module:name'")
    try:
        module = _imported(module_name)
    except ImportError as error:
        top = module_name.partition(".")[0]
        where = searched() if isinstance(error, ModuleNotFoundError) and error.name == top else ""
        raise ConfigError(f"the target {path!r} cannot be imported: {as_message(error)}{where}") from error
    except FAILURES as error:
        # Importing runs a user's code, which may raise anything.
        raise ConfigError(f"the target {path!r} cannot be imported: {what_was_raised(error)}") from error
    if not hasattr(module, name):
        raise ConfigError(f"{module_name} has no {name!r}{nearest(name, vars(module))}")
    found = getattr(module, name)
    if not callable(found):
        raise ConfigError(f"the target {path!r} is a {type(found).__name__}, not a class or function")
    return found  # type: ignore[no-any-return]


def _imported(name: str) -> ModuleType:
    found = sys.modules.get(name)
    if found is not None:
        return found
    with users_code(seed_of(name)):
        return importlib.import_module(name)


def searched() -> str:
    """The folders in which a user's modules were looked for, as the end of a message."""
    # What belongs to the interpreter and its packages says nothing about where the user's file should lie.
    of_python = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    folders = dict.fromkeys(path or os.getcwd() for path in sys.path if not path.startswith(of_python))
    return f"; searched besides Python's packages: {', '.join(folders) or 'no folder'}"


def path_of(target: Callable[..., Any]) -> str:
    """The path by which :func:`find_target` finds a class or function: what a config keeps of it.

    Raises:
        ConfigError: If it has no name of its own in its module, as a lambda or a function within a function.
    """
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "")
    path = f"{module}:{name}"
    if module is None or getattr(sys.modules.get(module), name, None) is not target:
        raise ConfigError(
            f"{path} cannot be found by its name, and a run could not be resumed; expected a class or function that "
            "is defined at the top of a module or notebook"
        )
    return path


def search_too(folder: Path | str) -> None:
    """Lets targets name modules in a folder; what Python's own path has comes first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def lies_in(folder: Path, path: str) -> bool:
    """Whether the module or the package that a target names lies in a folder. Nothing is imported."""
    top = path.partition(":")[0].partition(".")[0]
    return bool(top) and ((folder / f"{top}.py").is_file() or (folder / top).is_dir())


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
    return "\n".join(_sources(path))


def code_of(path: str) -> str:
    """What that source does: the parsed code without comments, docstrings and spacing, in every Python the same.

    Raises:
        ConfigError: If the target or the source cannot be found, or is no longer Python.
    """
    try:
        return "\n".join(_without_words(ast.parse(text)) for text in _sources(path))
    except SyntaxError as error:
        raise ConfigError(f"the source of {path!r} is not Python any more: {error}") from error


_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _without_words(node: Any) -> str:
    if isinstance(node, list):
        return f"[{','.join(map(_without_words, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    # Versions of Python differ in empty fields, of which newer ones have more.
    parts = [f"{name}={_without_words(value)}" for name, value in fields.items() if value not in (None, [])]
    return f"{type(node).__name__}({','.join(parts)})"


def _sources(path: str) -> list[str]:
    target = find_target(path)
    names = {path.partition(":")[0]}
    if inspect.isroutine(target) or inspect.isclass(target):
        names.add(target.__module__)
    try:
        # A notebook is a module without a file: there the source of the target alone is known.
        if names == {MAIN} and not hasattr(sys.modules[MAIN], "__file__"):
            return [textwrap.dedent(inspect.getsource(target))]
        return [inspect.getsource(importlib.import_module(name)) for name in sorted(names)]
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
    except FAILURES as error:
        raise ConfigError(f"{path} called with {config} raised {what_was_raised(error)}") from error


def build_callable(config: Mapping[str, Any] | str, given: str) -> Any:
    """What a config names that is to be called with one thing: made by a factory, or the target itself.

    A class, and a function that can be called with the config's arguments alone, is a factory, and what it makes is
    returned. A function that lacks one argument then is what was meant: it keeps the others.

    Args:
        config: The target and its arguments.
        given: What it will be called with, for messages: ``"formulas"``.

    Raises:
        ConfigError: If the target cannot be found, is neither, or raises.
    """
    arguments = {"target": config} if isinstance(config, str) else dict(config)
    path = arguments.pop("target", None)
    if isinstance(path, str):
        target = find_target(path)
        if not inspect.isclass(target) and not _takes(target, **arguments):
            if _takes(target, None, **arguments):
                return partial(target, **arguments) if arguments else target
            named = ", ".join(arguments) or "no arguments"
            raise ConfigError(
                f"{path} takes {inspect.signature(target)}, and the config gives {named}; expected a factory that "
                f"takes these alone, or a function that takes {given} and these"
            )
    return build_target(config)


def _takes(target: Callable[..., Any], *positional: Any, **named: Any) -> bool:
    try:
        inspect.signature(target).bind(*positional, **named)
    except TypeError:
        return False
    except ValueError:
        # Some callables that are not written in Python have no signature.
        return not positional
    return True
