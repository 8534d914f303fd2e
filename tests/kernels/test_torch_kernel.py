import pytest
import torch
from helpers_kernels import FORMULAS, GATED, assert_members_are_alone, assert_same_bits, numbers, value_and_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED, formulas

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.kernels import TorchKernel

torch.set_num_threads(1)

KERNEL = TorchKernel()


@settings(FIXED, max_examples=150)
@given(st.lists(formulas(), min_size=1, max_size=5))
def test_equals_the_members_modules_and_autograd(members):
    x, outer = numbers(len(members), 8, 4), numbers(len(members), 8, 4, seed=1)
    y, gradient = value_and_gradient(KERNEL.population(members), x, outer)
    assert y.shape == gradient.shape == x.shape
    for k, formula in enumerate(members):
        leaf = x[k].double().requires_grad_()
        module = formula.to_module()
        torch.testing.assert_close(y[k], module(x[k]), rtol=0, atol=0, equal_nan=True)  # the same operations
        (expected,) = torch.autograd.grad(module(leaf), leaf, outer[k].double(), materialize_grads=True)
        (rounded,) = torch.autograd.grad(module(leaf32 := x[k].clone().requires_grad_()), leaf32, outer[k])
        # Where float32 itself is good to 1e-4 by torch's own way, so is ours: other points are ill-conditioned.
        good = expected.isfinite() & torch.isclose(rounded.double(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient[k].double()[good], expected[good], rtol=1e-3, atol=1e-4)


@settings(FIXED, max_examples=150)
@given(formulas())
def test_slopes_are_autograds_in_float64(formula):
    x, outer = numbers(1, 40, dtype=torch.float64), numbers(1, 40, dtype=torch.float64, seed=1)
    y, ours = value_and_gradient(KERNEL.population([formula]), x, outer)
    expected, theirs = value_and_gradient(formula.to_module(), x, outer)
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
    compared = ours.isfinite() & theirs.isfinite() & (theirs.abs() < 1e30)  # overflow takes another way backwards
    torch.testing.assert_close(ours[compared], theirs[compared], rtol=1e-6, atol=1e-7)


def test_slopes_by_hand():
    # silu'(x) = s + x s (1 - s): 1/2 at 0, and s = 1 / (1 + e^-1) = 0.7310586 gives 0.9276705 at 1.
    # (x^3)' = 3 x^2 = 0 and 3. Multiplied by the outer gradient 2.
    activation = KERNEL.population([Formula.parse("silu(x)"), Formula.parse("x**3")])
    x = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    y, gradient = value_and_gradient(activation, x, torch.full((2, 2), 2.0))
    torch.testing.assert_close(y, torch.tensor([[0.0, 0.7310586], [0.0, 1.0]]))
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 2 * 0.9276705], [0.0, 6.0]]))


@settings(FIXED, max_examples=100)
@given(st.lists(formulas(), min_size=1, max_size=4))
def test_without_gradients_the_values_are_the_same(members):
    activation, x = KERNEL.population(members), numbers(len(members), 24)
    with_gradients = activation(x.clone().requires_grad_())
    assert with_gradients.requires_grad
    with torch.no_grad():
        without = activation(x.clone().requires_grad_())
    assert not without.requires_grad
    assert not activation(x).requires_grad
    torch.testing.assert_close(without, with_gradients.detach(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(activation(x), without, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("slot", [0, 4, len(FORMULAS) - 1])
def test_a_non_finite_member_changes_no_bit_of_the_others(slot):
    assert_members_are_alone(KERNEL, slot, 12)


def test_a_members_bits_do_not_depend_on_slot_and_neighbours():
    x, outer = numbers(1, 12, 20), numbers(1, 12, 20, seed=1)
    alone = value_and_gradient(KERNEL.population([FORMULAS[4]]), x, outer)
    for slot in range(len(FORMULAS)):
        members = [*FORMULAS[:slot], FORMULAS[4], *FORMULAS[slot + 1 :]]
        activation = KERNEL.population(members)
        among = value_and_gradient(activation, x.repeat(len(members), 1, 1), outer.repeat(len(members), 1, 1))
        for a, b in zip(alone, among, strict=True):
            assert_same_bits(a[0], b[slot])


@pytest.mark.parametrize(
    ("text", "slope"), [("x", 1.0), ("-x", -1.0), ("x + 1", 1.0), ("0.5 * x", 0.5), ("x - x", 0.0)]
)
def test_a_slope_that_is_the_same_everywhere(text, slope):
    members = [Formula.parse("sin(x)"), Formula.parse(text)]
    x = numbers(2, 3, 4)
    y, gradient = value_and_gradient(KERNEL.population(members), x, torch.full((2, 3, 4), 3.0))
    torch.testing.assert_close(y[1], Formula.parse(text)(x[1]))
    assert_same_bits(gradient[1], torch.full((3, 4), 3.0 * slope))
    assert_same_bits(gradient[0], 3.0 * x[0].cos())


def test_the_identity_is_a_copy():
    x = numbers(1, 4)
    y = KERNEL.population([Formula.parse("x")])(x)
    assert torch.equal(x, y)
    assert y.data_ptr() != x.data_ptr()


def test_gradients_that_are_views():
    """The gradient of a sum is one number in every place, and that of a transposition is not contiguous."""
    activation, x = KERNEL.population(FORMULAS[:2]), numbers(2, 3, 5)
    _, expected = value_and_gradient(activation, x, torch.ones(2, 3, 5))
    leaf = x.clone().requires_grad_()
    activation(leaf).sum().backward()
    assert_same_bits(leaf.grad, expected)
    for function in (lambda t: activation(t.mT).mT, lambda t: activation(t).mT.contiguous().mT):
        assert_same_bits(value_and_gradient(function, x, torch.ones(2, 3, 5))[1], expected)


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 3, 4)])
def test_any_shape_behind_the_population_axis(shape):
    members = FORMULAS[:3]
    x = numbers(*shape)
    y, gradient = value_and_gradient(KERNEL.population(members), x, torch.ones(shape))
    assert y.shape == gradient.shape == shape
    torch.testing.assert_close(y, torch.stack([f.to_module()(a) for f, a in zip(members, x, strict=True)]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_keeps_the_dtype(dtype, tolerance):
    x = numbers(len(FORMULAS), 32).clamp(0.25, 3)  # where nothing is steep
    outer = torch.ones_like(x)
    reference = value_and_gradient(KERNEL.population(FORMULAS), x.to(dtype).float(), outer)
    results = value_and_gradient(KERNEL.population(FORMULAS), x.to(dtype), outer.to(dtype))
    for result, expected in zip(results, reference, strict=True):
        assert result.dtype == dtype
        torch.testing.assert_close(result.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("text", ["x * g", "g", "sigmoid(g) + 1"])
def test_formulas_of_another_input_are_refused(text):
    with pytest.raises(FormulaError, match=r"has the inputs \(.*'g'.*\); proxies take formulas of x alone"):
        KERNEL.population([FORMULAS[0], Formula.parse(text)])


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("gradients", [True, False])
def test_a_wrong_number_of_slices_is_refused(slices, gradients):
    activation = KERNEL.population(FORMULAS[:2])
    with pytest.raises(ValueError, match=f"a population of 2 got a tensor of {slices} slices"):
        activation(torch.ones(slices, 4, requires_grad=gradients))


@settings(FIXED, max_examples=100)
@given(st.lists(formulas(inputs=("x", "g")), min_size=1, max_size=4))
def test_gated_slopes_are_autograds_in_float64(members):
    x, g, outer = (numbers(len(members), 40, dtype=torch.float64, seed=seed) for seed in range(3))
    x, g = x.requires_grad_(), g.requires_grad_()
    y = KERNEL.population(members, ("x", "g"))(x, g)
    ours = torch.autograd.grad(y, (x, g), outer)
    expected = torch.stack([f(**{"x": a, "g": b}) for f, a, b in zip(members, x, g, strict=True)])
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
    theirs = torch.autograd.grad(expected, (x, g), outer, materialize_grads=True)
    for a, b in zip(ours, theirs, strict=True):
        compared = a.isfinite() & b.isfinite() & (b.abs() < 1e30)
        torch.testing.assert_close(a[compared], b[compared], rtol=1e-6, atol=1e-7)


def test_gated_slopes_by_hand():
    # sigmoid(x) g at x = 0, g = 3: value 1.5, by x 3 / 4, by g 1 / 2. Multiplied by the outer gradient 2.
    x, g = torch.tensor([[0.0]], requires_grad=True), torch.tensor([[3.0]], requires_grad=True)
    activation = KERNEL.population([Formula.parse("gate(x, g)")], ("x", "g"))
    y = activation(x, g)
    y.backward(torch.tensor([[2.0]]))
    assert (y.item(), x.grad.item(), g.grad.item()) == (1.5, 1.5, 1.0)
    (alone,) = torch.autograd.grad(activation(x.detach(), g), g, torch.tensor([[2.0]]))
    assert alone.item() == 1.0


def test_formulas_loaded_in_place():
    activation, x, g = KERNEL.population(GATED[:2], ("x", "g")), numbers(2, 9), numbers(2, 9, seed=1)
    activation.load(GATED[2:4])
    assert torch.equal(activation(x, g), KERNEL.population(GATED[2:4], ("x", "g"))(x, g))
    with pytest.raises(ValueError, match="a population of 2 cannot load 3 formulas"):
        activation.load(GATED[:3])
    with pytest.raises(FormulaError, match=r"has the inputs \('h',\); proxies take formulas of x and g alone"):
        activation.load([GATED[0], Formula.parse("h")])
    assert torch.equal(activation(x, g), KERNEL.population(GATED[2:4], ("x", "g"))(x, g))  # as before


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3)], r"formulas of x and g got 1 tensor\(s\)"),
        ([(2, 3), (2, 4)], r"the inputs' shapes differ: \(2, 3\) and \(2, 4\)"),
        ([(3, 3), (3, 3)], "a population of 2 got a tensor of 3 slices"),
    ],
)
def test_wrong_tensors_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        KERNEL.population(GATED[:2], ("x", "g"))(*map(torch.ones, shapes))


def test_second_derivatives_are_refused_rather_than_wrong():
    x = numbers(1, 4).requires_grad_()
    y = KERNEL.population([FORMULAS[1]])(x)
    (gradient,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_no_graph_of_the_formula_is_kept():
    x = numbers(2, 4).requires_grad_()
    y = KERNEL.population([FORMULAS[4], FORMULAS[5]])(x)
    (parent,) = (function for function, _ in y.grad_fn.next_functions)
    assert type(parent).__name__ == "AccumulateGrad"  # x itself: gelu's five operations left no trace


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu():
    x, outer = numbers(len(FORMULAS), 64, 32), numbers(len(FORMULAS), 64, 32, seed=1)
    x = torch.where(x.abs() < 0.1, 0.1, x)  # 1 / x is as steep as 100 there
    on_cpu = value_and_gradient(KERNEL.population(FORMULAS), x, outer)
    on_cuda = value_and_gradient(KERNEL.population(FORMULAS), x.cuda(), outer.cuda())
    for a, b in zip(on_cpu, on_cuda, strict=True):
        assert b.is_cuda
        torch.testing.assert_close(a, b.cpu(), rtol=1e-5, atol=1e-5)
