"""The fused module beside the plain one, which is the reference."""

import copy
import importlib.util
import io
import logging
import math
import pickle

import pytest
import torch
from helpers_kernels import numbers
from torch import nn

from rlsearch import Formula, fused_module
from rlsearch.formula import OPERATORS
from rlsearch.formula.named import NAMED
from rlsearch.kernels import fused

torch.set_num_threads(1)

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")

FORMULAS = [Formula((o.name, *("x", 0.5)[: o.arity])) for o in OPERATORS.values()]
FORMULAS += [Formula.parse(each.body) for each in NAMED.values()]
every_formula = pytest.mark.parametrize("formula", FORMULAS, ids=str)
SILU = Formula.parse("silu(x)")


def modules_of(formula):
    return fused_module(formula), formula.to_module()


def value_and_gradients(module, inputs, outer):
    leaves = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
    y = module(*leaves)
    return y, *torch.autograd.grad(y, leaves, outer.to(y.dtype), materialize_grads=True)


def inputs_of(formula, *shape, dtype=torch.float32):
    return [numbers(*shape, dtype=dtype, seed=seed) for seed in range(len(formula.inputs))]


@every_formula
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_values_and_gradients_are_the_plain_modules(formula, dtype):
    inputs, outer = inputs_of(formula, 5, 67, dtype=dtype), numbers(5, 67, seed=9)
    for ours, plain in zip(*(value_and_gradients(m, inputs, outer) for m in modules_of(formula)), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, plain)
    with torch.no_grad():
        ours, plain = (m(*inputs) for m in modules_of(formula))
    torch.testing.assert_close(ours, plain)


@every_formula
def test_second_derivatives_are_the_plain_modules(formula):
    found = []
    for module in modules_of(formula):
        leaves = [x.requires_grad_() for x in inputs_of(formula, 31)]
        slopes = torch.autograd.grad(module(*leaves).sum(), leaves, create_graph=True, materialize_grads=True)
        total = sum((slope.square().sum() for slope in slopes), torch.zeros((), requires_grad=True))
        found.append([*slopes, *torch.autograd.grad(total, leaves, materialize_grads=True)])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


@needs_numba
@pytest.mark.parametrize("text", ["mish(x)", "swiglu(x, g)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_inputs_alone_are_kept(text, dtype):
    """The very tensors, so that a layer that keeps them too costs nothing more."""
    formula = Formula.parse(text)
    inputs = [x.requires_grad_() for x in inputs_of(formula, 1000, dtype=dtype)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        fused_module(formula)(*inputs)
    assert [x.data_ptr() for x in kept] == [x.data_ptr() for x in inputs]
    plain = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: plain.append(x) or x, lambda x: x):
        formula.to_module()(*inputs)
    assert len(plain) > len(kept)


@needs_numba
def test_it_is_the_kernel_that_computes(monkeypatch):
    def refuse(*_):
        raise AssertionError("the plain module was called")

    module = fused_module(SILU)
    monkeypatch.setattr(module.plain, "forward", refuse)
    x = numbers(9).requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(module(x).sum(), x)[0].shape, x.shape)
    with pytest.raises(AssertionError, match="was called"):
        module(x.double())


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (3, 4, 5)], ids=str)
def test_shapes(shape):
    x, outer = numbers(60)[: math.prod(shape)].reshape(shape), torch.full(shape, 0.7)
    for ours, plain in zip(*(value_and_gradients(m, [x], outer) for m in modules_of(SILU)), strict=True):
        assert ours.shape == shape
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.transpose(0, 3),
        lambda x: x[:, ::2],
        lambda x: x[:1].expand(3, -1, -1, -1),
    ],
)
def test_layouts(change):
    x = change(numbers(2, 4, 3, 5))
    outer = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    (y, gradient), (plain, plain_gradient) = (value_and_gradients(m, [x], outer) for m in modules_of(SILU))
    torch.testing.assert_close((y, gradient), (plain, plain_gradient))
    assert y.stride() == plain.stride()


def test_inputs_that_broadcast():
    formula, outer = Formula.parse("g * sin(x) + x"), numbers(3, 4, seed=3)
    inputs = [numbers(3, 1), numbers(4, seed=1)]
    for ours, plain in zip(*(value_and_gradients(m, inputs, outer) for m in modules_of(formula)), strict=True):
        torch.testing.assert_close(ours, plain)


def test_mixed_dtypes_and_whole_numbers():
    formula = Formula.parse("max(x, 0.5) * g")
    for inputs in ((numbers(4), numbers(4).half()), (torch.arange(4), torch.arange(4) > 1)):
        ours, plain = (m(*inputs) for m in modules_of(formula))
        assert ours.dtype == plain.dtype == torch.float32
        torch.testing.assert_close(ours, plain)


def test_an_input_that_was_changed_in_place_is_noticed():
    x = numbers(5).requires_grad_()
    inner = x * 2
    y = fused_module(SILU)(inner)
    inner += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_wrong_number_of_inputs():
    with pytest.raises(TypeError, match=r"forward\(\) takes 2 positional arguments but 3 were given"):
        fused_module(SILU)(numbers(3), numbers(3))


# --- whoever looks for operations gets the plain ones ---


of_torch_jit = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")  # by forward AD too


@of_torch_jit
def test_compiled_exported_scripted_and_mapped():
    module, x = fused_module(Formula.parse("gelu(x) + sinc(x)")), numbers(4, 3)
    expected = module.plain(x)
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="eager")(x), expected)
    for strict in (True, False):
        exported = torch.export.export(module, (x,), strict=strict)
        assert "erf" in str(exported.graph)
        torch.testing.assert_close(exported.module()(x), expected)
    torch.testing.assert_close(torch.jit.script(nn.Sequential(module))(x), expected)
    assert "erf" in str(torch.jit.trace(module, x).inlined_graph)
    torch.testing.assert_close(torch.fx.symbolic_trace(nn.Sequential(module))(x), expected)
    torch.testing.assert_close(torch.func.vmap(module)(x), expected)
    hessian = torch.func.hessian(lambda a: module(a).sum())(x[0])
    torch.testing.assert_close(hessian, torch.func.hessian(lambda a: module.plain(a).sum())(x[0]))


@needs_numba
@of_torch_jit
def test_forward_mode_is_refused_by_torch():
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(numbers(3), numbers(3))
        with pytest.raises(RuntimeError, match="forward mode AD"):
            fused_module(SILU)(dual.requires_grad_())


# --- as a part of a model ---


CHANGES = {
    "y += 1": lambda y: y.add_(1.0),
    "y *= y.detach()": lambda y: y.mul_(y.detach().clone()),
    "ReLU": nn.ReLU(inplace=True),
    "Dropout": nn.Dropout(0.5, inplace=True),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_its_output_may_be_changed_in_place(name, layout, dtype):
    x = numbers(2, 3, 4, 5, dtype=dtype).to(memory_format=layout)
    results = []
    for module in modules_of(SILU):
        torch.manual_seed(0)
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = CHANGES[name](module(leaf))
        results.append((y, *torch.autograd.grad(y.square().sum(), leaf)))
    for ours, plain in zip(*results, strict=True):
        assert ours.is_contiguous(memory_format=layout)
        torch.testing.assert_close(ours, plain)


def test_in_a_model():
    model = nn.Sequential(nn.Linear(2, 3), fused_module(SILU))
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    x = numbers(4, 2)
    for twin in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
    ):
        assert torch.equal(twin(x), model(x))
    assert "(plain): Activation(x * sigmoid(x))" in repr(model)


def test_without_numba_it_is_said_once_and_computed_plainly(monkeypatch, caplog):
    monkeypatch.setattr(fused.importlib.util, "find_spec", lambda name: None)
    fused._kernel.cache_clear()
    fused._population.cache_clear()
    try:
        x = numbers(3)
        with caplog.at_level(logging.WARNING):
            for formula in (SILU, Formula.parse("sin(x)")):
                assert torch.equal(fused_module(formula)(x), formula.to_module()(x))
    finally:
        fused._kernel.cache_clear()
        fused._population.cache_clear()
    assert caplog.messages == [
        "numba is not installed, so fused modules compute operation by operation: pip install 'rlsearch[numba]'"
    ]


def test_on_other_devices_it_is_plain():
    x = torch.empty(3, device="meta")
    assert fused_module(SILU)(x).device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("text", ["mish(x)", "swiglu(x, g)"])
def test_on_a_gpu(text, dtype):
    formula = Formula.parse(text)
    inputs = [x.cuda() for x in inputs_of(formula, 5, 67, dtype=dtype)]
    outer = numbers(5, 67, seed=9).cuda()
    for ours, plain in zip(*(value_and_gradients(m, inputs, outer) for m in modules_of(formula)), strict=True):
        torch.testing.assert_close(ours, plain)
