"""Writes the module that mining runs: the operators as loops over a grid, and the loops of ``native.py``."""

import logging
import sys
from pathlib import Path
from types import ModuleType

from rlsearch.cache import cache_folder
from rlsearch.formula.operators import OPERATORS
from rlsearch.kernels import numba_functions
from rlsearch.kernels.generated import FUNCTIONS, checked_digest, load_module, write_module
from rlsearch.kernels.numba_source import OPCODES, branch

_LOGGER = logging.getLogger(__name__)


def _operators(name: str, points: int, slopes: int) -> str:
    lines = [
        f'@numba.njit("void(int64, {", ".join(["float32[::1]"] * 2)}, float32, float32[::1])", nogil=True, '
        f'error_model="numpy", cache=True)',
        f"def {name}(opcode, left, right, constant, into):",
    ]
    for (operator, form), code in OPCODES.items():
        lines.append(f"    {'elif' if code else 'if'} opcode == {code}:  # {operator} {form}")
        lines += ["        " + line for line in branch(OPERATORS[operator], form, slopes, points)]
    return "\n".join(lines)


def module_source(key_points: int, screening_points: int) -> str:
    """Returns the source of the module for grids of so many points."""
    native = Path(__file__).with_name("native.py").read_text(encoding="utf-8")
    return "\n\n".join(
        [
            '"""Written by rlsearch.mining.source from the operator table; made anew when that changes."""',
            "import numba\nimport numpy as np",
            f"from {numba_functions.__name__} import {', '.join(['F', *FUNCTIONS])}",
            _operators("apply_values", key_points, 0),
            _operators("apply_slopes", screening_points, 1),
            native.replace('error_model="numpy"', 'error_model="numpy", cache=True'),
        ]
    )


_COMPILED = '@numba.njit(nogil=True, error_model="numpy", cache=True)'


def load_loops(key_points: int, screening_points: int) -> ModuleType:
    """Returns the compiled loops; the first process on a machine compiles them, in about a quarter of a minute.

    Raises:
        OSError: If the cache folder cannot be written.
    """
    source = module_source(key_points, screening_points)
    name = f"rlsearch_mining_{checked_digest(source, numba_functions)}"
    if name not in sys.modules:
        path = cache_folder() / "kernels" / f"{name}.py"
        if write_module(path, source):
            _LOGGER.info("compiling the loops of mining, once on this machine")
        load_module(name, path)
    return sys.modules[name]
