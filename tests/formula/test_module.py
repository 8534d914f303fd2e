import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import FIXED, formulas
from torch import nn

from rlsearch import Formula, replace_activations
from rlsearch.errors import FormulaError, InputError
from rlsearch.formula.module import Activation
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


@pytest.mark.parametrize("operator", [o for o in OPERATORS.values() if o.name != "hard_sigmoid"], ids=lambda o: o.name)
def test_works_under_double_backward(operator):
    module = Formula(("mul", "x", operator.name, *("x", 0.5)[: operator.arity])).to_module()
    x = torch.tensor([-2.3, -0.7, 0.4, 1.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(module, x)


def test_compiles_into_one_graph():
    exported = torch.export.export(Formula.parse("max(gelu(x), sinc(x)) / 3").to_module(), (torch.ones(4),))
    x = torch.linspace(-2, 2, 4)
    torch.testing.assert_close(exported.module()(x), Formula.parse("max(gelu(x), sinc(x)) / 3")(x))


@pytest.mark.parametrize(("text", "n"), [("sin(x)", 0), ("sin(x)", 2), ("x * g", 1), ("x * g", 3)])
def test_wrong_number_of_inputs(text, n):
    with pytest.raises(FormulaError, match=rf"takes \(x.*\), got {n} tensor"):
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
        assert type(twin) is Activation
        assert twin is not module
        assert (twin.text, twin.input_names) == (str(Formula.parse(text)), Formula.parse(text).inputs)
        assert torch.equal(twin(*inputs), module(*inputs))


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


# --- replace_activations ---


def test_replaces_and_counts():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Tanh())
    assert replace_activations(model, nn.ReLU, new()) == 2
    assert [type(m).__name__ for m in model.modules() if not list(m.children())] == [
        "Linear", "Activation", "Linear", "Activation", "Tanh",
    ]  # fmt: skip
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    silu = nn.functional.silu
    torch.testing.assert_close(model(x), torch.tanh(silu(model[2][0](silu(model[0](x))))))


def test_copies_are_independent_of_each_other_and_of_the_original():
    model, original = nn.Sequential(nn.ReLU(), nn.ReLU()), nn.PReLU()
    assert replace_activations(model, nn.ReLU, original) == 2
    assert len({id(model[0]), id(model[1]), id(original)}) == 3
    assert len({id(m.weight) for m in (*model, original)}) == 3


class _Shared(nn.Module):
    def __init__(self):
        super().__init__()
        relu = nn.ReLU()
        self.first = self.second = relu
        self.inner = nn.ModuleDict({"third": relu})
        self.none = None
        self.register_module("empty", None)


def test_a_shared_module_is_replaced_everywhere():
    """Under two names in one parent, and in two parents."""
    model = _Shared()
    assert replace_activations(model, nn.ReLU, new()) == 3
    assert {type(m) for m in (model.first, model.second, model.inner["third"])} == {Activation}
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    assert model.empty is None


def test_a_shared_parent_is_changed_once():
    block = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model = nn.Sequential(block, block)
    assert replace_activations(model, nn.ReLU, new()) == 1
    assert model[0] is model[1]
    assert type(block[1]) is Activation


class _LoudReLU(nn.ReLU):
    pass


def test_subclasses_are_replaced_too_but_not_the_other_way_round():
    model = nn.Sequential(_LoudReLU(), nn.ReLU())
    assert replace_activations(model, _LoudReLU, new()) == 1
    assert [type(m) for m in model] == [Activation, nn.ReLU]
    model = nn.Sequential(_LoudReLU(), nn.ReLU())
    assert replace_activations(model, nn.ReLU, new()) == 2
    assert replace_activations(model, Activation, nn.ReLU()) == 2  # and back


def test_nothing_to_replace():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Sequential(nn.Linear(2, 2), nn.GELU()))
    with pytest.raises(InputError, match=r"no ReLU module; its leaf modules are GELU, Linear, Tanh\."):
        replace_activations(model, nn.ReLU, new())
    assert type(model[1]) is nn.Tanh
