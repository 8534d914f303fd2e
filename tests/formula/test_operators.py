import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlsearch.formula.backends import NUMPY, torch_backend
from rlsearch.formula.operators import EPSILON, OPERATORS, Operator

torch.set_num_threads(1)

TORCH = torch_backend()
LN2, LN3, E, PI = math.log(2), math.log(3), math.e, math.pi

UNARY = [o for o in OPERATORS.values() if o.arity == 1]
BINARY = [o for o in OPERATORS.values() if o.arity == 2]
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)

# Kinks (and the points within EPSILON of a singular point) lie at whole numbers: a difference quotient avoids them.
SMOOTH = np.array([-7.3, -2.6, -1.2, -0.7, -0.3, -0.04, 0.05, 0.2, 0.6, 0.9, 1.7, 2.4, 3.3, 6.2])

_FLOAT32 = np.finfo(np.float32)
_SIZES = [
    0.0, _FLOAT32.smallest_subnormal, 1e-42, _FLOAT32.tiny, 1e-30, 1e-20, 1e-12, 9.9e-7, 1e-6, 1.1e-6, 1e-3, 0.5, 1, 2,
    3, 6, 10, 20, 50, 88, 89.5, 104, 1e3, 1e5, 1e10, 9e17, 1.1e18, 1e19, 2e19, 1e30, 2e38, _FLOAT32.max,
]  # fmt: skip
EXTREME = np.array(_SIZES + [-s for s in _SIZES], dtype=np.float32)


def operands(operator: Operator, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """All points for a unary operator, all pairs of them for a binary one."""
    if operator.arity == 1:
        return (points,)
    a, b = np.meshgrid(points, points)
    return a.ravel(), b.ravel()


def partials(operator: Operator, backend, values) -> list[np.ndarray]:
    y = operator.value(backend, *values)
    slopes = [partial(backend, y, *values) for partial in operator.partials]
    return [np.broadcast_to(np.asarray(s), np.shape(values[0])) for s in slopes]


def autograd(function, values) -> list[np.ndarray]:
    leaves = [v.clone().requires_grad_() for v in values]
    return [g.numpy() for g in torch.autograd.grad(function(*leaves).sum(), leaves, materialize_grads=True)]


# Operands, value, and one partial derivative per operand, by hand. sinh(ln 2) = (2 - 1/2)/2 = 3/4 and
# cosh(ln 2) = 5/4, hence tanh(ln 2) = 3/5 and asinh(3/4) = ln 2; sigmoid(ln 3) = 3/(3 + 1), slope 3/4 * 1/4;
# sinc(1/2) = sin(pi/2)/(pi/2), slope (cos(pi a) - sinc(a))/a.
GOLDEN = {
    "neg": ((2.0,), -2.0, (-1.0,)),
    "abs": ((-2.0,), 2.0, (-1.0,)),
    "square": ((-3.0,), 9.0, (-6.0,)),
    "cube": ((-2.0,), -8.0, (12.0,)),
    "sqrt": ((-4.0,), 2.0, (-1 / 4,)),
    "exp": ((1.0,), E, (E,)),
    "log": ((-E,), 1.0, (-1 / E,)),
    "sin": ((PI / 3,), math.sqrt(3) / 2, (1 / 2,)),
    "cos": ((PI / 3,), 1 / 2, (-math.sqrt(3) / 2,)),
    "sinc": ((0.5,), 2 / PI, (-4 / PI,)),
    "sinh": ((LN2,), 3 / 4, (5 / 4,)),
    "cosh": ((LN2,), 5 / 4, (3 / 4,)),
    "tanh": ((LN2,), 3 / 5, (16 / 25,)),
    "asinh": ((3 / 4,), LN2, (4 / 5,)),
    "atan": ((1.0,), PI / 4, (1 / 2,)),
    "sigmoid": ((LN3,), 3 / 4, (3 / 16,)),
    "softplus": ((LN3,), 2 * LN2, (3 / 4,)),  # ln(1 + 3)
    "relu": ((-2.0,), 0.0, (0.0,)),
    "min0": ((-2.0,), -2.0, (1.0,)),
    "erf": ((1.0,), 0.8427007929497149, (2 / math.sqrt(PI) / E,)),  # Abramowitz and Stegun, table 7.1
    "gauss": ((-1.0,), 1 / E, (2 / E,)),
    "softsign": ((-1.0,), -1 / 2, (1 / 4,)),
    "hard_sigmoid": ((1.0,), 4 / 6, (1 / 6,)),
    "elu": ((-1.0,), 1 / E - 1, (1 / E,)),
    "add": ((2.0, -5.0), -3.0, (1.0, 1.0)),
    "sub": ((2.0, -5.0), 7.0, (1.0, -1.0)),
    "mul": ((2.0, -5.0), -10.0, (-5.0, 2.0)),
    "div": ((3.0, -2.0), -3 / 2, (-1 / 2, -3 / 4)),
    "max": ((2.0, -5.0), 2.0, (1.0, 0.0)),
    "min": ((2.0, -5.0), -5.0, (0.0, 1.0)),
    "gate": ((LN3, 4.0), 3.0, (3 / 4, 3 / 4)),
}


def test_the_table_holds_what_was_asked_for():
    assert set(OPERATORS) == set(GOLDEN)
    assert all(len(o.partials) == o.arity and name == o.name for name, o in OPERATORS.items())
    with pytest.raises(TypeError):
        OPERATORS["new"] = OPERATORS["neg"]


@every_operator
def test_golden_values_and_slopes(operator):
    arguments, value, slopes = GOLDEN[operator.name]
    for backend, values in (
        (NUMPY, [np.array(a) for a in arguments]),
        (TORCH, [torch.tensor(a, dtype=torch.float64) for a in arguments]),
        (NUMPY, arguments),  # plain floats, as in constant folding
    ):
        assert float(operator.value(backend, *values)) == pytest.approx(value, rel=1e-14)
        assert [float(p) for p in partials(operator, backend, values)] == pytest.approx(list(slopes), rel=1e-14)


@every_operator
def test_arity(operator):
    with pytest.raises(TypeError):
        operator.value(NUMPY, *[np.ones(1)] * (operator.arity + 1))
    with pytest.raises(TypeError):
        operator.value(NUMPY, *[np.ones(1)] * (operator.arity - 1))


@pytest.mark.parametrize("operator", BINARY, ids=lambda o: o.name)
def test_commutative_are_those_whose_operands_can_be_swapped(operator):
    for backend, array in ((NUMPY, np.asarray), (TORCH, torch.from_numpy)):
        a, b = map(array, operands(operator, EXTREME))
        with np.errstate(all="ignore"):
            assert operator.commutative == np.array_equal(operator.value(backend, a, b), operator.value(backend, b, a))


@every_operator
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numpy_keeps_the_dtype(operator, dtype):
    values = operands(operator, SMOOTH.astype(dtype))
    y = operator.value(NUMPY, *values)
    assert y.dtype == dtype
    for partial in operator.partials:
        slope = partial(NUMPY, y, *values)
        assert isinstance(slope, float) or slope.dtype == dtype


@every_operator
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_torch_keeps_the_dtype(operator, dtype):
    values = [torch.tensor(v, dtype=dtype) for v in operands(operator, SMOOTH)]
    y = operator.value(TORCH, *values)
    assert y.dtype == dtype
    for partial in operator.partials:
        slope = partial(TORCH, y, *values)
        assert isinstance(slope, float) or slope.dtype == dtype


@pytest.mark.parametrize("operator", BINARY, ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_constant_operand_keeps_the_dtype(operator, dtype):
    values = torch.tensor([-1.5, 0.0, 2.0], dtype=dtype)
    full = torch.full_like(values, 2.0)
    for mixed, plain in (((values, 2.0), (values, full)), ((2.0, values), (full, values))):
        y = operator.value(TORCH, *mixed)
        assert y.dtype == dtype
        torch.testing.assert_close(y, operator.value(TORCH, *plain))  # sigmoid(2.0) is a float64 before it is rounded
    array = values.float().numpy()
    assert operator.value(NUMPY, 2.0, array).dtype == np.float32
    assert operator.value(NUMPY, array, 2.0).dtype == np.float32


@every_operator
@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"),
    # torch's softplus is the identity beyond 20, which is off by exp(-20) = 2e-9.
    [(np.float64, 1e-12, 3e-9), (np.float32, 1e-5, 1e-6)],
)
def test_backends_agree(operator, dtype, rtol, atol):
    with np.errstate(all="ignore"):
        values = operands(operator, EXTREME.astype(dtype))
        tensors = [torch.from_numpy(v.copy()) for v in values]
        ours, theirs = operator.value(NUMPY, *values), operator.value(TORCH, *tensors).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
        for slope, their_slope in zip(
            partials(operator, NUMPY, values), partials(operator, TORCH, tensors), strict=True
        ):
            np.testing.assert_allclose(slope, their_slope, rtol=rtol, atol=atol)


@every_operator
def test_no_nan_from_finite_operands(operator):
    with np.errstate(all="ignore"):
        for dtype in (np.float32, np.float64):
            values = operands(operator, EXTREME.astype(dtype))
            assert len(values[0]) == (64 if operator.arity == 1 else 64 * 64)
            tensors = [torch.from_numpy(v.copy()) for v in values]
            assert not np.isnan(operator.value(NUMPY, *values)).any()
            assert not operator.value(TORCH, *tensors).isnan().any()
            for slope in partials(operator, NUMPY, values) + partials(operator, TORCH, tensors):
                assert not np.isnan(slope).any()
            for slope in autograd(lambda *a: operator.value(TORCH, *a), tensors):
                assert not np.isnan(slope).any()


@every_operator
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_nan_from_finite_half_precision(operator, dtype):
    limits = torch.finfo(dtype)
    sizes = torch.tensor(
        [0.0, limits.smallest_normal, 1e-6, 1e-3, 0.5, 1, 3, 11, 20, 100, 3e4, limits.max], dtype=dtype
    )
    points = torch.cat([sizes, -sizes])
    values = (points,) if operator.arity == 1 else [m.ravel() for m in torch.meshgrid(points, points, indexing="ij")]
    assert not operator.value(TORCH, *values).isnan().any()


@every_operator
def test_slopes_are_difference_quotients(operator):
    values = list(operands(operator, SMOOTH))
    if operator.arity == 2:  # away from the tie
        values = [v[np.abs(values[0] - values[1]) > 0.01] for v in values]
    step = 1e-6
    for i, slope in enumerate(partials(operator, NUMPY, values)):
        above, below = ([v + s * (i == j) for j, v in enumerate(values)] for s in (step, -step))
        quotient = (operator.value(NUMPY, *above) - operator.value(NUMPY, *below)) / (2 * step)
        np.testing.assert_allclose(slope, quotient, rtol=2e-5, atol=1e-8)


@every_operator
def test_slopes_are_autograd_of_the_value_everywhere(operator):
    """Kinks, ties and both zeros are among the points."""
    points = np.concatenate([SMOOTH, [-6.0, -3.0, -2.0, -1.0, -EPSILON, -0.0, 0.0, EPSILON, 1.0, 2.0, 3.0, 6.0, 25.0]])
    tensors = [torch.from_numpy(v) for v in operands(operator, points)]
    expected = autograd(lambda *a: operator.value(TORCH, *a), tensors)
    for slope, reference in zip(partials(operator, TORCH, tensors), expected, strict=True):
        np.testing.assert_allclose(slope, reference, rtol=1e-9, atol=5e-9)  # softplus beyond 20: 1, not sigmoid


@every_operator
def test_slopes_are_autograd_of_the_value_at_extreme_operands(operator):
    tensors = [torch.from_numpy(v.astype(np.float64)) for v in operands(operator, EXTREME)]
    expected = autograd(lambda *a: operator.value(TORCH, *a), tensors)
    # Within EPSILON of 0 the slope of sinc, about -pi^2/3 a = -3.3e-6 at most, is taken as 0.
    atol = 3.3e-6 if operator.name == "sinc" else 5e-9
    for slope, reference in zip(partials(operator, TORCH, tensors), expected, strict=True):
        np.testing.assert_allclose(slope, reference, rtol=1e-9, atol=atol)


_TORCH_HAS = {
    "neg": torch.neg, "abs": torch.abs, "square": torch.square, "cube": lambda a: a**3, "exp": torch.exp,
    "sin": torch.sin, "cos": torch.cos, "sinc": torch.sinc, "sinh": torch.sinh, "cosh": torch.cosh,
    "tanh": torch.tanh, "asinh": torch.asinh, "atan": torch.atan, "sigmoid": torch.sigmoid,
    "softplus": functional.softplus, "relu": functional.relu, "erf": torch.erf, "softsign": functional.softsign,
    "hard_sigmoid": functional.hardsigmoid, "elu": functional.elu, "min0": lambda a: torch.clamp(a, max=0.0),
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "max": torch.maximum, "min": torch.minimum,
    "gate": lambda a, b: functional.glu(torch.cat([b, a]), dim=0),
}  # fmt: skip


@pytest.mark.parametrize("name", _TORCH_HAS)
def test_value_and_slope_are_torchs_own(name):
    operator, points = OPERATORS[name], [-20.0, -6, -3, -1, -0.5, -0.0, 0.0, 1e-3, 0.5, 1, 3, 6, 20]
    values = operands(operator, np.array(points))
    tensors = [torch.from_numpy(v) for v in values]
    np.testing.assert_allclose(operator.value(NUMPY, *values), _TORCH_HAS[name](*tensors), rtol=1e-12, atol=1e-12)
    for slope, reference in zip(partials(operator, NUMPY, values), autograd(_TORCH_HAS[name], tensors), strict=True):
        np.testing.assert_allclose(slope, reference, rtol=1e-12, atol=6e-9)  # torch's hardsigmoid has a float32 1/6


@pytest.mark.parametrize(
    ("name", "arguments", "slopes"),
    [
        ("abs", (0.0,), (0.0,)),
        ("relu", (0.0,), (0.0,)),
        ("min0", (0.0,), (1.0,)),
        ("elu", (0.0,), (1.0,)),
        ("softplus", (0.0,), (0.5,)),
        ("sinc", (0.0,), (0.0,)),
        ("hard_sigmoid", (3.0,), (0.0,)),
        ("hard_sigmoid", (-3.0,), (0.0,)),
        ("max", (2.0, 2.0), (0.5, 0.5)),
        ("min", (2.0, 2.0), (0.5, 0.5)),
        ("sqrt", (0.0,), (0.0,)),
        ("log", (0.0,), (0.0,)),
        ("div", (2.0, 0.0), (1e6, 0.0)),
    ],
)
def test_slopes_at_kinks(name, arguments, slopes):
    operator = OPERATORS[name]
    for backend, values in (
        (NUMPY, [np.array([a]) for a in arguments]),
        (TORCH, [torch.tensor([a], dtype=torch.float64) for a in arguments]),
    ):
        assert [p.item() for p in partials(operator, backend, values)] == pytest.approx(list(slopes), rel=1e-12)


def test_guards_are_exact_away_from_the_singular_point():
    away = np.array([EPSILON, 1.0000001e-6, 1e-5, 1e-3, 0.7, 1.0, 3.3, 1e8, 1e300])
    away = np.concatenate([away, -away])
    np.testing.assert_array_equal(OPERATORS["sqrt"].value(NUMPY, away), np.sqrt(np.abs(away)))
    np.testing.assert_array_equal(OPERATORS["log"].value(NUMPY, away), np.log(np.abs(away)))
    np.testing.assert_array_equal(OPERATORS["div"].value(NUMPY, 0.3, away), 0.3 / away)
    tensor = torch.from_numpy(away)
    assert torch.equal(OPERATORS["sqrt"].value(TORCH, tensor), tensor.abs().sqrt())
    assert torch.equal(OPERATORS["log"].value(TORCH, tensor), tensor.abs().log())
    assert torch.equal(OPERATORS["div"].value(TORCH, tensor, tensor.flip(0)), tensor / tensor.flip(0))


def test_guards_are_finite_at_the_singular_point():
    zeros = np.array([0.0, -0.0])
    np.testing.assert_array_equal(OPERATORS["sqrt"].value(NUMPY, zeros), [0.0, 0.0])
    np.testing.assert_allclose(OPERATORS["log"].value(NUMPY, zeros), [-6 * math.log(10)] * 2, rtol=1e-14)
    np.testing.assert_allclose(OPERATORS["div"].value(NUMPY, 3.0, zeros), [3e6, 3e6], rtol=1e-14)


def test_guards_are_continuous():
    inside, outside = np.array([0.999999e-6]), np.array([1.000001e-6])
    for name in ("sqrt", "log"):
        value = OPERATORS[name].value
        np.testing.assert_allclose(value(NUMPY, inside), value(NUMPY, outside), rtol=2e-6)
    # The chord from (0, 0) to (EPSILON, sqrt EPSILON): half way in x is half way in y.
    assert OPERATORS["sqrt"].value(NUMPY, np.array([5e-7]))[0] == pytest.approx(0.5e-3, rel=1e-12)
    assert OPERATORS["div"].value(NUMPY, np.array([1.0]), -inside)[0] == pytest.approx(-1e6, rel=1e-12)


@every_operator
def test_nan_stays_nan(operator):
    """NaN is never turned into a number, neither in arrays nor in constant folding."""
    for i in range(operator.arity):
        values = [float("nan") if i == j else 1.0 for j in range(operator.arity)]
        with np.errstate(invalid="ignore"):
            assert math.isnan(operator.value(NUMPY, *values))
        with np.errstate(invalid="ignore"):
            assert np.isnan(operator.value(NUMPY, *[np.array([v]) for v in values])).all()
        assert operator.value(TORCH, *[torch.tensor([v]) for v in values]).isnan().all()


def test_optional_rules_of_the_table():
    pairs = {(o.name, o.inverse) for o in OPERATORS.values() if o.inverse}
    assert {(b, a) for a, b in pairs} == pairs
    for name, inverse in pairs - {("square", "sqrt"), ("sqrt", "square")}:
        np.testing.assert_allclose(
            OPERATORS[inverse].value(NUMPY, OPERATORS[name].value(NUMPY, np.array([0.3, 1.7]))), [0.3, 1.7], rtol=1e-12
        )
    turned = SMOOTH + 2 * math.pi
    for operator in UNARY:
        comes_again = np.allclose(operator.value(NUMPY, turned), operator.value(NUMPY, SMOOTH), rtol=1e-9, atol=1e-9)
        assert operator.periodic == comes_again, operator.name


@every_operator
def test_pickles_by_name(operator):
    assert pickle.loads(pickle.dumps(operator)) is operator


MEANT = {
    name: getattr(math, name) for name in ("sqrt", "exp", "log", "sin", "cos", "sinh", "cosh", "tanh", "asinh", "atan")
}
MEANT |= {"erf": math.erf, "pi": math.pi, "abs": abs, "max": max, "min": min}
MEANT |= {"sign": lambda a: math.copysign(1, a), "sigmoid": lambda a: 1 / (1 + math.exp(-a))}
MEANT["sinc"] = lambda a: math.sin(math.pi * a) / (math.pi * a)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_what_people_are_told_is_what_is_computed(operator):
    """The texts are evaluated with Python's own functions, away from guards and kinks."""
    meaning = operator.meaning
    assert len(meaning.slopes) == operator.arity
    for a, b in itertools.product((-3.7, -1.2, -0.4, 0.3, 1.1, 2.6), (-2.3, 0.7, 1.9)):
        operands = (a, b)[: operator.arity]
        known = MEANT | dict(zip("ab", operands, strict=False))
        value = operator.value(NUMPY, *operands)
        assert eval(meaning.value, known) == pytest.approx(float(value), rel=1e-12)
        for text, partial in zip(meaning.slopes, operator.partials, strict=True):
            assert eval(text, known) == pytest.approx(float(partial(NUMPY, value, *operands)), rel=1e-12)


def test_every_operator_that_is_guarded_says_so():
    assert {name for name, operator in OPERATORS.items() if "1e-6" in operator.meaning.guard} == {
        "sqrt", "log", "sinc", "div",
    }  # fmt: skip
