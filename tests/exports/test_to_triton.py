"""On the CPU by Triton's interpreter."""

import ast

import numpy as np
import pytest
import torch
from helpers_exports import FORMULAS, POINTS, inputs_of, loaded, names_imported

from rlsearch import Formula, export
from rlsearch.errors import FormulaError

pytest.importorskip("triton")
from rlsearch.kernels import triton_functions, triton_kernel

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")  # the interpreter computes by numpy


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def built(formula, tmp_path):
    return loaded(export(formula, "triton"), tmp_path / f"exported_{abs(hash(formula))}.py").Activation()


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_value_and_gradient_are_the_searchs_kernel_to_the_last_bit(formula, tmp_path):
    """Whose accuracy ``tests/kernels`` states."""
    module = built(formula, tmp_path)
    kernel = triton_kernel.TritonKernel().population([formula.with_values()], formula.inputs)
    outer = torch.linspace(0.5, 2.0, len(POINTS))
    results = []
    for function in (module, lambda *tensors: kernel(*(x[None] for x in tensors))[0]):
        leaves = [torch.tensor(a, requires_grad=True) for a in inputs_of(formula, np.float32)]
        y = function(*leaves)
        results.append((y, *torch.autograd.grad(y, leaves, outer)))
    for ours, kernels in zip(*results, strict=True):
        torch.testing.assert_close(ours, kernels, rtol=0, atol=0)


def test_shapes_broadcast_and_may_be_empty_or_not_contiguous(tmp_path):
    formula = Formula.parse("atan(x) * softplus(g)")
    module = built(formula, tmp_path)
    x, g = torch.randn(3, 700).t().requires_grad_(), torch.randn(3, requires_grad=True)
    results = []
    for function in (module, formula):
        y = function(x, g)
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, g))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert module(x[:0], g).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype, tmp_path):
    module = built(Formula.parse("gelu_tanh(x)"), tmp_path)
    x = torch.tensor([-2.0, 0.5, 257.0], dtype=dtype)
    assert module(x).dtype == dtype
    # The interpreter cuts a bfloat16 off, where a GPU rounds.
    allowed = 2.0**-7 if dtype == torch.bfloat16 else 0.0
    torch.testing.assert_close(module(x), module(x.float()).to(dtype), rtol=allowed, atol=0)


def test_other_dtypes_are_refused(tmp_path):
    module = built(Formula.parse("x * g"), tmp_path)
    for x, g in ((torch.ones(2).double(), torch.ones(2).double()), (torch.ones(2), torch.ones(2).half())):
        with pytest.raises(TypeError, match="expected inputs of one dtype, float32, float16 or bfloat16"):
            module(x, g)


def test_only_what_is_called_is_copied():
    source = export("x * tanh(x)", "triton")
    functions = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert {"tanh", "_expm1", "_forward", "_backward"} <= functions
    assert not {"erf", "sin", "log"} & functions
    assert names_imported(source) == {"torch", "triton", "triton.language"}


@pytest.mark.parametrize("name", ["1x", "class", "tl", "_forward", "at_least"])
def test_bad_class_names(name):
    assert hasattr(triton_functions, "at_least")
    with pytest.raises(FormulaError, match="is not a Python class name"):
        export("relu(x)", "triton", class_name=name)
