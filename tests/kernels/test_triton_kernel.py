"""On the CPU by Triton's interpreter, and on a GPU where there is one."""

import math
import pickle
import re

import pytest
import torch
from helpers_kernels import (
    EXPLODING,
    FORMULAS,
    GATED,
    SPECIAL,
    assert_same_bits,
    numbers,
    value_and_gradient,
    value_and_slopes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED, SMALL_CONSTANTS, formulas

from rlsearch import Formula, fused_module
from rlsearch.errors import FormulaError
from rlsearch.formula.tokens import MAX_SIZE
from rlsearch.kernels import TorchKernel
from rlsearch.kernels import fused as fused_modules

triton_kernel = pytest.importorskip("rlsearch.kernels.triton_kernel", reason="triton is not installed")
import triton  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from rlsearch.kernels import triton_source  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")  # the interpreter computes by numpy

TORCH = TorchKernel()
BLOCK = triton_kernel.BLOCK
XG = ("x", "g")


@pytest.mark.parametrize("text", ["mish(x)", "swiglu(x, g)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_fused_module_is_the_plain_one(device, monkeypatch, text, dtype):
    formula = Formula.parse(text)
    compiled = device.kernel.population([formula], formula.inputs)
    monkeypatch.setattr(fused_modules, "_population", lambda *_: compiled)
    inputs = [numbers(3, 5, dtype=dtype, seed=seed).to(device.name) for seed in range(len(formula.inputs))]
    for ours, plain in zip(
        value_and_slopes(fused_module(formula), *inputs), value_and_slopes(formula.to_module(), *inputs), strict=True
    ):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, plain)


# --- formulas ---

FLOAT32 = st.floats(-1e5, 1e5, width=32, allow_subnormal=False)  # sin of much larger ones is noise


def populations(inputs):
    return st.lists(formulas(inputs=inputs, constants=SMALL_CONSTANTS | FLOAT32, max_size=16), min_size=8, max_size=8)


@pytest.mark.parametrize("inputs", [("x",), XG])
def test_random_formulas_against_torch(device, inputs):
    @settings(FIXED, max_examples=25)
    @given(populations(inputs))
    def check(members):
        tensors = [numbers(len(members), 200, seed=seed) for seed, _ in enumerate(inputs)]
        ours = value_and_slopes(device.population(members, inputs), *tensors)
        reference = TORCH.population(members, inputs)
        theirs = value_and_slopes(reference, *tensors)
        exact = value_and_slopes(reference, *[t.double() for t in tensors])
        for a, b, c in zip(ours, theirs, exact, strict=True):
            # Where float32 itself is good to 1e-5, by torch, we are to 1e-3: other points are ill-conditioned.
            good = c.isfinite() & torch.isclose(b.double(), c, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(a.double()[good], c[good], rtol=1e-3, atol=1e-4)

    check()


def test_random_formulas_have_torchs_mask_of_numbers(device):
    @settings(FIXED, max_examples=25)
    @given(populations(("x",)))
    def check(members):
        x = torch.tensor(SPECIAL).expand(len(members), -1)
        ours, theirs = (kernel.population(members)(x) for kernel in (device, TORCH))
        edge = ours.abs().nan_to_num().maximum(theirs.abs().nan_to_num()) > 1e37  # overflows in one and not the other
        assert torch.equal(ours.isnan() | edge, theirs.isnan() | edge)

    check()


def balanced(depth):
    """A formula that needs a stack of ``depth``: a balanced tree of 2^(depth - 1) sines, 2^(depth + 1) - 2 tokens."""
    if depth == 1:
        return ("sin", "x")
    return ("sub", *balanced(depth - 1), "cos", *balanced(depth - 1))


@pytest.mark.parametrize("depth", range(2, 9))
def test_any_formula_fits(device, depth):
    """A stack of nine would take 767 tokens, since the smallest tree of one more has twice as many and one."""
    formula, x = Formula(balanced(depth)), numbers(1, 40)
    for a, b in zip(*(value_and_slopes(k.population([formula]), x) for k in (device, TORCH)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("operator", ["sub", "div", "gate", "max"])
def test_operands_in_either_order(device, operator):
    """The deeper operand is computed first, whichever it is."""
    deep, flat = ("sub", "sin", "x", "square", "x"), ("tanh", "x")
    members = [Formula((operator, *a, *b)) for a, b in [(deep, flat), (flat, deep), (flat, flat), (deep, deep)]]
    x = numbers(len(members), 40)
    for a, b in zip(*(value_and_slopes(k.population(members), x) for k in (device, TORCH)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_longest_formula_fits(device):
    formula, x = Formula((*("neg",) * (MAX_SIZE - 2), "neg", "x")), numbers(1, 9)
    y, slope = value_and_slopes(device.population([formula]), x)
    sign = -1.0 if (MAX_SIZE - 1) % 2 else 1.0
    assert torch.equal(y, sign * x)
    assert torch.equal(slope, torch.full_like(x, sign))


def test_an_input_that_a_part_does_not_depend_on_is_not_multiplied_by_its_infinite_slope(device):
    # sigmoid(exp(exp(x))) is 1 at 10 and its slope 0 * inf; by g the slope is 1, and nothing of that.
    activation = device.population([Formula.parse("sigmoid(exp(exp(x))) * g")], XG)
    y, by_x, by_g = value_and_slopes(activation, torch.tensor([[10.0]]), torch.tensor([[3.0]]))
    assert (y.item(), by_g.item()) == (3.0, 1.0)
    assert math.isnan(by_x.item())


# --- populations ---


@pytest.mark.parametrize("slot", [0, len(FORMULAS) - 1])
def test_a_non_finite_member_changes_no_bit_of_the_others(device, slot):
    x, outer = numbers(len(FORMULAS), 16, 20), numbers(len(FORMULAS), 16, 20, seed=1)
    others = [k for k in range(len(FORMULAS)) if k != slot]
    y, gradient = value_and_gradient(device.population(FORMULAS), x, outer)
    exploding = [*FORMULAS[:slot], EXPLODING, *FORMULAS[slot + 1 :]]
    x[slot], outer[slot] = 10.0, math.inf
    y_exploding, gradient_exploding = value_and_gradient(device.population(exploding), x, outer)
    assert not y_exploding[slot].isfinite().any()
    assert_same_bits(y[others], y_exploding[others])
    assert_same_bits(gradient[others], gradient_exploding[others])
    x[slot] = math.nan
    y_nan, gradient_nan = value_and_gradient(device.population(FORMULAS), x, outer)
    assert y_nan[slot].isnan().all()
    assert_same_bits(y[others], y_nan[others])
    assert_same_bits(gradient[others], gradient_nan[others])


@pytest.mark.parametrize("inputs", [("x",), XG])
@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 3, 4), (3, BLOCK), (3, BLOCK + 1), (3, 2 * BLOCK + 48)])
def test_any_shape_behind_the_population_axis(device, shape, inputs):
    members = FORMULAS[3:6] if len(inputs) == 1 else GATED[:3]
    tensors = [numbers(*shape, seed=seed) for seed, _ in enumerate(inputs)]
    ours, theirs = (value_and_slopes(k.population(members, inputs), *tensors) for k in (device, TORCH))
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == shape
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


def test_numbers_that_are_not_contiguous(device):
    activation, x, outer = device.population(FORMULAS[:2]), numbers(2, 30, 50), numbers(2, 30, 50, seed=1)
    y, gradient = value_and_gradient(activation, x, outer)
    for function in (lambda t: activation(t.mT).mT, lambda t: activation(t).mT.contiguous().mT):
        for a, b in zip((y, gradient), value_and_gradient(function, x, outer), strict=True):
            assert_same_bits(a, b)
    with torch.no_grad():
        assert_same_bits(activation(x[:, ::2, 1::3]), y[:, ::2, 1::3])
        assert_same_bits(activation(x[:1].expand(2, 30, 50))[:1], y[:1])
    leaf = x.clone().requires_grad_()
    activation(leaf).sum().backward()  # the gradient of a sum is one number in every place
    assert_same_bits(leaf.grad, value_and_gradient(activation, x, torch.ones_like(x))[1])


@pytest.mark.parametrize("inputs", [("x",), XG])
def test_bfloat16_is_rounded_once(device, inputs):
    """The arithmetic is float32's: the result is its result, rounded (and cut off in the interpreter)."""
    members = FORMULAS if len(inputs) == 1 else GATED
    tensors = [numbers(len(members), 70, dtype=torch.bfloat16, seed=seed) for seed, _ in enumerate(inputs)]
    ours = value_and_slopes(device.population(members, inputs), *tensors)
    wide = value_and_slopes(device.population(members, inputs), *[t.float() for t in tensors])
    for a, b in zip(ours, wide, strict=True):
        assert a.dtype == torch.bfloat16
        torch.testing.assert_close(a.float(), b, rtol=2**-7 if device.name == "cpu" else 2**-8, atol=1e-37)


def test_other_dtypes_take_torchs_way(device):
    x, outer = (numbers(len(FORMULAS), 32, dtype=torch.float64, seed=seed) for seed in (0, 1))
    ours, theirs = (value_and_gradient(k.population(FORMULAS), x, outer) for k in (device, TORCH))
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a, b, equal_nan=True)
    x, g = numbers(1, 9), numbers(1, 9, dtype=torch.float64)
    mixed = device.population([Formula.parse("x * g")], XG)(x, g)
    torch.testing.assert_close(mixed, x * g)


def test_tensors_on_the_cpu_take_torchs_way_without_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    x = numbers(len(FORMULAS), 32)
    ours, theirs = (k.population(FORMULAS)(x) for k in (triton_kernel.TritonKernel(), TORCH))
    assert_same_bits(ours, theirs)


@pytest.mark.parametrize("inputs", [("x",), XG])
def test_formulas_loaded_in_place(device, inputs):
    first, second = (GATED[:3], GATED[3:]) if len(inputs) == 2 else (FORMULAS[:3], FORMULAS[5:8])
    tensors = [numbers(3, 50, seed=seed) for seed, _ in enumerate(inputs)]
    for dtype in (torch.float32, torch.float64):
        activation, cast = device.population(first, inputs), [t.to(dtype) for t in tensors]
        before = activation(*cast)
        for members, expected in [(second, device.population(second, inputs)(*cast)), (first, before)]:
            activation.load(members)
            assert torch.equal(activation(*cast), expected)


def test_what_cannot_be_loaded(device):
    activation, x = device.population(FORMULAS[:1]), numbers(1, 9)
    before = activation(x)
    with pytest.raises(FormulaError, match="needs a stack of 5, and the population was made with 4; make a new one"):
        activation.load([Formula(balanced(5))])
    with pytest.raises(FormulaError, match="proxies take formulas of x alone"):
        activation.load([GATED[0]])
    with pytest.raises(ValueError, match="a population of 1 cannot load 2 formulas"):
        activation.load(FORMULAS[:2])
    assert_same_bits(activation(x), before)
    y = activation(x.requires_grad_())
    activation.load(FORMULAS[1:2])
    with pytest.raises(RuntimeError, match="other formulas were loaded between the forward pass and its backward"):
        y.sum().backward()


def test_a_gradient_by_one_of_two_inputs(device):
    x, g = numbers(len(GATED), 40), numbers(len(GATED), 40, seed=1)
    activation = device.population(GATED, XG)
    _, by_x, by_g = value_and_slopes(activation, x, g)
    for expected, wanted, call in ((by_x, x, lambda t: activation(t, g)), (by_g, g, lambda t: activation(x, t))):
        assert_same_bits(value_and_gradient(call, wanted, torch.ones_like(x))[1], expected)


def test_wrong_tensors_are_refused(device):
    for gradients in (True, False):
        with pytest.raises(ValueError, match="a population of 2 got a tensor of 3 slices"):
            device.population(FORMULAS[:2])(torch.ones(3, 4, requires_grad=gradients))
    with pytest.raises(ValueError, match="the inputs' shapes differ"):
        device.population(GATED[:2], XG)(torch.ones(2, 3), torch.ones(2, 4))


def test_second_derivatives_are_refused_rather_than_wrong(device):
    x = numbers(1, 4).requires_grad_()
    y = device.population([FORMULAS[1]])(x)
    (gradient,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_without_gradients_the_bits_are_the_same_and_the_inputs_alone_are_kept(device):
    activation, x = device.kernel.population(FORMULAS), numbers(len(FORMULAS), 70).to(device.name).requires_grad_()
    y = activation(x)
    (kept,) = y.grad_fn.saved_tensors
    assert kept.data_ptr() == x.data_ptr()
    with torch.no_grad():
        assert_same_bits(activation(x), y.detach())


def test_pickles(device):
    twin = pickle.loads(pickle.dumps(device.kernel))
    x = numbers(1, 9).to(device.name)
    assert_same_bits(twin.population(FORMULAS[:1])(x), device.kernel.population(FORMULAS[:1])(x))


def test_a_cache_folder_that_cannot_be_written(device, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(triton_source, "ROW", triton_source.ROW + 1)  # what no test has loaded
    module = triton_source.load_interpreter(1, 4)
    assert str(tmp_path) not in module.__file__


# --- compiled ---


@pytest.mark.parametrize("depth", triton_kernel.DEPTHS)
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_compiles_for_a_gpu_that_is_not_there(name, inputs, depth, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(triton_source.load_interpreter(inputs, depth), name)
    types = {"programs": "*i32", "size": "i32", "BLOCK": "constexpr"}
    signature = {argument: types.get(argument, "*bf16" if depth == 4 else "*fp32") for argument in function.arg_names}
    options = dict(triton_kernel.FORWARD if name == "forward" else triton_kernel.BACKWARD)
    source = ASTSource(function, signature, constexprs={"BLOCK": options.pop("BLOCK")})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert compiled.asm["cubin"]
    # Every place of the stack goes through the loop, with its slopes: Triton may take equal variables for one.
    (loop,) = re.findall(r"scf\.for .*iter_args\((.*?)\) ->", compiled.asm["ttir"])
    assert loop.count("=") == depth * (1 + (inputs if name == "backward" else 0))
    assert ".local" not in compiled.asm["ptx"]  # everything is in registers, and no library function has a table
    assert not re.search(r"^\s*call", compiled.asm["ptx"], re.MULTILINE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_captured_graph_replays_with_the_formulas_loaded():
    activation, x = triton_kernel.TritonKernel().population(FORMULAS[:2]), numbers(2, 300).cuda()
    activation(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = activation(x)
    for members in (FORMULAS[4:6], FORMULAS[:2]):
        activation.load(members)
        graph.replay()
        torch.testing.assert_close(y, TORCH.population(members)(x), rtol=1e-5, atol=1e-6)
