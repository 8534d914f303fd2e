"""Writes the operators that mining applies, each as a loop over a grid; see ``native.py``."""

from types import ModuleType

from rlsearch.formula.operators import OPERATORS
from rlsearch.kernels import numba_functions
from rlsearch.kernels.compiled import load_generated
from rlsearch.kernels.generated import checked_digest
from rlsearch.kernels.numba_source import OPCODES, branch, header
from rlsearch.search.mining.table import KEY_POINTS


def operators_source() -> str:
    """Writes a module with ``apply_values``, on the grid of keys, and ``apply_slopes``, on a grid of any size."""
    values = _function("apply_values", KEY_POINTS, slopes=0)
    return header("operators") + values + _function("apply_slopes", "points", slopes=1)


def _function(name: str, points: int | str, slopes: int) -> str:
    lines = [
        "",
        "",
        '@compiled("void(int64, float32[::1], float32[::1], float32, float32[::1])")',
        f"def {name}(opcode, left, right, constant, into):",
    ]
    if slopes:
        lines.append("    points = into.size // 2")
    for (operator, form), code in OPCODES.items():
        lines.append(f"    {'elif' if code else 'if'} opcode == {code}:  # {operator} {form}")
        lines += ["        " + line for line in branch(OPERATORS[operator], form, slopes, points)]
    return "\n".join([*lines, ""])


def load_operators() -> ModuleType:
    """The compiled operators; the first process on a machine compiles them, in some seconds."""
    source = operators_source()
    return load_generated("operators", source, checked_digest(source, numba_functions))
