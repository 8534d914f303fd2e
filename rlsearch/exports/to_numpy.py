"""A formula as a function of numpy arrays, in a file that imports numpy, and scipy where numpy lacks a function."""

from collections.abc import Callable

from rlsearch.exports.provenance import Exported
from rlsearch.formula.backends import UNARY, Backend, SourceText, make_backend, source_call
from rlsearch.formula.program import run
from rlsearch.formula.source import Statements, signature

_TEMPLATE = '''"""The activation function {formula}.

Written by rlsearch. Standalone: needs only {needs}.
"""

import numpy as np
{imports}

def activation({inputs}):
    """Elementwise {formula}, of arrays of real numbers whose shapes broadcast."""
{body}


def _floating(values):
    """Whole numbers and truth values count as float64."""
    values = np.asarray(values)
    return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)
'''

_NAMES = {"asinh": "arcsinh", "atan": "arctan"}
"""The functions that numpy has under another name."""

_SCIPY = {"sigmoid": "special.expit", "erf": "special.erf"}
"""The functions that scipy has."""


def write(exported: Exported, class_name: str) -> str:
    """Writes the file; there is no class in it. Parameters are arguments with a default."""
    formula, statements = exported.formula, Statements()
    inputs = [SourceText(name) for name in formula.arguments]
    result = run(formula.program, _backend(statements.named), inputs, statements.named)
    lines = [
        *(f"{name} = _floating({name})" for name in formula.inputs),
        "# float16 is computed in float32 and rounded once.",
        f"dtype = np.result_type({', '.join(formula.inputs)})",
        *(f"{name} = {name}.astype(np.promote_types(dtype, np.float32))" for name in formula.inputs),
        *(f"{name} = np.asarray({name}, np.promote_types(dtype, np.float32))" for name in formula.parameters),
        'with np.errstate(all="ignore"):',
        *(f"    {line}" for line in (*statements.lines, f"return {result.text}.astype(dtype)")),
    ]
    with_scipy = any("special." in line for line in lines)
    return exported.as_comment("# ") + _TEMPLATE.format(
        formula=formula,
        needs="numpy and scipy" if with_scipy else "numpy",
        imports="from scipy import special\n" if with_scipy else "",
        inputs=signature(formula),
        body="\n".join(" " * 4 + line for line in lines),
    )


def _backend(named: Callable[[SourceText], SourceText]) -> Backend:
    """The backend that writes what ``rlsearch.formula.backends.NUMPY`` computes, to the last bit.

    Args:
        named: Gives a name to a piece of source, which is used more than once.
    """
    where, maximum, minimum = (source_call(f"np.{name}") for name in ("where", "maximum", "minimum"))

    def clip(a: SourceText, low: float | None, high: float | None) -> SourceText:
        limits = ["None" if limit is None else SourceText.of(limit) for limit in (low, high)]
        return source_call("np.clip")(a, *map(SourceText, limits))

    def elu(a: SourceText) -> SourceText:
        a = named(a)
        return where(a > 0.0, a, source_call("np.expm1")(minimum(a, 0.0)))

    unary = {
        name: source_call(_SCIPY.get(name, f"np.{_NAMES.get(name, name)}")) for name in UNARY if name != "positive"
    }
    unary |= {
        "softplus": lambda a: source_call("np.logaddexp")(a, 0.0),
        "relu": lambda a: maximum(a, 0.0),
        "elu": elu,
        "hard_sigmoid": lambda a: clip(a + 3.0, 0.0, 6.0) / 6.0,
    }
    return make_backend(unary, maximum, minimum, clip, where)
