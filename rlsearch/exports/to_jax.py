"""A formula as a pure function of jax.numpy, in a file that imports nothing but jax."""

from collections.abc import Callable

from rlsearch.exports.provenance import Exported
from rlsearch.formula.backends import UNARY, Backend, SourceText, make_backend, smooth_sinc, source_call
from rlsearch.formula.program import run
from rlsearch.formula.source import Statements, signature

_TEMPLATE = '''"""The activation function {formula}.

Written by rlsearch. Standalone: needs only jax.
"""

import jax
import jax.numpy as jnp


def activation({inputs}):
    """Elementwise {formula}, of arrays of real numbers whose shapes broadcast."""
{body}
'''

_NAMES = {
    "asinh": "jnp.arcsinh",
    "atan": "jnp.arctan",
    "sigmoid": "jax.nn.sigmoid",
    "softplus": "jax.nn.softplus",
    "relu": "jax.nn.relu",
    "elu": "jax.nn.elu",
    "erf": "jax.scipy.special.erf",
}
"""The functions that jax has elsewhere, or under another name."""


def write(exported: Exported, class_name: str) -> str:
    """Writes the file; there is no class in it. Parameters are arguments with a default, and differentiable."""
    formula, statements = exported.formula, Statements()
    inputs = [SourceText(name) for name in formula.arguments]
    result = run(formula.program, _backend(statements.named), inputs, statements.named)
    lines = [
        "# Whole numbers count as floats; float16 and bfloat16 are computed in float32 and rounded once.",
        f"dtype = jnp.result_type(float, {', '.join(formula.inputs)})",
        *(f"{name} = jnp.asarray({name}, jnp.promote_types(dtype, jnp.float32))" for name in formula.arguments),
        *statements.lines,
        f"return {result.text}.astype(dtype)",
    ]
    return exported.as_comment("# ") + _TEMPLATE.format(
        formula=formula,
        inputs=signature(formula),
        body="\n".join(" " * 4 + line for line in lines),
    )


def _backend(named: Callable[[SourceText], SourceText]) -> Backend:
    """The backend that writes jax code.

    Args:
        named: Gives a name to a piece of source, which is used more than once.
    """
    where, sinc, relu = source_call("jnp.where"), source_call("jnp.sinc"), source_call("jax.nn.relu")

    # By where, since the slope of jnp.clip at a limit is a half, and that of torch.clamp is 1.
    def clamp(a: SourceText, low: float | None, high: float | None) -> SourceText:
        a = named(a)
        if low is not None:
            a = where(a < low, low, a)
        if high is not None:
            a = named(a)
            a = where(a > high, high, a)
        return a

    # torch's relu6 has slope 0 at both ends. NaN is not larger than 6, and stays.
    def hard_sigmoid(a: SourceText) -> SourceText:
        a = named(relu(a + 3.0))
        return where(SourceText(f"{a.text} >= 6.0"), 6.0, a) / 6.0

    unary = {name: source_call(_NAMES.get(name, f"jnp.{name}")) for name in UNARY if name != "positive"}

    # The slope of jnp.abs at 0 is 1, that of torch.abs is 0, as a sign's.
    def size(a: SourceText) -> SourceText:
        a = named(a)
        return a * source_call("jnp.sign")(a)

    unary |= {"abs": size, "sinc": lambda a: smooth_sinc(backend, a, sinc, named), "hard_sigmoid": hard_sigmoid}
    backend: Backend = make_backend(unary, source_call("jnp.maximum"), source_call("jnp.minimum"), clamp, where)
    return backend
