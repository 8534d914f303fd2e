"""Writes the module that mining runs: the operators as loops over a grid, and the loops of ``native.py``."""

from pathlib import Path
from types import ModuleType

from rlsearch.formula.operators import OPERATORS
from rlsearch.kernels import numba_functions
from rlsearch.kernels.generated import FUNCTIONS, checked_digest
from rlsearch.kernels.numba_source import OPCODES, branch, load_compiled


def _operators(name: str, points: int, slopes: int) -> str:
    lines = [
        f'@numba.njit("void(int64, {", ".join(["float32[::1]"] * 2)}, float32, float32[::1])", nogil=True, '
        f'error_model="numpy")',
        f"def {name}(opcode, left, right, constant, into):",
    ]
    for (operator, form), code in OPCODES.items():
        lines.append(f"    {'elif' if code else 'if'} opcode == {code}:  # {operator} {form}")
        lines += ["        " + line for line in branch(OPERATORS[operator], form, slopes, points)]
    return "\n".join(lines)


def module_source(key_points: int, screening_points: int, cached: bool = True) -> str:
    """Returns the source of the module for grids of so many points."""
    parts = [
        '"""Written by rlsearch.search.mining.source from the operator table; made anew when that changes."""',
        "import numba\nimport numpy as np",
        f"from {numba_functions.__name__} import {', '.join(['F', *FUNCTIONS])}",
        _operators("apply_values", key_points, 0),
        _operators("apply_slopes", screening_points, 1),
        Path(__file__).with_name("native.py").read_text(encoding="utf-8"),
    ]
    text = "\n\n".join(parts)
    return text.replace('error_model="numpy"', f'error_model="numpy", cache={cached}')


def load_loops(key_points: int, screening_points: int) -> ModuleType:
    """Returns the compiled loops; the first process on a machine compiles them, in about a quarter of a minute."""

    def source(cached: bool) -> str:
        return module_source(key_points, screening_points, cached)

    return load_compiled("mining", source, checked_digest(source(True), numba_functions))
