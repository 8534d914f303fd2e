import copy
import io
import math
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import FIXED, formulas
from torch import nn

from rlsearch import Formula
from rlsearch.formula.module import Activation, restored
from rlsearch.formula.operators import OPERATORS

torch.set_num_threads(1)

SILU = Formula.parse("x * sigmoid(x)")


def new():
    return SILU.to_module()


@settings(FIXED, max_examples=60)
@given(formulas(inputs=("x", "g")))
def test_equals_the_formula(formula):
    inputs = [torch.linspace(-3, 3, 13), torch.linspace(2, -4, 13)][: len(formula.inputs)]
    module = formula.to_module()
    assert isinstance(module, nn.Module)
    torch.testing.assert_close(module(*inputs), formula(*inputs), rtol=0, atol=0, equal_nan=True)
    assert module(*inputs).dtype == torch.float32
    with np.errstate(all="ignore"):
        exact = formula(*[x.double().numpy() for x in inputs])
    values = module(*[x.double() for x in inputs])
    compared = np.isfinite(exact) & (np.abs(exact) < 1e6)
    np.testing.assert_allclose(values[compared], exact[compared], rtol=1e-6, atol=1e-6)


def test_gradients_are_torchs():
    x = torch.linspace(-4, 4, 31, dtype=torch.float64, requires_grad=True)
    for formula, reference in ((SILU, nn.SiLU()), (Formula.parse("mish(x)"), nn.Mish())):
        (ours,) = torch.autograd.grad(formula.to_module()(x).sum(), x)
        (theirs,) = torch.autograd.grad(reference(x).sum(), x)
        torch.testing.assert_close(ours, theirs)


def test_shape_and_other_devices_layouts():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).transpose(1, 3)
    assert new()(x).shape == (2, 5, 4, 3)
    torch.testing.assert_close(new()(x), nn.functional.silu(x))
    gated = Formula.parse("max(g, 2) * x").to_module()
    assert gated(torch.ones(3, 1), torch.zeros(4)).shape == (3, 4)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_keeps_the_dtype_of_values_and_gradients(operator, dtype):
    module = Formula((operator.name, *("x", 2.0)[: operator.arity])).to_module()
    x = torch.tensor([-3.5, -1.0, 0.0, 0.5, 4.0], dtype=dtype, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert x.grad.isfinite().all()
    expected = module(x.detach().double())
    tolerance = 0.02 if dtype == torch.bfloat16 else 0.003
    torch.testing.assert_close(y.detach().double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_works_under_vmap(operator):
    formula = Formula(("add", operator.name, *("x", 0.5)[: operator.arity], "max", "g", -0.25))
    module, generator = formula.to_module(), torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 5, 7, generator=generator)
    torch.testing.assert_close(torch.func.vmap(module)(x, g), module(x, g))
    slope = torch.func.vmap(torch.func.grad(lambda a, b: module(a, b).sum()))(x, g)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(slope, torch.autograd.grad(module(leaf, g).sum(), leaf)[0])


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_works_under_double_backward(operator):
    module = Formula(("mul", "x", operator.name, *("x", 0.5)[: operator.arity])).to_module()
    x = torch.tensor([-2.3, -0.7, 0.4, 1.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(module, x)


SECOND = {
    "neg": lambda x: 0, "abs": lambda x: 0, "square": lambda x: 2, "cube": lambda x: 6 * x,
    "sqrt": lambda x: -abs(x) ** -1.5 / 4, "log": lambda x: -(x**-2), "exp": mpmath.exp,
    "sin": lambda x: -mpmath.sin(x), "cos": lambda x: -mpmath.cos(x), "sinh": mpmath.sinh, "cosh": mpmath.cosh,
    "sinc": lambda x: mpmath.diff(lambda a: mpmath.sincpi(a), x, 2), "tanh": lambda x: mpmath.diff(mpmath.tanh, x, 2),
    "asinh": lambda x: -x * (1 + x * x) ** -1.5, "atan": lambda x: -2 * x / (1 + x * x) ** 2,
    "sigmoid": lambda x: -mpmath.tanh(x / 2) * mpmath.sech(x / 2) ** 2 / 4,
    "softplus": lambda x: mpmath.sech(x / 2) ** 2 / 4, "relu": lambda x: 0, "min0": lambda x: 0,
    "erf": lambda x: mpmath.diff(mpmath.erf, x, 2), "gauss": lambda x: (4 * x * x - 2) * mpmath.exp(-x * x),
    "softsign": lambda x: -2 * mpmath.sign(x) / (1 + abs(x)) ** 3, "hard_sigmoid": lambda x: 0,
    "elu": lambda x: mpmath.exp(x) if x < 0 else 0,
}  # fmt: skip
"""The second derivative of every operator of one operand, for mpmath."""

NO_SECOND_AT_0 = {"abs", "sqrt", "log", "relu", "min0", "softsign", "elu"}
"""Operators with a kink or a guard at 0."""


@pytest.mark.parametrize("name", [o.name for o in OPERATORS.values() if o.arity == 1])
def test_second_derivatives(name):
    """Also at 0 and so near to it that squares underflow, if they exist there."""
    points = [-7.3, -2.6, -1.2, -0.3, -0.01, -1.01e-4, -0.99e-4, -1e-8, -1e-200, 0.0, 1e-300, 1e-5, 0.2, 1.7, 6.2]
    points = [point for point in points if abs(point) > 2e-6 or name not in NO_SECOND_AT_0]
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(Formula((name, "x")).to_module()(x).sum(), x, create_graph=True)
    second = torch.zeros_like(x)
    if first.requires_grad:
        second += torch.autograd.grad(first.sum(), x, materialize_grads=True)[0]
    with mpmath.workdps(60):
        expected = [float(SECOND[name](mpmath.mpf(point))) for point in points]
    np.testing.assert_allclose(second.detach(), expected, rtol=3e-7, atol=3e-8)


def test_second_derivatives_are_of_what_torch_can_differentiate():
    assert set(SECOND) == {o.name for o in OPERATORS.values() if o.arity == 1}


def test_derivatives_of_sinc_at_0():
    """sin(pi x) / (pi x) is the sum of (-1)^n (pi x)^(2 n) / (2 n + 1)!, so the fourth is pi^4 / 5."""
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(1, dtype=dtype, requires_grad=True)
        derivatives = [Formula.parse("sinc(x)").to_module()(x)]
        for _ in range(4):
            derivatives += torch.autograd.grad(derivatives[-1].sum(), x, create_graph=True)
        found = [derivative.item() for derivative in derivatives]
        assert found == pytest.approx([1, 0, -(math.pi**2) / 3, 0, math.pi**4 / 5], rel=1e-6)


def test_a_gradient_penalty_at_an_input_of_zeros_is_finite():
    linear = nn.Linear(3, 4)
    x = torch.zeros(2, 3, requires_grad=True)
    y = Formula.parse("sinc(x) + hard_sigmoid(x)").to_module()(linear(x) - linear.bias)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert linear.weight.grad.isfinite().all()


def test_float32_is_what_torchs_own_functions_give():
    """sinc by its series and hard_sigmoid by relu6 change no bit of a float32."""
    near = torch.logspace(-45, 1, 100_001)
    x = torch.cat([-near, torch.zeros(1), near, torch.linspace(-4, 4, 100_001)]).requires_grad_()
    assert torch.equal(Formula.parse("sinc(x)")(x), torch.sinc(x))
    ours, theirs = Formula.parse("hard_sigmoid(x)")(x), nn.functional.hardsigmoid(x)
    assert torch.equal(ours, theirs)
    assert torch.equal(*(torch.autograd.grad(y.sum(), x)[0] for y in (ours, theirs)))


def test_compiles_into_one_graph():
    exported = torch.export.export(Formula.parse("max(gelu(x), sinc(x)) / 3").to_module(), (torch.ones(4),))
    x = torch.linspace(-2, 2, 4)
    torch.testing.assert_close(exported.module()(x), Formula.parse("max(gelu(x), sinc(x)) / 3")(x))


@pytest.mark.parametrize(("text", "n"), [("sin(x)", 0), ("sin(x)", 2), ("x * g", 1), ("x * g", 3)])
def test_wrong_number_of_inputs(text, n):
    with pytest.raises(TypeError, match=r"forward\(\) (missing|takes) .* positional argument"):
        Formula.parse(text).to_module()(*[torch.ones(1)] * n)


def test_two_inputs_in_the_formulas_order():
    module = Formula.parse("g - 2 * x").to_module()
    assert module(torch.tensor(3.0), torch.tensor(10.0)).item() == 4.0


@pytest.mark.parametrize("text", ["x * sigmoid(x)", "max(g, x) / sqrt(x**2 + 1)", "x"])
def test_pickle_deepcopy_and_torch_save(text):
    module = Formula.parse(text).to_module()
    inputs = [torch.linspace(-2, 2, 5), torch.linspace(1, -3, 5)][: len(module.input_names)]
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for twin in (
        pickle.loads(pickle.dumps(module)),
        copy.deepcopy(module),
        torch.load(buffer, weights_only=False),
    ):
        assert type(twin) is type(module)
        assert isinstance(twin, Activation)
        assert twin is not module
        assert (twin.text, twin.input_names) == (str(Formula.parse(text)), Formula.parse(text).inputs)
        assert torch.equal(twin(*inputs), module(*inputs))


def test_a_whole_model_is_loaded_with_weights_only():
    """The pickle names a function of ours and classes of torch, and no class that is made on the fly."""
    model = nn.Sequential(nn.Linear(2, 3), new(), nn.Linear(3, 1), Formula.parse("relu(x) + 0.5").to_module()).eval()
    buffer = io.BytesIO()
    torch.save(model, buffer)
    names = {nn.Sequential, nn.Linear, restored}
    buffer.seek(0)
    assert set(torch.serialization.get_unsafe_globals_in_checkpoint(buffer)) == {
        f"{name.__module__}.{name.__qualname__}" for name in names
    }
    buffer.seek(0)
    with torch.serialization.safe_globals(list(names)):
        loaded = torch.load(buffer, weights_only=True)
    assert repr(loaded) == repr(model)
    assert not loaded[1].training
    x = torch.ones(4, 2)
    assert torch.equal(loaded(x), model(x))


def test_a_pickle_is_read_by_another_process(tmp_path):
    torch.save(nn.Sequential(new()), tmp_path / "model.pt")
    code = "import torch; print(torch.load('model.pt', weights_only=False)(torch.zeros(1)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("tensor([0.])\n", 0), result.stderr


def test_hooks_are_copied_with_the_module():
    module, calls = new(), []
    module.register_forward_hook(lambda *_: calls.append(1))
    copy.deepcopy(module)(torch.ones(1))
    assert calls == [1]


def test_has_no_state():
    module = new()
    assert module.state_dict() == {}
    assert list(module.parameters()) == []
    module.load_state_dict({})
    model, other = (nn.Sequential(nn.Linear(2, 2), a) for a in (nn.ReLU(), new()))
    other.load_state_dict(model.state_dict())  # weights of a ReLU model fit
    assert torch.equal(other[0].weight, model[0].weight)


def test_shows_its_formula():
    assert repr(new()) == "Activation(x * sigmoid(x))"
