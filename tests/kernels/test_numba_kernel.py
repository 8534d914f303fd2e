import logging
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers_kernels import (
    FORMS,
    FORMULAS,
    GATED,
    KINKS,
    SPECIAL,
    assert_members_are_alone,
    assert_near_float64,
    assert_same_bits,
    numbers,
    value_and_gradient,
    value_and_slopes,
)
from helpers_proxies import trained_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED, SMALL_CONSTANTS, formulas

from rlsearch import Formula
from rlsearch.errors import FormulaError, RlsearchError
from rlsearch.formula import OPERATORS
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.program import run_with_slopes
from rlsearch.kernels import TorchKernel, generated
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings

numba_kernel = pytest.importorskip(
    "rlsearch.kernels.numba_kernel", reason="numba is not installed", exc_type=ImportError
)
from rlsearch.kernels import compiled, numba_functions, numba_source  # noqa: E402 (need numba)

torch.set_num_threads(1)

KERNEL = numba_kernel.NumbaKernel()
TORCH = TorchKernel()
BLOCK = numba_source.BLOCK


def value_and_slope(kernel, formula, x):
    y, slope = value_and_gradient(kernel.population([formula]), x[None], torch.ones(1, *x.shape))
    return y[0], slope[0]


# --- operators ---

# Units in the last place of a value, measured 0.8 of these; all that are not named are within 2. exp turns the rounding
# of the square into 62 of them in gauss, in torch too.
ULPS = {"exp": 1.2, "log": 1.0, "erf": 1.2, "elu": 1.0, "atan": 3.5, "tanh": 3, "asinh": 4, "sinh": 4, "cosh": 3.5} | {
    "softplus": 3, "sigmoid": 2.5, "gate": 3.5, "gauss": 75,
}  # fmt: skip
# Beside them near the zeros of sin and cos, as large as the rounding of a number near 1.
ABSOLUTE = {"sin": 1e-7, "cos": 1e-7, "sinc": 1.5e-7}
DENSE = np.concatenate(
    [np.linspace(-9, 9, 60_001), np.linspace(-80, 80, 40_001), np.outer([1, -1], np.geomspace(1e-30, 80, 5000)).ravel()]
).astype(np.float32)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_against_float64(name):
    x = DENSE.astype(np.float64)
    for tokens in FORMS[name]:
        formula = Formula(tokens)
        y, slope = (t.double().numpy() for t in value_and_slope(KERNEL, formula, torch.from_numpy(DENSE)))
        with np.errstate(all="ignore"):
            exact, (exact_slope,) = run_with_slopes(formula.program, NUMPY, (x,))
        assert (np.abs(exact) < 3e38).all()  # larger numbers are among the special ones below
        assert_near_float64(name, formula, x, (y, slope), (exact, exact_slope), ULPS, ABSOLUTE)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_many_turns(name):
    x = np.outer([1, -1], np.geomspace(10, 1e15, 20_000)).ravel().astype(np.float32)
    y = KERNEL.population([Formula((name, "x"))])(torch.from_numpy(x)[None])[0]
    np.testing.assert_allclose(y, OPERATORS[name].value(NUMPY, x.astype(np.float64)), rtol=0, atol=1.2e-7)


@pytest.mark.parametrize("name", OPERATORS)
def test_special_numbers_have_torchs_values(name):
    x = torch.tensor(SPECIAL)
    for tokens in [*FORMS[name], *([(name, "x", "neg", "x")] if OPERATORS[name].arity == 2 else [])]:
        formula = Formula(tokens)
        ours = KERNEL.population([formula])(x[None])[0]
        theirs = TORCH.population([formula])(x[None])[0]
        if name in ("sin", "cos", "sinc"):  # many turns away any number in their range will do
            far = (x.abs() > 1e15) & x.isfinite()
            assert (ours[far].abs() <= 1).all()
            ours, theirs = (torch.where(far, 0.0, t) for t in (ours, theirs))
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=2e-7, equal_nan=True), f"{formula}: {ours} not {theirs}"


@pytest.mark.parametrize("name", OPERATORS)
def test_slopes_at_kinks_and_guards_are_torchs(name):
    x = torch.tensor(KINKS)
    for tokens in FORMS[name]:
        ours, theirs = (value_and_slope(kernel, Formula(tokens), x)[1] for kernel in (KERNEL, TORCH))
        if name in ("sin", "cos", "sinc"):
            ours, theirs = ours[x.abs() < 1e15], theirs[x.abs() < 1e15]
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=3e-7, msg=lambda m, t=tokens: f"{t}: {m}")


def test_every_function_of_the_operator_table_is_there(monkeypatch):
    assert [name for name in generated.FUNCTIONS if not hasattr(numba_functions, name)] == []
    monkeypatch.delattr(numba_functions, "tanh")
    with pytest.raises(RlsearchError, match=r"calls 'tanh', which .*numba_functions\.py lacks; define it there"):
        numba_source.load_interpreter()


def test_an_operator_is_defined_in_the_table_alone(monkeypatch):
    """Its value and its partials turn into source by themselves, in every form that it may have in a program."""
    source = numba_source.interpreter_source()
    for (name, form), code in numba_source.OPCODES.items():
        assert source.count(f"opcode == {code}:  # {name} {form}\n") == 2
    assert {name for name, _ in numba_source.OPCODES} == set(OPERATORS)
    assert "(F(0.5) + (F(0.5) * sign((a - b)))) * left[512 + i]" in source  # the slope of max, from its row
    assert source == numba_source.interpreter_source()


# --- formulas ---

FLOAT32 = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)  # sin of much larger ones is noise


@settings(FIXED, max_examples=300)
@given(formulas(constants=SMALL_CONSTANTS | FLOAT32, max_size=14))
def test_random_formulas_against_torch(formula):
    x = numbers(1, 600)
    ours, theirs = (value_and_gradient(k.population([formula]), x, torch.ones_like(x)) for k in (KERNEL, TORCH))
    exact = value_and_gradient(TORCH.population([formula]), x.double(), torch.ones_like(x).double())
    for a, b, c in zip(ours, theirs, exact, strict=True):
        # Where float32 itself is good to 1e-5, by torch, we are to 1e-3: other points are ill-conditioned.
        good = c.isfinite() & torch.isclose(b.double(), c, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.double()[good], c[good], rtol=1e-3, atol=1e-4)


@settings(FIXED, max_examples=300)
@given(formulas(max_size=14))
def test_random_formulas_have_torchs_mask_of_numbers(formula):
    x = torch.tensor([SPECIAL])
    ours, theirs = (kernel.population([formula])(x) for kernel in (KERNEL, TORCH))
    edge = ours.abs().nan_to_num().maximum(theirs.abs().nan_to_num()) > 1e37  # may overflow in one and not the other
    assert torch.equal(ours.isnan() | edge, theirs.isnan() | edge), (x[ours.isnan() != theirs.isnan()], ours, theirs)


@settings(FIXED, max_examples=100)
@given(formulas())
def test_without_gradients_the_bits_are_the_same(formula):
    activation, x = KERNEL.population([formula]), numbers(1, 700)
    with_gradients = activation(x.clone().requires_grad_())
    assert with_gradients.requires_grad
    with torch.no_grad():
        assert_same_bits(activation(x.clone().requires_grad_()), with_gradients.detach())
    assert not activation(x).requires_grad


def test_a_formula_of_many_live_values():
    """A value stays in its slot until its last use, whatever is computed meanwhile."""
    terms = " + ".join(f"sin({i} * x) * cos({i} * x)" for i in range(1, 12))
    text = f"({terms}) * ({' + '.join(f'cos({i} * x)' for i in range(11, 0, -1))})"
    formula, x = Formula.parse(text), numbers(1, 2 * BLOCK + 7, scale=0.5)
    for a, b in zip(*(value_and_gradient(k.population([formula]), x, x) for k in (KERNEL, TORCH)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


# --- populations ---


@pytest.mark.parametrize("slot", [0, 4, len(FORMULAS) - 1])
def test_a_non_finite_member_changes_no_bit_of_the_others(slot):
    assert_members_are_alone(KERNEL, slot, 100)


@pytest.mark.parametrize("rows", [1, 5, 37])  # less than a block, and a rest behind some blocks
def test_a_members_bits_do_not_depend_on_slot_and_neighbours(rows):
    x, outer = numbers(1, rows, 99), numbers(1, rows, 99, seed=1)
    alone = value_and_gradient(KERNEL.population([FORMULAS[4]]), x, outer)
    for slot in range(len(FORMULAS)):
        members = [*FORMULAS[:slot], FORMULAS[4], *FORMULAS[slot + 1 :]]
        repeated = (t.repeat(len(members), 1, 1) for t in (x, outer))
        among = value_and_gradient(KERNEL.population(members), *repeated)
        for a, b in zip(alone, among, strict=True):
            assert_same_bits(a[0], b[slot])


def test_a_numbers_bits_do_not_depend_on_its_place():
    activation, x = KERNEL.population([FORMULAS[5]]), numbers(1, 3 * BLOCK)
    y, gradient = value_and_gradient(activation, x, torch.ones_like(x))
    for start in (1, 3, 511, 700):
        part = x[:, start : start + 600]
        y_part, gradient_part = value_and_gradient(activation, part, torch.ones_like(part))
        assert_same_bits(y[:, start : start + 600], y_part)
        assert_same_bits(gradient[:, start : start + 600], gradient_part)


def test_numbers_that_are_not_contiguous():
    activation, x, outer = KERNEL.population(FORMULAS[:2]), numbers(2, 30, 50), numbers(2, 30, 50, seed=1)
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


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 3, 4), (3, BLOCK), (3, BLOCK + 1)])
def test_any_shape_behind_the_population_axis(shape):
    members, x = FORMULAS[:3], numbers(*shape)
    y, gradient = value_and_gradient(KERNEL.population(members), x, torch.ones(shape))
    assert y.shape == gradient.shape == shape
    torch.testing.assert_close(y, torch.stack([f.to_module()(a) for f, a in zip(members, x, strict=True)]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_take_torchs_way(dtype):
    x, outer = (numbers(len(FORMULAS), 32, seed=seed).to(dtype) for seed in (0, 1))
    for a, b in zip(*(value_and_gradient(k.population(FORMULAS), x, outer) for k in (KERNEL, TORCH)), strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_wrong_populations_are_refused():
    with pytest.raises(FormulaError, match=r"has the inputs \(.*'g'.*\); proxies take formulas of x alone"):
        KERNEL.population([FORMULAS[0], Formula.parse("x * g")])
    for gradients in (True, False):
        with pytest.raises(ValueError, match="a population of 2 got a tensor of 3 slices"):
            KERNEL.population(FORMULAS[:2])(torch.ones(3, 4, requires_grad=gradients))


def test_second_derivatives_are_refused_rather_than_wrong():
    x = numbers(1, 4).requires_grad_()
    y = KERNEL.population([FORMULAS[1]])(x)
    (gradient,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    x, outer = numbers(1, 40).requires_grad_(), numbers(1, 40, seed=1)
    y = KERNEL.population([FORMULAS[1]])(x)
    first, again = (torch.autograd.grad(y, x, outer, retain_graph=True)[0].clone() for _ in range(2))
    assert_same_bits(first, again)


def test_denormal_numbers_are_flushed_where_torch_flushes_them():
    """As the trainer asks for: they would make everything slow."""
    activation, x = KERNEL.population([Formula.parse("0.5 * x")]), torch.tensor([[3e-38, 1.5e-38]])
    assert (activation(x) > 0).tolist() == [[True, True]]
    torch.set_flush_denormal(True)
    try:
        flushed = activation(x)
    finally:
        torch.set_flush_denormal(False)
    assert (flushed > 0).tolist() == [[True, False]]


# --- several inputs, and other formulas in place ---


@settings(FIXED, max_examples=200)
@given(st.lists(formulas(inputs=("x", "g"), max_size=14), min_size=1, max_size=3))
def test_random_gated_formulas_against_torch(members):
    x, g = (numbers(len(members), 300, seed=seed).requires_grad_() for seed in (0, 1))
    y, *slopes = value_and_slopes(KERNEL.population(members, ("x", "g")), x, g)
    reference = TORCH.population(members, ("x", "g"))
    rounded, exact = value_and_slopes(reference, x, g), value_and_slopes(reference, x.double(), g.double())
    for a, b, c in zip((y, *slopes), rounded, exact, strict=True):
        good = c.isfinite() & torch.isclose(b.double(), c, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a.double()[good], c[good], rtol=1e-3, atol=1e-4)


def test_an_input_that_a_part_does_not_depend_on_is_not_multiplied_by_its_infinite_slope():
    # sigmoid(exp(exp(x))) is 1 at 10 and its slope 0 * inf; by g the slope is 1, and nothing of that.
    activation = KERNEL.population([Formula.parse("sigmoid(exp(exp(x))) * g")], ("x", "g"))
    y, by_x, by_g = value_and_slopes(activation, torch.tensor([[10.0]]), torch.tensor([[3.0]]))
    assert (y.item(), by_g.item()) == (3.0, 1.0)
    assert math.isnan(by_x.item())


def test_formulas_of_one_input_in_a_gated_population_have_the_same_bits():
    x, g = numbers(len(FORMULAS), 700), numbers(len(FORMULAS), 700, seed=1)
    y, by_x, by_g = value_and_slopes(KERNEL.population(FORMULAS, ("x", "g")), x, g)
    for a, b in zip((y, by_x), value_and_gradient(KERNEL.population(FORMULAS), x, torch.ones_like(x)), strict=True):
        assert_same_bits(a, b)
    assert_same_bits(by_g, torch.zeros_like(x))


def test_a_gradient_by_one_of_two_inputs():
    x, g = numbers(len(GATED), 40), numbers(len(GATED), 40, seed=1)
    activation = KERNEL.population(GATED, ("x", "g"))
    _, by_x, by_g = value_and_slopes(activation, x, g)
    for expected, wanted, other in ((by_x, x, lambda t: (t, g)), (by_g, g, lambda t: (x, t))):
        _, gradient = value_and_gradient(lambda t, other=other: activation(*other(t)), wanted, torch.ones_like(x))
        assert_same_bits(gradient, expected)


@pytest.mark.parametrize("inputs", [("x",), ("x", "g")])
def test_formulas_loaded_in_place(inputs):
    first, second = (GATED[:3], GATED[3:]) if len(inputs) == 2 else (FORMULAS[:3], FORMULAS[5:8])
    tensors = [numbers(3, 50, seed=seed) for seed, _ in enumerate(inputs)]
    for dtype in (torch.float32, torch.float64):
        activation, cast = KERNEL.population(first, inputs), [t.to(dtype) for t in tensors]
        before = activation(*cast)
        activation.load(second)
        assert torch.equal(activation(*cast), KERNEL.population(second, inputs)(*cast))
        activation.load(first)
        assert torch.equal(activation(*cast), before)


# --- training ---


def test_training_comes_out_as_with_torch():
    settings_ = ProxySettings(
        dataset="digits", widths=(32, 32), epochs=3, train_size=512, validation_size=396, batch_size=64, population=8
    )
    members = [Training(FORMULAS[k], "p", seed) for seed, k in enumerate((0, 1, 4, 5, 0, 1, 4, 5))]
    proxies = [Proxy(settings_, kernel, "cpu") for kernel in (KERNEL, KERNEL, TORCH)]
    ours, again, theirs = (trained_scores(proxy, members) for proxy in proxies)
    assert ours == again
    assert min(theirs) > 0.5  # of ten classes
    assert ours == pytest.approx(theirs, abs=0.02)


# --- the object, its cache, its absence ---


def test_pickles_and_rebuilds():
    for kernel in (pickle.loads(pickle.dumps(KERNEL)), type(KERNEL)()):
        assert_same_bits(kernel.population(FORMULAS[:1])(numbers(1, 9)), KERNEL.population(FORMULAS[:1])(numbers(1, 9)))


def test_another_process_imports_numba_late_and_loads_what_this_one_compiled():
    code = (
        "import sys, time, rlsearch.kernels, rlsearch.proxies.trainers.population\n"
        "assert 'numba' not in sys.modules\n"
        "started = time.process_time()\n"
        "rlsearch.kernels.kernel_named('numba', 'cpu')\n"
        "print(time.process_time() - started)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 4  # 0.8 s on a free core; compiling takes 15


FAKE = "\ndef {name}():\n    return {block}\n"  # an interpreter that compiles at once


def test_a_cache_folder_that_cannot_be_written(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(numba_source, "_INTERPRETER", FAKE)
    monkeypatch.setattr(compiled, "_warned", [])
    with caplog.at_level(logging.WARNING, logger="rlsearch"):
        module = numba_source.load_interpreter()
    assert module.value() == BLOCK
    assert "cannot be kept" in caplog.text


def test_the_machine_code_is_made_anew_when_a_function_changes(monkeypatch, tmp_path):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(numba_source, "BLOCK", 7)
    monkeypatch.setattr(numba_source, "_INTERPRETER", FAKE)
    assert numba_source.load_interpreter().value() == 7
    assert numba_source.load_interpreter() is numba_source.load_interpreter()
    monkeypatch.setattr(generated.inspect, "getsource", lambda module: "changed")
    numba_source.load_interpreter()
    assert len(list((tmp_path / "kernels").glob("*.py"))) == 2
