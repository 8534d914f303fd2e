import numpy as np
import pytest
import torch
from helpers_exports import FORMULAS, executed, inputs_of, names_imported

from rlsearch import Formula, export

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_the_function_and_its_gradient_are_torchs(formula):
    values = inputs_of(formula)
    function = executed(formula, "jax")["activation"]
    slopes = jax.grad(lambda *a: function(*a).sum(), argnums=tuple(range(len(values))))(*map(jax.numpy.asarray, values))

    leaves = [torch.tensor(a, requires_grad=True) for a in values]
    expected = formula.with_values().to_module()(*leaves)
    gradients = torch.autograd.grad(expected.sum(), leaves, materialize_grads=True)
    np.testing.assert_allclose(function(*values), expected.detach(), rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(slopes, gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    function = executed(Formula.parse("gelu_tanh(x)"), "jax")["activation"]
    x = jax.numpy.asarray([-2.0, 0.5, 257.0], dtype)
    assert function(x).dtype == x.dtype
    np.testing.assert_array_equal(function(x), function(x.astype("float32")).astype(dtype))


def test_whole_numbers_count_as_floats():
    function = executed(Formula.parse("x / 2"), "jax")["activation"]
    assert float(function(3)) == 1.5
    assert function(jax.numpy.arange(3)).tolist() == [0.0, 0.5, 1.0]


def test_it_is_pure_and_compiles():
    source = export("sinc(x) * hard_sigmoid(x)", "jax")
    assert names_imported(source) == {"jax", "jax.numpy"}
    function = executed(Formula.parse("sinc(x) * hard_sigmoid(x)"), "jax")["activation"]
    x = jax.numpy.linspace(-4, 4, 9)
    np.testing.assert_allclose(jax.jit(function)(x), function(x), rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(function)))(x)[4], _second_slope_at_0(), rtol=1e-6)


def _second_slope_at_0():
    # (1 - pi^2 x^2 / 6) (1/2 + x/6): the second derivative at 0 is -pi^2 / 6.
    return -(np.pi**2) / 6
