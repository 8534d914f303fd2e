"""What the tests of all kernels share: formulas, numbers, and both passes in one call."""

import math

import numpy as np
import torch

from rlsearch import Formula
from rlsearch.formula import OPERATORS

TEXTS = ["relu(x)", "silu(x)", "x", "x + 1", "gelu(x)", "max(x, sin(x))", "1 / x", "sqrt(x)", "-x", "x**3"]
FORMULAS = [Formula.parse(text) for text in TEXTS]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
GATED = [Formula.parse(t) for t in ("gate(x, g)", "g * x * sigmoid(x)", "x", "g", "sin(x) + exp(g) * g", "g - x / g")]

SPECIAL = [
    math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-42, -1e-42, 1e-30, 1e-7, -1e-7, 1e-6, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0,
    20.0, -20.0, 88.0, 90.0, -88.0, -104.0, 1e3, -1e3, 1e5, 1e10, -1e10, 1e19, -1e19, 1e30, 3.4e38, -3.4e38,
]  # fmt: skip
KINKS = [0.0, -0.0, 1e-7, -1e-7, 1.0, -1.0, 3.0, -3.0, 0.75, -1.5, 1e18, -1e18, 1e-30]

# Every operator in every form: of x alone, of x and another function of x, and of x and a constant on either side.
FORMS = {
    name: [(name, "x")]
    if operator.arity == 1
    else [(name, "x", "square", "x"), (name, "square", "x", "x"), (name, "x", 0.75), (name, -1.5, "x")]
    for name, operator in OPERATORS.items()
}


def numbers(*shape, dtype=torch.float32, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def value_and_gradient(function, x, outer):
    x = x.detach().clone().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y, x, outer)[0]


def value_and_slopes(activation, *inputs):
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    y = activation(*inputs)
    return y.detach(), *torch.autograd.grad(y, inputs, torch.ones_like(y))


def assert_same_bits(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def assert_near_float64(name, formula, x, found, exact, ulps, absolute):
    """Value and slope of an operator beside those in float64; ``ulps`` and ``absolute`` are allowed to values."""
    (y, slope), (exact_y, exact_slope) = found, exact
    rounding = np.spacing(np.abs(exact_y).astype(np.float32)).astype(np.float64)
    # Denormal numbers may be flushed; a sum that cancels keeps the rounding of its terms.
    allowed = 2e-38 + absolute.get(name, 0.0)
    if name in ("add", "sub"):
        allowed += 6e-8 * x * x
    worst = np.max((np.abs(y - exact_y) - allowed) / rounding)
    assert worst <= ulps.get(name, 2.0), f"{formula}: {worst} units in the last place"
    atol = 3e-7 * np.ones_like(x)
    if name == "sinc":  # a difference of two numbers near 1, divided by x
        atol += 3e-7 / np.maximum(np.abs(x), 1e-6)
    if name == "div":  # float32 puts some numbers on the other side of the guard's edge
        atol += np.where(np.abs(x * x - 1e-6) < 1e-12, np.inf, 0.0)
    excess = np.abs(slope - exact_slope) - atol - 3e-6 * np.abs(exact_slope)
    assert (excess <= 0).all(), f"{formula} at {x[np.argmax(excess)]}: slope off by {excess.max()}"


def assert_members_are_alone(kernel, slot, n):
    """One member, or its numbers, become non-finite: no bit of the others' ``[16, n]`` numbers changes."""
    x, outer = numbers(len(FORMULAS), 16, n), numbers(len(FORMULAS), 16, n, seed=1)
    others = [k for k in range(len(FORMULAS)) if k != slot]
    y, gradient = value_and_gradient(kernel.population(FORMULAS), x, outer)
    exploding = [*FORMULAS[:slot], EXPLODING, *FORMULAS[slot + 1 :]]
    y_exploding, gradient_exploding = value_and_gradient(kernel.population(exploding), x, outer)
    assert not y_exploding[slot].isfinite().all()
    assert not gradient_exploding[slot].isfinite().all()
    assert_same_bits(y[others], y_exploding[others])
    assert_same_bits(gradient[others], gradient_exploding[others])
    x[slot], outer[slot] = math.nan, math.inf  # numbers that are not finite on their way in
    y_nan, gradient_nan = value_and_gradient(kernel.population(FORMULAS), x, outer)
    assert y_nan[slot].isnan().all()
    assert_same_bits(y[others], y_nan[others])
    assert_same_bits(gradient[others], gradient_nan[others])
