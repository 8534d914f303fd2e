"""Whole numbers, truth values and half precision, in every reading of an operator."""

import numpy as np
import pytest
import torch

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS

torch.set_num_threads(1)

WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def spellings(operator):
    """Every operator on an input, and the binary ones with a constant that is no whole number on either side."""
    if operator.arity == 1:
        return [Formula((operator.name, "x"))]
    return [Formula((operator.name, *sides)) for sides in (("x", 0.5), (-1.5, "x"), ("x", "g"), ("g", "x"))]


ALL = [formula for operator in OPERATORS.values() for formula in spellings(operator)]


def exported(formula):
    namespace = {"__name__": "exported"}
    exec(formula.source(), namespace)
    return namespace["Activation"]()


def readings(formula):
    return {"formula": formula, "module": formula.to_module(), "source": exported(formula)}


def test_a_constant_is_not_cut_to_a_whole_number():
    for function in readings(Formula.parse("max(x, 0.5)")).values():
        assert function(torch.arange(-1, 3)).tolist() == [0.5, 0.5, 1, 2]


@pytest.mark.parametrize("formula", ALL, ids=str)
@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_whole_numbers_count_as_floats(formula, dtype):
    numbers = torch.tensor([0, 1, 3, 100]).to(dtype)
    others = torch.tensor([100, 2, 0, 3]).to(dtype)
    inputs = [numbers, others][: len(formula.inputs)]
    exact = formula(*[values.numpy() for values in inputs])
    assert exact.dtype == np.float64
    for function in readings(formula).values():
        values = function(*inputs)
        assert values.dtype == torch.float32
        assert torch.equal(values, formula(*[v.float() for v in inputs]))
        small = np.abs(exact) < 1e6
        np.testing.assert_allclose(values.numpy()[small], exact[small], rtol=2e-6, atol=1e-6)


def test_whole_numbers_take_torchs_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        for function in readings(Formula.parse("elu(x) + max(x, 0.1)")).values():
            assert function(torch.arange(3)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("formula", [f for f in ALL if len(f.inputs) == 2], ids=str)
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (torch.int64, torch.float64, torch.float64),
        (torch.float64, torch.int8, torch.float64),
        (torch.float32, torch.float64, torch.float64),
        (torch.bool, torch.int32, torch.float32),
        (torch.float16, torch.float32, torch.float32),
    ],
    ids=str,
)
def test_inputs_of_two_dtypes_are_promoted_as_torch_does(formula, first, second, expected):
    inputs = (torch.tensor([0, 1, 3]).to(first), torch.tensor([2, 0, 5]).to(second))
    for function in readings(formula).values():
        assert function(*inputs).dtype == expected


@pytest.mark.parametrize("formula", [f for f in ALL if len(f.inputs) == 2], ids=str)
@pytest.mark.parametrize("number", [2, True, 0.25, np.float32(0.25), np.int8(2)], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64], ids=str)
def test_a_number_beside_a_tensor_takes_on_its_dtype(formula, number, dtype):
    tensor = torch.tensor([-1, 0, 3]).to(dtype)
    expected = torch.get_default_dtype() if dtype == torch.int64 else dtype
    for inputs in ((tensor, number), (number, tensor)):
        values = formula(*inputs)
        assert values.dtype == expected
        full = [torch.full((3,), float(v), dtype=expected) if v is number else v for v in inputs]
        torch.testing.assert_close(values, formula(*full), equal_nan=True)


def value_and_slopes(function, inputs):
    leaves = [v.clone().requires_grad_() for v in inputs]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y.sum(), leaves, materialize_grads=True)]


@pytest.mark.parametrize("formula", [*ALL, *(Formula.parse(each.body) for each in NAMED.values())], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_float32_rounded_once(formula, dtype):
    """Values and gradients, in every reading: the same bits as float32's, rounded."""
    points = torch.tensor([-3e4, -300, -257, -12, -3.11, -1, -1e-3, 0, 0.3, 1, 3, 12, 257, 300, 6e4]).to(dtype)
    inputs = (points, points.flip(0))[: len(formula.inputs)]
    wide = value_and_slopes(formula, [v.float() for v in inputs])
    for function in readings(formula).values():
        for ours, exact in zip(value_and_slopes(function, inputs), wide, strict=True):
            assert ours.dtype == dtype
            torch.testing.assert_close(ours, exact.to(dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("formula", [*ALL, *(Formula.parse(each.body) for each in NAMED.values())], ids=str)
def test_half_precision_is_float32_rounded_once_in_numpy(formula):
    points = np.array([-300, -12, -3, -0.5, 0, 0.25, 2, 257, 6e4], np.float16)
    inputs = (points, points[::-1])[: len(formula.inputs)]
    values = formula(*inputs)
    assert values.dtype == np.float16
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(values, formula(*[v.astype(np.float32) for v in inputs]).astype(np.float16))


@pytest.mark.parametrize(
    ("text", "dtype", "point", "value", "slope"),
    # A step overflows (x**3, x**2, exp) or cancels (1 + erf), and the result does not. For large x: x / sqrt(1 + x^2)
    # is 1 with slope x^-3; asinh(x^2 - 1) is log(2 x^2), 12.1 at 300, with slope 2 / x; gelu(-3.11) is
    # -3.11 * Phi(-3.11) = -3.11 * 9.35e-4, and its slope is Phi(-3.11) - 3.11 * phi(-3.11) = 9.35e-4 - 9.85e-3.
    [
        ("gelu_tanh(x)", torch.float16, 257, 257, 1),
        ("asinh(x * abs(x) - tanh(x))", torch.float16, 300, np.log(2 * 300**2), 2 / 300),
        ("x**2 / (1 + x**2)", torch.float16, 300, 1, 7.4e-8),
        ("x / sqrt(1 + x**2)", torch.float16, 300, 1, 3.7e-8),
        ("x * exp(x) / (1 + exp(x))", torch.float16, 12, 12, 1),
        ("gelu(x)", torch.bfloat16, -3.11, -3.11 * 9.35e-4, 9.35e-4 - 9.85e-3),
    ],
)
def test_published_failures_of_half_precision(text, dtype, point, value, slope):
    for function in readings(Formula.parse(text)).values():
        found = value_and_slopes(function, [torch.tensor([point], dtype=dtype)])
        expected = [torch.tensor([number], dtype=dtype) for number in (value, slope)]
        torch.testing.assert_close(found, expected, rtol=0.01, atol=1e-7)


@pytest.mark.parametrize("formula", [f for f in ALL if len(f.inputs) == 2], ids=str)
def test_a_number_beside_an_array_takes_on_its_dtype(formula):
    for number in (2, True, 0.25):
        for inputs in ((np.ones(3, np.float32), number), (number, np.ones(3, np.float32))):
            assert formula(*inputs).dtype == np.float32


def test_what_is_no_real_number_is_refused():
    formula = Formula.parse("max(x, g)")
    with pytest.raises(FormulaError, match="real numbers, got complex128"):
        formula(np.array([1j]), 2.0)
    with pytest.raises(FormulaError, match=r"real numbers, got torch\.complex64"):
        formula(torch.tensor([1j]), 2.0)
    with pytest.raises(FormulaError, match="tensors beside tensors and numbers, got ndarray"):
        formula(torch.ones(3), np.ones(3))
