"""The module and the exported source under every way of compiling, exporting and transforming that torch has."""

import sys
import types
import warnings

import pytest
import torch
from torch import nn

from rlsearch import Formula
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS

torch.set_num_threads(1)

FORMULAS = {o.name: Formula((o.name, *("x", 0.5)[: o.arity])) for o in OPERATORS.values()}
FORMULAS |= {name: Formula.parse(function.body) for name, function in NAMED.items()}
FORMULAS |= {f"{name} of two": Formula((name, "g", "x")) for name, o in OPERATORS.items() if o.arity == 2}
every_formula = pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)


def inputs_of(formula, dtype=torch.float32):
    points = torch.linspace(-4, 4, 17, dtype=dtype)
    return (points, points.flip(0) * 0.7)[: len(formula.inputs)]


def imported(formula, monkeypatch, tmp_path):
    """The class of an exported file."""
    path = tmp_path / "exported.py"
    path.write_text(formula.source())
    file = types.ModuleType("exported")
    exec(compile(path.read_text(), str(path), "exec"), file.__dict__)
    monkeypatch.setitem(sys.modules, "exported", file)
    return file.Activation


def code_of(module):
    """What a module executes, whatever file it is in."""
    return [(method.__code__.co_code, method.__code__.co_consts) for method in (module.forward, module.extra_repr)]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()


def assert_same(traced, formula, dtypes=(torch.float32, torch.float16), at_zero=True):
    """Same values and gradients as the formula; the latter perhaps not at zero, where two sides may tie."""
    for dtype in dtypes:
        results = []
        for function in (traced, formula):
            leaves = [v.clone().requires_grad_() for v in inputs_of(formula, dtype)]
            y = function(*leaves)
            results.append((y, *torch.autograd.grad(y.sum(), leaves, materialize_grads=True)))
        compared = torch.ones_like(leaves[0], dtype=torch.bool)
        for ours, theirs in zip(*results, strict=True):
            assert ours.dtype == theirs.dtype == dtype
            torch.testing.assert_close(ours[compared], theirs[compared])
            # The first of each are the values.
            if not at_zero:
                compared = leaves[0] != 0


@every_formula
def test_the_source_is_the_same_code(formula, monkeypatch, tmp_path):
    """So what the following tests show of the module holds for the source."""
    assert code_of(formula.to_module()) == code_of(imported(formula, monkeypatch, tmp_path)())
    assert type(formula.to_module()) is type(formula.to_module())


@every_formula
def test_compiled_without_a_break(formula):
    compiled = torch.compile(formula.to_module(), fullgraph=True, backend="eager")
    assert_same(compiled, formula, [torch.float16])


@pytest.mark.parametrize("formula", [FORMULAS["gelu_sinc"], FORMULAS["swiglu"]], ids=str)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_with_its_gradient(formula, dynamic, monkeypatch, tmp_path):
    for module in (formula.to_module(), imported(formula, monkeypatch, tmp_path)()):
        assert_same(torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=dynamic), formula)


@pytest.mark.parametrize("formula", [FORMULAS["gelu_sinc"], FORMULAS["max"], FORMULAS["swiglu"]], ids=str)
def test_a_whole_model_is_one_graph(formula):
    graphs = []

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linears = nn.ModuleList(nn.Linear(3, 4) for _ in formula.inputs)
            self.activation = formula.to_module()

        def forward(self, x):
            return self.activation(*[linear(x) for linear in self.linears])

    model, x = Layer(), torch.ones(2, 3)
    torch.testing.assert_close(torch.compile(model, backend=keep)(x), model(x))
    (graph,) = graphs
    called = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert sum("linear" in name for name in called) == len(formula.inputs)
    assert len(called) > len(formula.inputs)


@every_formula
def test_exported(formula):
    inputs = inputs_of(formula)
    traced = torch.export.export(formula.to_module(), inputs, strict=True).module()
    torch.testing.assert_close(traced(*inputs), formula(*inputs))


@pytest.mark.parametrize("formula", [FORMULAS["gelu_sinc"], FORMULAS["max"], FORMULAS["swiglu"]], ids=str)
@pytest.mark.parametrize("strict", [True, False])
def test_the_source_is_exported(formula, strict, monkeypatch, tmp_path):
    inputs, module = inputs_of(formula), imported(formula, monkeypatch, tmp_path)()
    traced = torch.export.export(module, inputs, strict=strict).module()
    torch.testing.assert_close(traced(*inputs), formula(*inputs))


@every_formula
def test_traced_symbolically(formula):
    module = formula.to_module()
    assert_same(torch.fx.symbolic_trace(module), formula)
    model = nn.Sequential(nn.Linear(2, 2), module) if len(formula.inputs) == 1 else module
    targets = [str(node.target) for node in torch.fx.symbolic_trace(model).graph.nodes]
    assert "promote_types" in " ".join(targets)  # what the module does is in the graph, not a call of the module


@every_formula
def test_scripted(formula):
    """TorchScript differentiates by itself once it has seen a few calls, and takes another slope where minima tie."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated", category=DeprecationWarning)
        assert_same(torch.jit.script(formula.to_module()), formula, at_zero=False)


@every_formula
def test_mapped(formula):
    module = formula.to_module()
    inputs = [v.reshape(1, -1).repeat(3, 1) for v in inputs_of(formula)]
    torch.testing.assert_close(torch.func.vmap(module)(*inputs), formula(*inputs))
    slope = torch.func.vmap(torch.func.grad(lambda *a: module(*a).sum()))(*inputs)
    leaf = inputs[0].clone().requires_grad_()
    expected = torch.autograd.grad(formula(leaf, *inputs[1:]).sum(), leaf, materialize_grads=True)[0]
    torch.testing.assert_close(slope, expected)
