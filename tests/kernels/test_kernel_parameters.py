"""Trained parameters in all kernels: spread over a member, and their gradient by the sum over all its places."""

import importlib.util

import numpy as np
import pytest
import torch
from helpers_kernels import assert_same_bits, numbers

from rlsearch import Formula, fused_module
from rlsearch.errors import FormulaError
from rlsearch.kernels import TorchKernel

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")  # Triton's interpreter

LETTERS = ("x", "a", "b")
FORMULAS = [
    Formula.parse(text)
    for text in (
        "prelu(x)",
        "swish_beta(x)",
        "gelu(x) + a@0.1 * sin(b@1 * x)",
        "xielu_trained(x)",
        "silu(x)",
        "max(x, a) / (b@2 + x**2)",
        "x + softplus(a@0.3) * b@-0.5",
        "x * a@0.7",
    )
]
K = len(FORMULAS)


def kernels():
    found = [TorchKernel()]
    if importlib.util.find_spec("numba"):
        from rlsearch.kernels.numba_kernel import NumbaKernel

        found.append(NumbaKernel())
    if importlib.util.find_spec("triton"):
        from rlsearch.kernels.triton_kernel import TritonKernel

        found.append(TritonKernel())
    return found


@pytest.fixture(params=kernels(), ids=lambda kernel: kernel.name)
def kernel(request, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    return request.param


def starts(shape, dtype=torch.float32):
    """The parameters ``a`` and ``b`` of each member, spread to a shape behind the first axis."""
    found = []
    for letter in LETTERS[1:]:
        values = torch.tensor([formula.parameters.get(letter, 1.0) for formula in FORMULAS], dtype=dtype)
        found.append((values.reshape(-1, *[1] * len(shape)) * torch.ones(1, *shape, dtype=dtype)).requires_grad_())
    return found


def by_autograd(x, parameters, outer):
    """Values and gradients of each member in float64, as autograd finds them in the plain formula."""
    x = x.double().requires_grad_()
    wide = [parameter.detach().double().requires_grad_() for parameter in parameters]
    y = torch.stack([formula(x=x[k], a=wide[0][k], b=wide[1][k]) for k, formula in enumerate(FORMULAS)])
    return (y, *torch.autograd.grad(y, (x, *wide), outer.double(), materialize_grads=True))


@pytest.mark.parametrize("shape", [(1, 1), (1, 12)], ids=["of a member", "of a channel"])
def test_values_and_gradients_are_autograds(kernel, shape):
    x, outer = numbers(K, 60, 12).requires_grad_(), numbers(K, 60, 12, seed=1)
    parameters = starts(shape)
    y = kernel.population(FORMULAS, LETTERS)(x, *parameters)
    ours = (y, *torch.autograd.grad(y, (x, *parameters), outer))
    for found, expected in zip(ours, by_autograd(x.detach(), parameters, outer), strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-4)
    # SiLU has no parameters.
    assert not ours[2][4].any()
    assert not ours[3][4].any()


def test_gradients_are_finite_differences():
    """Of the exact kernel, in float64."""
    x, outer = numbers(K, 5, 4, dtype=torch.float64), numbers(K, 5, 4, dtype=torch.float64, seed=1)
    parameters = starts((1, 1), torch.float64)
    activation, step = TorchKernel().population(FORMULAS, LETTERS), 1e-6
    gradients = torch.autograd.grad(activation(x, *parameters), parameters, outer)
    for i, gradient in enumerate(gradients):
        sums = []
        for sign in (1, -1):
            moved = [p.detach() + sign * step * (j == i) for j, p in enumerate(parameters)]
            sums.append((activation(x, *moved) * outer).sum(dim=(1, 2)))
        np.testing.assert_allclose(gradient.flatten(), (sums[0] - sums[1]) / (2 * step), rtol=1e-6, atol=1e-7)


def test_a_spread_number_is_as_good_as_a_whole_tensor(kernel):
    """To the last bit in the values and the gradient by x."""
    x, outer = numbers(K, 60, 12).requires_grad_(), numbers(K, 60, 12, seed=1)
    activation, results = kernel.population(FORMULAS, LETTERS), []
    for shape in ((1, 1), (60, 12)):
        y = activation(x, *starts(shape))
        results.append((y.detach(), *torch.autograd.grad(y, x, outer)))
    for one, whole in zip(*results, strict=True):
        assert_same_bits(one, whole)


@pytest.mark.parametrize("slot", [0, 3, 7])
def test_members_are_alone(kernel, slot):
    """A parameter that is not a number changes no bit of the other members, of their parameters' gradients neither."""
    x, outer = numbers(K, 60, 12), numbers(K, 60, 12, seed=1)
    others, results = [k for k in range(K) if k != slot], []
    for broken in (False, True):
        given, parameters = x.clone().requires_grad_(), starts((1, 1))
        if broken:
            given.data[slot] = float("nan")
            for parameter in parameters:
                parameter.data[slot] = float("nan")
        y = kernel.population(FORMULAS, LETTERS)(given, *parameters)
        results.append((y.detach(), *torch.autograd.grad(y, (given, *parameters), outer)))
    for clean, found in zip(*results, strict=True):
        assert_same_bits(clean[others], found[others])
    assert results[1][0][slot].isnan().all()


def test_a_members_gradient_does_not_depend_on_its_place(kernel):
    """Slices of 720 numbers begin on 16-byte boundaries, as everywhere."""
    x, outer = numbers(1, 60, 12), numbers(1, 60, 12, seed=1)
    formula, found = FORMULAS[2], []
    parameters = [torch.full((K, 1, 1), 0.37, requires_grad=True), torch.full((K, 1, 1), 1.9, requires_grad=True)]
    for place in range(K):
        members = [FORMULAS[0]] * K
        members[place] = formula
        y = kernel.population(members, LETTERS)(x.expand(K, -1, -1), *parameters)
        gradients = torch.autograd.grad(y, parameters, outer.expand(K, -1, -1))
        found.append(torch.stack([gradient[place] for gradient in gradients]))
    for each in found[1:]:
        assert_same_bits(each, found[0])


def test_wrong_shapes_and_formulas_are_refused(kernel):
    activation = kernel.population(FORMULAS, LETTERS)
    x, (a, b) = numbers(K, 60, 12), starts((1, 1))
    for wrong in (b[0], b.reshape(-1), numbers(K, 60, 6), b.expand(K, 2, 1)):
        with pytest.raises(ValueError, match="the inputs' shapes differ"):
            activation(x, a, wrong)
    with pytest.raises(FormulaError, match=r"'relu\(x\) .*' has trained parameters, a, which are not trained here"):
        kernel.population(FORMULAS[:1])


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_fused_module_has_the_gradients_of_the_plain_one(formula, dtype):
    """Those by parameters are sums over 420 numbers, which a fused module rounds once."""
    results = []
    for module in (formula.to_module(), fused_module(formula)):
        x = numbers(7, 60, dtype=torch.float64).to(dtype).requires_grad_()
        y = module(x)
        assert y.dtype == dtype
        gradients = torch.autograd.grad(y, (x, *module.parameters()), numbers(7, 60, seed=1).to(dtype))
        assert [g.dtype for g in gradients[1:]] == [torch.float32] * len(formula.parameters)
        results.append((y, *gradients))
    coarse = dtype == torch.bfloat16
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=2e-2 if coarse else 2e-5, atol=0.3 if coarse else 1e-4)


def test_a_fused_module_is_differentiated_twice():
    """By the plain module, whose parameters it has."""
    x, found = numbers(40), []
    for module in (FORMULAS[1].to_module(), fused_module(FORMULAS[1])):
        (parameter,) = module.parameters()
        (slope,) = torch.autograd.grad(module(x).sum(), parameter, create_graph=True)
        found.append(torch.autograd.grad(slope, parameter)[0])
    torch.testing.assert_close(found[0], found[1])
    assert found[0] != 0
