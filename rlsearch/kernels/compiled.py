"""Functions that numba compiles: how they are declared, and where their machine code is kept.

numba keeps machine code beside the file of a function and looks only whether that file has changed. Ours depends on
more: on the generated interpreters, and on the functions that they call. So it lies in the machine's cache folder, in
a folder named by a digest of everything that decides it, and a change in any of that compiles anew. Where the folder
cannot be written, every process compiles for itself, after one warning. See ``docs/what-is-compiled.md``.
"""

import hashlib
import inspect
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from rlsearch.common.cache import cache_folder
from rlsearch.kernels.generated import load_module, write_module

_LOGGER = logging.getLogger(__name__)

Function = Callable[..., Any]


def digest_of(*depends_on: str | ModuleType) -> str:
    """A digest of texts and of the source of modules."""
    texts = [each if isinstance(each, str) else inspect.getsource(each) for each in depends_on]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


DEFAULTS = {"nogil": True, "error_model": "numpy"}
"""Options of every function that is declared here."""


class Compiler:
    """Compiles functions, and keeps their machine code from one process to the next.

    A decorator, with numba's options as arguments::

        compiled = Compiler("step", sys.modules[__name__], numba_functions)

        @compiled("void(float32[::1])")
        def double(x): ...

    Args:
        name: Of the folder, before the digest.
        *depends_on: Everything that decides the machine code besides the versions of numba, Python and the processor,
            which numba looks at: modules, by their source, and texts.
    """

    def __init__(self, name: str, *depends_on: str | ModuleType) -> None:
        self.name = name
        self.digest = digest_of(repr(DEFAULTS), *depends_on)

    @property
    def folder(self) -> Path:
        """Where the machine code lies."""
        return cache_folder() / "kernels" / f"{self.name}_{self.digest}"

    def __call__(self, signature: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Declares a function; with a signature it is compiled at once, and for that alone."""

        def declare(function: Function) -> Function:
            dispatcher = numba.njit(**{**DEFAULTS, **options})(function)
            if numba.config.DISABLE_JIT:
                return function
            dispatcher._cache = _MachineCode(function, self.folder)
            if signature is not None:
                dispatcher.compile(signature)
                dispatcher.disable_compile()
            declared: Function = dispatcher
            return declared

        return declare


class _Folder(_CacheLocator):  # type: ignore[misc]
    """Where numba finds machine code; it is as it should be, since the folder's name says what it was made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """What must be equal for machine code to be used."""
        return self._folder.name

    def get_disambiguator(self) -> None:
        """Nothing: a folder has one function of a name."""

    @classmethod
    def from_function(cls, py_func: Function, py_file: str) -> None:
        """Is not asked."""


class _Files(CompileResultCacheImpl):  # type: ignore[misc]
    def __init__(self, function: Function, folder: Path) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Folder(folder)
        self._filename_base = f"{function.__name__}.py{sys.version_info[0]}{sys.version_info[1]}"


class _MachineCode(FunctionCache):  # type: ignore[misc]
    """numba's cache of one function, in our folder, which goes without where that folder cannot be written."""

    def __init__(self, function: Function, folder: Path) -> None:
        self._impl_class = lambda function: _Files(function, folder)
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        except OSError as error:
            _warn(error)
        except Exception as error:  # whatever unpickling raises of a damaged file
            _LOGGER.warning("machine code in %s is damaged (%r) and is made anew", self._cache_path, error)
            shutil.rmtree(self._cache_path, ignore_errors=True)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps the machine code for a signature."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn(error)


def load_generated(stem: str, source: str, *depends_on: str | ModuleType) -> ModuleType:
    """The module of a generated text.

    The text is written to the cache folder, so that tracebacks show it; where that fails it is run from memory. Its
    functions are declared by ``Compiler(..., __name__)``, since the name contains the digest.

    Args:
        stem: Of the module's name.
        source: The module's text.
        *depends_on: What else decides the machine code.
    """
    name = f"rlsearch_{stem}_{digest_of(source, *depends_on)}"
    if name in sys.modules:
        return sys.modules[name]
    path = cache_folder() / "kernels" / f"{name}.py"
    try:
        is_new = write_module(path, source)
    except OSError as error:
        _warn(error)
        module = sys.modules[name] = ModuleType(name)
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)
        return module
    if is_new:
        _LOGGER.info("compiling the %s of numba, once on this machine", stem)
    return load_module(name, path)


_warned: list[str] = []


def _warn(error: OSError) -> None:
    """Says once per process that nothing is kept."""
    if not _warned:
        _LOGGER.warning("compiling with numba in every process: machine code cannot be kept (%s)", error)
        _warned.append(str(error))
