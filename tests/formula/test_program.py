import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import FIXED, formulas

from rlsearch import Formula
from rlsearch.formula.backends import NUMPY, torch_backend
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.program import compile_program, run, run_with_slopes

torch.set_num_threads(1)

TORCH = torch_backend()


def names(text):
    return [i.operator.name for i in Formula.parse(text).program.instructions]


def evaluated(tokens, inputs):
    """The value of a prefix sequence by recursion: no sharing, no program."""
    rest = iter(tokens)

    def value():
        token = next(rest)
        if token in inputs:
            return inputs[token]
        if isinstance(token, float):
            return token
        operator = OPERATORS[token]
        return operator.value(NUMPY, *[value() for _ in range(operator.arity)])

    return value()


@settings(FIXED, max_examples=400)
@given(formulas(inputs=("x", "g"), max_size=14))
def test_equals_evaluation_by_recursion(formula):
    """Bitwise: sharing and folding change nothing. The constants include those that equal the indices of values."""
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=20) * 3 for name in formula.inputs}
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            run(formula.program, NUMPY, [inputs[n] for n in formula.inputs]), evaluated(formula.tokens, inputs)
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x*x + x*0", 9.0),  # the input x is value 0
        ("x*0 + x*x", 9.0),
        ("x*1 + x*sin(x)", 3.0 + 3.0 * np.sin(3.0)),  # sin(x) is value 1
        ("max(x, 0) + min(x, 1) + max(x, x) + min(x, x)", 10.0),
    ],
)
def test_a_constant_is_not_the_value_of_that_index(text, expected):
    assert float(Formula.parse(text)(3.0)) == pytest.approx(expected, rel=1e-14)


def test_common_subexpressions_are_computed_once():
    assert names("x*sigmoid(x) + x*sigmoid(x)") == ["sigmoid", "mul", "add"]
    assert names("sin(x) * sin(x) + sin(g)") == ["sin", "sin", "mul", "add"]


def test_constants_are_folded():
    assert names("x * (2 + sin(1))") == ["mul"]
    (instruction,) = Formula.parse("x * (2 + sin(1))").program.instructions
    assert instruction.operands == (0, pytest.approx(2 + np.sin(1.0), rel=1e-15))
    assert names("x + max(2, 3) * 4") == ["add"]
    with np.errstate(over="raise"):  # an overflow while folding is no warning
        assert Formula.parse("x + exp(1000)").program.instructions[0].operands == (0, np.inf)


def test_the_program_of_an_input_is_empty():
    program = compile_program(("x",), ("x",))
    assert (program.n_inputs, program.instructions, program.result) == (1, (), 0)
    value, slopes = run_with_slopes(program, NUMPY, [np.array([2.0, 3.0])])
    assert value.tolist() == [2.0, 3.0]
    assert slopes == (1.0,)


def test_operands_come_in_the_order_of_the_inputs():
    tokens = ("sub", "g", "x")
    assert run(compile_program(tokens, ("x", "g")), NUMPY, [1.0, 5.0]) == 4.0
    assert run(compile_program(tokens, ("g", "x")), NUMPY, [1.0, 5.0]) == -4.0


def test_slopes_by_hand():
    # d/dx (x^2 g) = 2 x g, d/dg = x^2; an input that does not occur has slope 0.
    program = compile_program(("mul", "square", "x", "g"), ("x", "g", "h"))
    value, slopes = run_with_slopes(program, NUMPY, [np.array([3.0]), np.array([5.0]), np.array([7.0])])
    assert value.tolist() == [45.0]
    assert slopes[0].tolist() == [30.0]
    assert slopes[1].tolist() == [9.0]
    assert slopes[2] == 0.0
    # A derivative that is the same everywhere is a float.
    assert run_with_slopes(Formula.parse("x - 1 + x").program, NUMPY, [np.ones(3)])[1] == (2.0,)


@settings(FIXED, max_examples=300)
@given(formulas(inputs=("x", "g")))
def test_slopes_equal_autograd(formula):
    generator = torch.Generator().manual_seed(0)
    inputs = [2 * torch.randn(40, dtype=torch.float64, generator=generator) for _ in formula.inputs]
    leaves = [x.clone().requires_grad_() for x in inputs]
    output = run(formula.program, TORCH, leaves)
    expected = torch.autograd.grad(output.sum(), leaves, materialize_grads=True)
    value, slopes = run_with_slopes(formula.program, TORCH, inputs)
    torch.testing.assert_close(value, output.detach(), rtol=0, atol=0, equal_nan=True)
    arrays = [x.numpy() for x in inputs]
    with np.errstate(all="ignore"):
        numpy_slopes = run_with_slopes(formula.program, NUMPY, arrays)[1]
    for slope, numpy_slope, reference in zip(slopes, numpy_slopes, expected, strict=True):
        slope = torch.as_tensor(slope, dtype=torch.float64).expand(reference.shape)
        numpy_slope = torch.from_numpy(np.broadcast_to(numpy_slope, reference.shape).copy())
        # Overflow takes another way backwards than forwards; what is finite must agree.
        compared = reference.isfinite() & slope.isfinite() & numpy_slope.isfinite() & (reference.abs() < 1e30)
        torch.testing.assert_close(slope[compared], reference[compared], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(numpy_slope[compared], reference[compared], rtol=1e-6, atol=1e-7)
