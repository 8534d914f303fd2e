"""Writes the source of the interpreter that ``numba_kernel.py`` runs, from the operator table.

An operator is defined once, in ``rlsearch/formula/operators.py``: handed a backend that writes text, its row becomes
a branch of the interpreter, in one form for every mixture of arrays and constants. Only the functions that rows call
(``exp``, ``where``, ...) are written for numba by hand, in ``numba_functions.py``.

The source is a module in the machine's cache folder, named by a digest of all that it depends on. numba keeps the
machine code beside it, so one process per machine compiles, and an installation may be read-only.
"""

import hashlib
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from rlsearch.cache import cache_folder
from rlsearch.errors import RlsearchError
from rlsearch.formula.backends import UNARY
from rlsearch.formula.operators import OPERATORS, Operator
from rlsearch.kernels import numba_functions

_LOGGER = logging.getLogger(__name__)

BLOCK = 512
"""Numbers per pass of an instruction: few enough for the first-level cache, many enough to forget the dispatch."""

FORMS = {1: ("v",), 2: ("vv", "vc", "cv")}
"""Operands by arity: v is an array, c a constant. Two constants were folded when the formula was compiled."""

OPCODES = {
    (name, form): code
    for code, (name, form) in enumerate((o.name, form) for o in OPERATORS.values() for form in FORMS[o.arity])
}
"""The number of every operator in every form."""


class _Text:
    """A piece of source that stands for a float32; arithmetic on it writes more source."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __neg__(self) -> "_Text":
        return _Text(f"(-{self.text})")


def _infix(symbol: str, swapped: bool = False) -> Callable[[Any, Any], _Text]:
    if swapped:
        return lambda a, b: _Text(f"({_text(b)} {symbol} {_text(a)})")
    return lambda a, b: _Text(f"({_text(a)} {symbol} {_text(b)})")


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(_Text, f"__{_name}__", _infix(_symbol))
    setattr(_Text, f"__r{_name}__", _infix(_symbol, swapped=True))
for _name, _symbol in {"lt": "<", "gt": ">"}.items():
    setattr(_Text, f"__{_name}__", _infix(_symbol))


def _text(a: Any) -> str:
    return a.text if isinstance(a, _Text) else f"F({a!r})"  # a bare literal would turn the arithmetic to float64


FUNCTIONS = (*UNARY, "maximum", "minimum", "at_least", "at_most", "where")
"""What rows of the operator table may call."""


def _call(name: str) -> Callable[..., _Text]:
    return lambda *arguments: _Text(f"{name}({', '.join(_text(a) for a in arguments)})")


def _clamp(a: Any, low: float | None = None, high: float | None = None) -> Any:
    a = a if low is None else _call("at_least")(a, low)
    return a if high is None else _call("at_most")(a, high)


_BACKEND = SimpleNamespace(
    **{name: _call(name) for name in UNARY},
    maximum=_call("maximum"),
    minimum=_call("minimum"),
    where=_call("where"),
    clamp=_clamp,
)


def _branch(operator: Operator, form: str, slopes: bool) -> list[str]:
    """Returns the loop of one instruction: ``left`` and ``right`` are operands, ``into`` the result."""
    arrays = ("left", "right")[: len(form)]
    names = ("a", "b")[: len(form)]
    operands = [_Text(name) for name in names]
    loads = (f"{array}[i]" if kind == "v" else "constant" for array, kind in zip(arrays, form, strict=True))
    lines = [f"{name} = {load}" for name, load in zip(names, loads, strict=True)]
    lines += [f"y = {_text(operator.value(_BACKEND, *operands))}", "into[i] = y"]
    if slopes:
        terms = []
        for partial, array, kind in zip(operator.partials, arrays, form, strict=True):
            if kind == "v":  # the slope of a constant is 0, even where the partial is infinite
                outer, inner = _text(partial(_BACKEND, _Text("y"), *operands)), f"{array}[{BLOCK} + i]"
                terms.append(inner if outer == "F(1.0)" else f"{outer} * {inner}")
        lines.append(f"into[{BLOCK} + i] = {' + '.join(terms)}")
    return [f"for i in range({BLOCK}):", *("    " + line for line in lines)]


_INTERPRETER = """
@numba.njit({signature!r}, cache={cached}, nogil=True, error_model="numpy")
def {name}(instructions, constants, starts, results, n_slots, x, {outputs}):
    scratch = np.empty(n_slots * {record}, np.float32)
    scratch[:{block}] = 0
    scratch[{block}:{record}] = 1  # slot 0 is x, whose slope is 1; nothing else is ever written there
    for member in range(x.shape[0]):
        numbers = x[member]
        for start in range(0, numbers.size, {block}):
            count = min({block}, numbers.size - start)
            source = numbers[start : start + count]
            for i in range(count):
                scratch[i] = source[i]
            for position in range(starts[member], starts[member + 1]):
                opcode = instructions[position, 0]
                into = scratch[instructions[position, 1] : instructions[position, 1] + {record}]
                left = scratch[instructions[position, 2] : instructions[position, 2] + {record}]
                right = scratch[instructions[position, 3] : instructions[position, 3] + {record}]
                constant = constants[position]
{branches}
            result = scratch[results[member] : results[member] + {record}]
{copies}
"""


def _interpreter(name: str, slopes: bool, cached: bool) -> str:
    branches = []
    for (operator, form), code in OPCODES.items():
        branches += [f"{'elif' if code else 'if'} opcode == {code}:  # {operator} {form}"]
        branches += ["    " + line for line in _branch(OPERATORS[operator], form, slopes)]
    copies = []
    outputs = {"values": 0} | ({"slopes": BLOCK} if slopes else {})
    for output, offset in outputs.items():
        copies += [f"target = {output}[member, start : start + count]", "for i in range(count):"]
        copies += [f"    target[i] = result[{offset} + i]"]
    matrices = ", ".join(["float32[:, ::1]"] * (1 + len(outputs)))
    return _INTERPRETER.format(
        signature=f"void(int32[:, ::1], float32[::1], int32[::1], int32[::1], int64, {matrices})",
        cached=cached,
        name=name,
        outputs=", ".join(outputs),
        block=BLOCK,
        record=2 * BLOCK,
        branches="\n".join(" " * 16 + line for line in branches),
        copies="\n".join(" " * 12 + line for line in copies),
    )


def interpreter_source(cached: bool = True) -> str:
    """Returns the source of a module with the functions ``value`` and ``value_and_slope``."""
    return (
        '"""Written by rlsearch.kernels.numba_source from the operator table; made anew when that changes."""\n\n'
        "import numba\nimport numpy as np\n\n"
        f"from {numba_functions.__name__} import {', '.join(['F', *FUNCTIONS])}\n"
        + _interpreter("value", False, cached)
        + _interpreter("value_and_slope", True, cached)
    )


def load_interpreter() -> ModuleType:
    """Returns the compiled interpreter.

    The first process on a machine compiles it, which takes about a quarter of a minute; later ones load it from the
    cache folder in less than a second. Where that folder cannot be written, every process compiles.

    Raises:
        RlsearchError: If an operator calls a function that ``numba_functions.py`` lacks.
    """
    missing = [name for name in FUNCTIONS if not hasattr(numba_functions, name)]
    if missing:
        raise RlsearchError(
            f"the operator table calls {missing[0]!r}, which {numba_functions.__file__} lacks; define it there, "
            "or use the torch kernel"
        )
    return load_compiled("interpreter", interpreter_source, inspect.getsource(numba_functions))


def load_compiled(stem: str, source: Callable[[bool], str], depends_on: str) -> ModuleType:
    """Returns a module of functions that numba compiles, as it is kept in the machine's cache folder.

    Args:
        stem: Of the module's name.
        source: The module's text, given whether its functions' machine code is to be kept.
        depends_on: What else decides the machine code: numba looks whether the module's own file has changed, not
            whether the functions that it calls have.
    """
    text = source(True)
    digest = hashlib.blake2b((text + depends_on).encode(), digest_size=8).hexdigest()
    name = f"rlsearch_{stem}_{digest}"
    if name not in sys.modules:
        path = cache_folder() / "kernels" / f"{name}.py"
        try:
            _write(path, text)
            sys.modules[name] = _load(name, path)
        except (OSError, RuntimeError) as error:  # RuntimeError: numba found no folder for the machine code
            _LOGGER.warning("compiling the numba kernel in every process: it cannot be kept (%s)", error)
            module = ModuleType(name)
            exec(source(False), module.__dict__)
            sys.modules[name] = module
    return sys.modules[name]


def _write(path: Path, source: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == source:
        return  # written anew, it would be younger than the machine code kept for it
    _LOGGER.info("compiling the numba kernel, once on this machine")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(source, encoding="utf-8")
    part.replace(path)  # at once, since other processes may read it


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # numba looks its functions' module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
