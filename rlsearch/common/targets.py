"""Objects that a config names by their import path: ``{target: "my_package.my_module:MyReward", ...arguments}``."""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rlsearch.common.users_code import FAILURES, as_message, seed_of, users_code, what_was_raised
from rlsearch.errors import ConfigError, RlsearchError, nearest

MAIN = "__main__"
"""The module of a script or a notebook, which worker processes do not have."""


def is_of_main(path: str) -> bool:
    """Whether a target is defined in a script or a notebook, where no other process finds it."""
    return path.startswith(f"{MAIN}:")


_OWN_PACKAGES = ("rlsearch", "rlsearch_envs")

_AS_IMPORTED: dict[str, str] = {}
"""The source of every target that was used, by its path, as it was imported."""


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
        # A file that was written a moment ago may be in no folder's listing yet.
        importlib.invalidate_caches()
        return importlib.import_module(name)


def searched() -> str:
    """The folders in which a user's modules were looked for, as the end of a message."""
    # What belongs to the interpreter and its packages says nothing about where the user's file should lie.
    folders = dict.fromkeys(path or os.getcwd() for path in sys.path if not _is_of_python(path))
    return f"; searched besides Python's packages: {', '.join(folders) or 'no folder'}"


def _is_of_python(path: str) -> bool:
    return path.startswith((sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix))


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


def search_first(folder: Path | str) -> None:
    """Lets targets name modules in a folder, before all others that are not Python's own, such as the current one.

    Modules of the same names that were imported from elsewhere are forgotten: of two configs in one process, each is
    to get its own.
    """
    path = os.path.realpath(folder)
    others = [other for other in sys.path if other != path]
    place = next((i for i, other in enumerate(others) if not _is_of_python(other)), len(others))
    sys.path[:] = [*others[:place], path, *others[place:]]

    found_elsewhere = {name.partition(".")[0] for name, module in list(sys.modules.items()) if _hides(module, path)}
    for name in list(sys.modules):
        if name.partition(".")[0] in found_elsewhere:
            del sys.modules[name]
    for target in list(_AS_IMPORTED):
        if target.partition(":")[0].partition(".")[0] in found_elsewhere:
            del _AS_IMPORTED[target]


def _hides(module: ModuleType | None, folder: str) -> bool:
    """Whether a module that is not Python's own keeps the one of the same name in a folder from being imported."""
    file, name = getattr(module, "__file__", None), getattr(module, "__name__", MAIN)
    # What is running now cannot be forgotten.
    if file is None or name == MAIN or name.partition(".")[0] in _OWN_PACKAGES or _is_of_python(file):
        return False
    place = os.path.join(folder, *name.split("."))
    there = [each for each in (f"{place}.py", os.path.join(place, "__init__.py")) if os.path.isfile(each)]
    return bool(there) and os.path.realpath(file) not in map(os.path.realpath, there)


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


def digest(texts: Iterable[str]) -> str:
    """A digest of texts, 16 characters long."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


def refresh(paths: Iterable[str]) -> None:
    """Imports targets anew whose files were edited since they were last used, as a notebook's cells do.

    Called where a training begins, and not by :func:`find_target`: in the middle of a run the code stays as it is.

    Raises:
        ConfigError: If a target cannot be found, or its file cannot be imported any more.
    """
    for path in paths:
        names = _modules_of(path)
        try:
            source = source_of(path)
        except ConfigError:
            # Without a source nothing was edited.
            continue
        if _AS_IMPORTED.setdefault(path, source) != source and MAIN not in names:
            _import_anew(path, names)
            _AS_IMPORTED[path] = source


def _import_anew(path: str, names: set[str]) -> None:
    named = path.partition(":")[0]
    importlib.invalidate_caches()
    # The module that a target is named in takes it from the one that it is defined in.
    for name in sorted(names, key=lambda name: (name == named, name)):
        module = sys.modules[name]
        # The compiled file is told from another by whole seconds and its size, which an edit may leave as they are.
        with suppress(OSError, ValueError, TypeError):
            os.remove(importlib.util.cache_from_source(str(module.__file__)))
        try:
            with users_code(seed_of(name)):
                importlib.reload(module)
        except FAILURES as error:
            raise ConfigError(f"the target {path!r} cannot be imported anew: {what_was_raised(error)}") from error


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


def _modules_of(path: str) -> set[str]:
    """The names of the modules in which a target is named and defined."""
    target = find_target(path)
    names = {path.partition(":")[0]}
    if inspect.isroutine(target) or inspect.isclass(target):
        names.add(target.__module__)
    return names


def _sources(path: str) -> list[str]:
    target, names = find_target(path), _modules_of(path)
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
