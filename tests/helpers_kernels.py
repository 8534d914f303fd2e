"""What the tests of all kernels share: formulas, numbers, and both passes in one call."""

import math

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
