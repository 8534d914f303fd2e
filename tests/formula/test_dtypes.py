"""Whole numbers, truth values and half precision, in every reading of an operator."""

import numpy as np
import pytest
import torch

from rlsearch import Formula
from rlsearch.errors import FormulaError
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


@pytest.mark.parametrize("formula", [f for f in ALL if len(f.inputs) == 1], ids=str)
def test_half_precision_in_numpy(formula):
    """Neither constants nor scipy raise the dtype."""
    numbers = np.array([-3, -0.5, 0, 0.25, 2], np.float16)
    values = formula(numbers)
    assert values.dtype == np.float16
    exact = formula(numbers.astype(np.float64))
    finite = np.abs(exact) < np.finfo(np.float16).max
    np.testing.assert_allclose(values[finite], exact[finite], rtol=5e-3, atol=2e-3)


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
