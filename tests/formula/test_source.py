import ast
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from strategies import ANY_CONSTANTS, FIXED, formulas

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.source import module_source

torch.set_num_threads(1)


def built(formula, class_name="Activation"):
    """The class that the source defines, in a namespace of its own."""
    source = formula.source(class_name)
    tree = ast.parse(source)
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(n) for n in imports] == ["import torch"]
    assert [n.name for n in tree.body if isinstance(n, ast.ClassDef)] == [class_name]
    namespace = {"__name__": "exported"}
    exec(compile(tree, "<exported>", "exec"), namespace)
    return namespace[class_name]()


def assert_same(formula):
    """Same values and gradients as the formula, bit for bit, in float32 and float64; the module is the source."""
    exported = built(formula)
    for dtype in (torch.float32, torch.float64):
        points = torch.tensor([-1e20, -30, -3, -1.5, -1, -0.4, -1e-7, 0, 1e-7, 0.3, 1, 2, 3, 25, 1e20], dtype=dtype)
        leaves = [v.clone().requires_grad_() for v in (points, points.flip(0) * 0.7)[: len(formula.inputs)]]
        results = []
        # A module's parameters are float32, which rounds some start values.
        starts = {name: parameter.detach() for name, parameter in exported.named_parameters()}
        for function in (exported, formula.to_module(), partial(formula, **starts)):
            output = function(*leaves)
            assert output.dtype == dtype
            results.append((output, *torch.autograd.grad(output.sum(), leaves, materialize_grads=True)))
        for ours, modules, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, modules, rtol=0, atol=0, equal_nan=True)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_every_operator(operator):
    if operator.arity == 1:
        assert_same(Formula((operator.name, "x")))
    else:
        for operands in (("x", "g"), ("x", "x"), ("x", 2.5), (-2.5, "x"), ("x", 0.0), (0.0, "x")):
            assert_same(Formula((operator.name, *operands)))


@pytest.mark.parametrize("name", NAMED)
def test_named_functions(name):
    assert_same(Formula.parse(NAMED[name].body))


@settings(FIXED, max_examples=150)
@given(formulas(inputs=("x", "g"), constants=ANY_CONSTANTS))
def test_random_formulas(formula):
    assert_same(formula)


@pytest.mark.parametrize(
    "text", ["x", "g", "x + exp(1000)", "x - exp(1000)", "x * (exp(1000) - exp(1000))", "max(x, 1e300)"]
)
def test_odd_formulas(text):
    assert_same(Formula.parse(text))


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_half_precision(operator):
    exported = built(Formula((operator.name, *("x", 2.0)[: operator.arity])))
    for dtype in (torch.float16, torch.bfloat16):
        y = exported(torch.tensor([-2.0, 0.5, 3.0], dtype=dtype))
        assert y.dtype == dtype
        assert y.isfinite().all()


def test_is_a_module():
    module = built(Formula.parse("x * sigmoid(x)"), "Found")
    assert isinstance(module, torch.nn.Module)
    assert type(module).__name__ == "Found"
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), module)
    assert model(torch.ones(3, 2)).shape == (3, 2)


def test_golden():
    assert (
        Formula.parse("x * sigmoid(x) - min(x * sigmoid(x), 2)").source("Found")
        == '''\
"""The activation function x * sigmoid(x) - min(x * sigmoid(x), 2).

Written by rlsearch. Standalone: needs only torch.
"""

import torch


class Found(torch.nn.Module):
    """Elementwise x * sigmoid(x) - min(x * sigmoid(x), 2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Whole numbers count as floats; float16 and bfloat16 are computed in float32 and rounded once.
        dtype = torch.sigmoid(x.new_empty((0,))).dtype
        x = x.to(torch.promote_types(dtype, torch.float32))
        t0 = torch.sigmoid(x)
        t1 = x * t0
        t2 = torch.minimum(t1, t1.new_full((), 2.0))
        t3 = t1 - t2
        return t3.to(dtype)

    def extra_repr(self) -> str:
        return "x * sigmoid(x) - min(x * sigmoid(x), 2)"
'''
    )


def test_two_inputs():
    source = Formula.parse("g * sigmoid(x)").source()
    assert "def forward(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:" in source
    assert built(Formula.parse("g - 2 * x"))(torch.tensor(3.0), torch.tensor(10.0)).item() == 4.0


def test_a_text_cannot_end_a_string():
    """The source is executed; whatever is not a formula's text is refused, although only formulas come here."""
    program = Formula.parse("x").program
    for text in ('x"; import os; "', "x\\", "x\n", "{x}", "x'"):
        with pytest.raises(FormulaError, match="is not the text of a formula"):
            module_source(program, ("x",), {}, text, "Found")


@settings(FIXED, max_examples=300)
@given(formulas(inputs=tuple("xgt"), parameters=("a@1", "b@-2.5e-07"), constants=ANY_CONSTANTS))
def test_every_formulas_text_may_stand_in_a_string(formula):
    tree = ast.parse(formula.source())
    assert ast.get_docstring(tree.body[-1]) == f"Elementwise {formula}."


@pytest.mark.parametrize("name", ["", "1x", "a b", "class", "None", "x;import os", "A(object)", "torch"])
def test_bad_class_names(name):
    with pytest.raises(FormulaError, match="is not a Python class name"):
        Formula.parse("x").source(name)
