"""Every operator with the Triton kernel, beside numpy in float64 and torch."""

import math

import numpy as np
import pytest
import torch
from helpers_kernels import FORMS, KINKS, SPECIAL, assert_near_float64, value_and_slopes

from rlsearch import Formula
from rlsearch.errors import RlsearchError
from rlsearch.formula import OPERATORS
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.program import run_with_slopes
from rlsearch.kernels import TorchKernel

pytest.importorskip("rlsearch.kernels.triton_kernel", reason="triton is not installed")
from rlsearch.kernels import triton_functions, triton_source

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")  # the interpreter computes by numpy

TORCH = TorchKernel()

# Units in the last place of a value, measured 0.8 of these in the interpreter; all that are not named are within 2.
ULPS = {"exp": 2.0, "tanh": 3, "atan": 3.5, "asinh": 4, "sinh": 5, "cosh": 5, "softplus": 3, "sigmoid": 3} | {
    "gate": 4, "gauss": 75,
}  # fmt: skip
ABSOLUTE = {"sin": 1.2e-7, "cos": 1.2e-7, "sinc": 1.5e-7}
DENSE = np.concatenate(
    [np.linspace(-9, 9, 2001), np.linspace(-80, 80, 1001), np.outer([1, -1], np.geomspace(1e-30, 80, 500)).ravel()]
).astype(np.float32)
ALL_FORMS = [(name, Formula(tokens)) for name in OPERATORS for tokens in FORMS[name]]


def test_operators_against_float64(device):
    activation = device.population([formula for _, formula in ALL_FORMS])
    ys, slopes = value_and_slopes(activation, torch.from_numpy(DENSE).expand(len(ALL_FORMS), -1))
    x = DENSE.astype(np.float64)
    for (name, formula), y, slope in zip(ALL_FORMS, ys.double().numpy(), slopes.double().numpy(), strict=True):
        with np.errstate(all="ignore"):
            exact, (exact_slope,) = run_with_slopes(formula.program, NUMPY, (x,))
        assert_near_float64(name, formula, x, (y, slope), (exact, exact_slope), ULPS, ABSOLUTE)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_many_turns(device, name):
    x = np.outer([1, -1], np.geomspace(10, 4e6, 1000)).ravel().astype(np.float32)
    y = device.population([Formula((name, "x"))])(torch.from_numpy(x)[None])[0]
    np.testing.assert_allclose(y, OPERATORS[name].value(NUMPY, x.astype(np.float64)), rtol=0, atol=1.5e-7)


def test_special_numbers_have_torchs_values(device):
    pairs = [(name, Formula((name, "x", "neg", "x"))) for name, operator in OPERATORS.items() if operator.arity == 2]
    forms = ALL_FORMS + pairs
    x = torch.tensor(SPECIAL).expand(len(forms), -1)
    ours, theirs = (k.population([formula for _, formula in forms])(x) for k in (device, TORCH))
    for (name, formula), a, b in zip(forms, ours, theirs, strict=True):
        if name in ("sin", "cos", "sinc"):  # many turns away any number in their range will do
            far = (x[0].abs() > 1e6) & x[0].isfinite()
            assert (a[far].abs() <= 1).all()
            a, b = (torch.where(far, 0.0, t) for t in (a, b))
        assert torch.allclose(a, b, rtol=1e-5, atol=3e-7, equal_nan=True), f"{formula}: {a} not {b}"


def test_slopes_at_kinks_and_guards_are_torchs(device):
    x = torch.tensor(KINKS).expand(len(ALL_FORMS), -1)
    ours, theirs = (value_and_slopes(k.population([f for _, f in ALL_FORMS]), x)[1] for k in (device, TORCH))
    for (name, formula), a, b in zip(ALL_FORMS, ours, theirs, strict=True):
        near = x[0].abs() < (1e6 if name in ("sin", "cos", "sinc") else math.inf)
        torch.testing.assert_close(a[near], b[near], rtol=3e-6, atol=3e-7, msg=lambda m, f=formula: f"{f}: {m}")


def test_every_function_of_the_operator_table_is_there(monkeypatch):
    monkeypatch.delattr(triton_functions, "tanh")
    with pytest.raises(RlsearchError, match=r"calls 'tanh', which .*triton_functions\.py lacks; define it there"):
        triton_source.load_interpreter(1, 4)


def test_an_operator_is_defined_in_the_table_alone():
    source = triton_source.interpreter_source(1, 4)
    assert source.count("y = (a / (1.0 + abs(a)))") == 2  # softsign, in both functions, from its row
    assert source.count("by_a = (0.5 + (0.5 * sign((a - b))))") == 1  # the slope of max
    assert set(triton_source.OPCODES) == {"copy", *OPERATORS}
