"""What the generated interpreters share: rows of the operator table as text, and the files that keep the result.

An operator is defined once, in ``rlsearch/formula/operators.py``: handed a backend that writes text, its row becomes
a branch of an interpreter. Only the functions that rows call (``exp``, ``where``, ...) are written by hand for each
compiler, in ``numba_functions.py`` and ``triton_functions.py``.

The source is a module in the machine's cache folder, named by a digest of all that it depends on, and the compilers
keep the machine code: one process per machine compiles, and an installation may be read-only.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from rlsearch.common.files import write_text
from rlsearch.errors import RlsearchError
from rlsearch.formula.backends import UNARY, Backend, SourceText

FUNCTIONS = (*UNARY, "maximum", "minimum", "at_least", "at_most", "where")
"""What rows of the operator table may call."""


def text_backend(text: type[SourceText]) -> Backend:
    """The backend that writes calls of ``FUNCTIONS``, with constants in the manner of ``text``."""

    def call(name: str) -> Callable[..., SourceText]:
        return lambda *arguments: text(f"{name}({', '.join(text.of(a) for a in arguments)})")

    def clamp(a: Any, low: float | None = None, high: float | None = None) -> Any:
        a = a if low is None else call("at_least")(a, low)
        return a if high is None else call("at_most")(a, high)

    names = (*UNARY, "maximum", "minimum", "where")
    return SimpleNamespace(**{name: call(name) for name in names}, clamp=clamp)


def checked_digest(source: str, functions: ModuleType) -> str:
    """A digest of a generated module and of the functions that it calls.

    Raises:
        RlsearchError: If an operator calls a function that ``functions`` lacks.
    """
    missing = [name for name in FUNCTIONS if not hasattr(functions, name)]
    if missing:
        raise RlsearchError(
            f"the operator table calls {missing[0]!r}, which {functions.__file__} lacks; define it there, "
            "or use the torch kernel"
        )
    return hashlib.blake2b((source + inspect.getsource(functions)).encode(), digest_size=8).hexdigest()


def write_module(path: Path, source: str) -> bool:
    """Writes a module unless it is there already, and says whether it was written.

    Raises:
        OSError: If it cannot be written.
    """
    # Written anew, it would be younger than the machine code that is kept for it.
    if path.exists() and path.read_bytes() == source.encode("utf-8"):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, source, shared=True)
    return True


def load_module(name: str, path: Path) -> ModuleType:
    """The module in a file, imported under ``name``."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    # Compilers look it up among the modules while it is executed.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
