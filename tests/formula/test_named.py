import math

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn import functional

from rlsearch import Formula
from rlsearch.formula.backends import NUMPY, torch_backend
from rlsearch.formula.named import (
    BASELINES,
    CONFIRMED_AGAINST,
    GATED_BASELINES,
    GATED_REFERENCE,
    GATED_SHOWN,
    NAMED,
    TITLES,
    applied,
    source_of,
    title_of,
)
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.program import run_with_slopes

torch.set_num_threads(1)

# Away from the kinks, which lie at whole numbers.
POINTS = torch.cat([torch.linspace(-30.3, 30.4, 201), torch.linspace(-4.03, 4.04, 201)]).double()
assert (POINTS - POINTS.round()).abs().min() > 1e-4


def glu_with(gate):
    return lambda x, g: x * gate(g)


class XIELU(torch.nn.Module):
    """As in the code that comes with arXiv 2411.13010: its parameters pass through softplus, and start at 0.8."""

    def __init__(self, alpha_p=0.8, alpha_n=0.8, beta=0.5, eps=-1e-6):
        super().__init__()
        self.beta, self.eps = beta, torch.tensor(eps).double()
        self.raw_p = torch.tensor(math.log(math.expm1(alpha_p))).double()
        self.raw_n = torch.tensor(math.log(math.expm1(alpha_n - beta))).double()

    def forward(self, x):
        alpha_p, alpha_n = functional.softplus(self.raw_p), self.beta + functional.softplus(self.raw_n)
        below = (torch.expm1(torch.minimum(x, self.eps)) - x) * alpha_n + self.beta * x
        return torch.where(x > 0, alpha_p * x * x + self.beta * x, below)


TORCH_HAS = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "elu": functional.elu,
    "hard_sigmoid": functional.hardsigmoid,
    "leaky_relu": functional.leaky_relu,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "swish": functional.silu,
    "mish": functional.mish,
    "selu": functional.selu,
    "celu": functional.celu,
    "hard_swish": functional.hardswish,
    "hard_tanh": functional.hardtanh,
    "log_sigmoid": functional.logsigmoid,
    "tanhshrink": functional.tanhshrink,
    "relu_squared": lambda x: functional.relu(x) ** 2,
    "leaky_relu_squared": lambda x: functional.leaky_relu(x, 0.5).square(),
    "xielu": XIELU(),
    # At their start values.
    "prelu": torch.nn.PReLU().double(),
    "swish_beta": functional.silu,
    "xielu_trained": XIELU(),
    "glu": lambda x, g: functional.glu(torch.cat([x, g]), dim=0),
    "reglu": glu_with(functional.relu),
    "geglu": glu_with(functional.gelu),
    "swiglu": glu_with(functional.silu),
    "bilinear": lambda x, g: x * g,
    "gtu": lambda x, g: torch.tanh(x) * torch.sigmoid(g),
    "relu_squared_glu": glu_with(lambda g: functional.relu(g) ** 2),
    "drelu": lambda x, g: functional.relu(x) * functional.relu(g),
    # As in the published code of gpt-oss.
    "swiglu_clamped": lambda x, g: (x.clamp(-7, 7) + 1) * g.clamp(max=7) * torch.sigmoid(1.702 * g.clamp(max=7)),
}


def sinc(x):
    return np.sin(np.pi * x) / (np.pi * x)


def gelu(x):
    """x times the standard normal distribution function."""
    return x * special.ndtr(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# From the papers, in numpy alone.
PUBLISHED = {
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "gelusine": lambda x: gelu(x) + 0.1 * np.sin(x),
    "gelu_sinc": lambda x: gelu(x) * (1 + 0.5 * sinc(x)),
    "gmtu": lambda x: 1.0 * np.tanh(1.5 * x) * np.exp(-0.2 * np.power(x, 2)) + 0.1 * x,
    "max_sigmoid": lambda x: np.maximum(x, sigmoid(x)),
    "cos_minus_x": lambda x: np.cos(x) - x,
    "min_sin": lambda x: np.minimum(x, np.sin(x)),
    "atan_squared_minus_x": lambda x: np.arctan(x) ** 2 - x,
    "max_tanh": lambda x: np.maximum(x, np.tanh(x)),
    "sinc_plus_x": lambda x: sinc(x) + x,
    "x_asinh_squared": lambda x: x * np.log(x + np.sqrt(x * x + 1)) ** 2,
    "sigmoid_erf": lambda x: sigmoid(x) * (2 * special.ndtr(math.sqrt(2) * x) - 1),
    "atanline": lambda x: np.arctan(x) * (x / 2 + 1),
    "sigmoid_hard_sigmoid": lambda x: sigmoid(x) * -x * np.clip(x / 6 + 0.5, 0, 1),
}


def call(name):
    return Formula.parse(applied(name))


def test_a_name_is_applied_to_its_inputs():
    assert [applied(name) for name in ("gelu", "swiglu", "relu")] == ["gelu(x)", "swiglu(x, g)", "relu(x)"]


def test_every_named_function_is_checked_here():
    assert set(NAMED) <= {*TORCH_HAS, *PUBLISHED}
    assert not set(NAMED) & set(OPERATORS)
    assert {"leaky_relu", "gelu", "silu", "swish", "mish", "selu", "hard_swish", "gelusine"} <= set(NAMED)
    assert all(function.source for function in NAMED.values())


@pytest.mark.parametrize("name", TORCH_HAS)
def test_equals_torchs_own_in_value_and_slope(name):
    formula = call(name)
    inputs = [POINTS, POINTS.flip(0) * 0.7 + 0.011][: len(formula.inputs)]
    leaves = [x.clone().requires_grad_() for x in inputs]
    expected = TORCH_HAS[name](*leaves)
    slopes = torch.autograd.grad(expected.sum(), leaves)
    for backend, arrays in ((NUMPY, [x.numpy() for x in inputs]), (torch_backend(), inputs)):
        value, ours = run_with_slopes(formula.with_values().program, backend, arrays)
        np.testing.assert_allclose(value, expected.detach(), rtol=1e-6, atol=1e-6)
        for slope, reference in zip(ours, slopes, strict=True):
            np.testing.assert_allclose(slope, reference, rtol=1e-6, atol=1e-6)
    ours = torch.autograd.grad(formula.to_module()(*leaves).sum(), leaves)
    for slope, reference in zip(ours, slopes, strict=True):
        torch.testing.assert_close(slope, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_the_publication(name):
    x = POINTS.numpy()
    np.testing.assert_allclose(call(name)(x), PUBLISHED[name](x), rtol=1e-9, atol=1e-9)


def test_golden_values():
    # gelu(1) = Phi(1) = 0.8413447460685429, 0.1 sin(1) = 0.08414709848078965;
    # Phi(1/2) = 0.6914624612740131, sinc(1/2) = 2/pi
    assert call("gelusine")(1.0) == pytest.approx(0.8413447460685429 + 0.08414709848078965, rel=1e-12)
    assert call("gelu_sinc")(0.5) == pytest.approx(0.5 * 0.6914624612740131 * (1 + 1 / math.pi), rel=1e-12)
    # tanh(3) = 0.9950547536867305, exp(-0.8) = 0.4493289641172216
    assert call("gmtu")(2.0) == pytest.approx(0.9950547536867305 * 0.4493289641172216 + 0.2, rel=1e-12)

    # (-1 / 2)^2; 0.8 * 4 + 0.5 * 2; 0.8 (expm1(-1) + 1) - 0.5, where expm1(-1) + 1 = 1/e
    assert call("leaky_relu_squared")(-1.0) == pytest.approx(0.25, rel=1e-12)
    assert call("xielu")(2.0) == pytest.approx(4.2, rel=1e-12)
    assert call("xielu")(-1.0) == pytest.approx(0.8 / math.e - 0.5, rel=1e-12)


def test_xielu_is_the_integral_of_a_line_and_of_elu():
    """Its slope is ``2 alpha x + beta`` above 0 and ``alpha elu(x) + beta`` below; at 0 it is 0."""
    x = POINTS.numpy()
    _, (slope,) = run_with_slopes(call("xielu").program, NUMPY, [x])
    np.testing.assert_allclose(slope, np.where(x > 0, 1.6 * x, 0.8 * np.expm1(np.minimum(x, 0))) + 0.5, rtol=1e-9)
    assert call("xielu")(0.0) == 0
    # Near 0, expm1(x) - x is x^2 / 2.
    assert call("xielu")(-1e-5) == pytest.approx(-0.5e-5 + 0.4e-10, rel=1e-9)


def test_baselines_can_be_parsed():
    assert BASELINES == ("relu", "gelu", "silu", "mish", "tanh")
    assert len({call(name).fingerprint for name in BASELINES}) == 5


def test_what_gated_formulas_are_compared_with():
    assert (GATED_REFERENCE, GATED_BASELINES) == ("swiglu", ("geglu", "reglu", "bilinear", "relu_squared", "gelu"))
    assert {GATED_REFERENCE, *GATED_BASELINES} < set(GATED_SHOWN) <= set(TITLES)
    assert len({call(name).fingerprint for name in GATED_SHOWN}) == len(GATED_SHOWN) == 7
    assert [name for name in GATED_SHOWN if not call(name).is_gated] == ["relu_squared", "gelu"]


def test_what_a_winner_must_beat_has_title_and_source():
    assert {"gelusine", "relu_squared", *BASELINES} <= set(CONFIRMED_AGAINST) <= set(TITLES)
    assert len({call(name).fingerprint for name in TITLES}) == len(TITLES) == 23
    assert len(set(TITLES.values())) == 23
    assert all(source_of(name) for name in TITLES)
    assert (title_of("gelusine"), title_of("min_sin"), title_of("x * x")) == ("GELUSine", "min_sin", "x * x")
    assert source_of("x * x") is None
