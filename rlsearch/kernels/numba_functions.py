"""Float32 functions for the numba kernel, written so that LLVM turns a loop over them into vector instructions.

Calls of the C library cannot be vectorised and made formulas ten times slower (and Intel's SVML does not work with
the wheels of llvmlite), so every function here is arithmetic alone: no branch, no table, no call. A choice between
two numbers is a :func:`where`, which computes both.

No fast-math flag is set and every fused multiply-add is written out: a function has the same bits wherever it is
compiled into, so a member's bits depend neither on its neighbours nor on whether slopes are wanted.

The names are those of the backends' functions (``rlsearch/formula/backends.py``); ``tests/kernels`` states the
accuracy, 1 to 4 units in the last place.

Sources: exp, log, sin, cos, atan, asinh and sinh have the polynomials of Moshier's Cephes 2.2, single precision
(netlib.org/cephes). erf is N. Juffa's up to 475/512 (stackoverflow.com/questions/35148198); the polynomial beyond was
fitted to scipy's erfcx on [475/512, 4] by reweighted least squares, with an error below 0.1 units in the last place.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

Function = Callable[..., Any]

compiled = numba.njit(forceinline=True, error_model="numpy")  # a division tests for 0 under Python's error model
F = numba.float32
_I = numba.int32

LOG2_E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4  # log(2) in two parts, the first with so few bits that n * it is exact
ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds to a whole number, which then stands in the low bits
ROUND64 = 6755399441055744.0  # the same in float64: 1.5 * 2^52


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Returns ``a * b + c``, rounded once where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        name = f"llvm.fmuladd.{'f32' if kind == ir.FloatType() else 'f64'}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, arguments)

    return a(a, a, a), generate


@intrinsic
def sqrt(typing: Any, a: Any) -> Any:
    """Returns the square root, NaN for negative numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), "llvm.sqrt.f32")
        return builder.call(function, arguments)

    return a(a), generate


@intrinsic
def _bits(typing: Any, a: Any) -> Any:
    return _I(F), lambda context, builder, signature, arguments: builder.bitcast(arguments[0], ir.IntType(32))


@intrinsic
def _from_bits(typing: Any, a: Any) -> Any:
    return F(_I), lambda context, builder, signature, arguments: builder.bitcast(arguments[0], ir.FloatType())


@intrinsic
def where(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """Returns ``a`` or ``b``, both of which are computed.

    A conditional expression is a jump, behind which LLVM moves what only one side needs; it then computes that anew
    where a slope needs it too.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(numba.boolean, a, a), generate


# Comparisons with NaN are false: each of the following is turned so that NaN comes through.
@compiled
def maximum(a, b):
    return where((a > b) | (a != a), a, b)


@compiled
def minimum(a, b):
    return where((a < b) | (a != a), a, b)


@compiled
def at_least(a, low):
    return where(a < low, low, a)


@compiled
def at_most(a, high):
    return where(a > high, high, a)


@compiled
def relu(a):
    return at_least(a, F(0))


@compiled
def positive(a):
    return where(a > F(0), F(1), F(0))


@compiled
def sign(a):
    return positive(a) - positive(-a)


@compiled
def abs(a):
    return _from_bits(_bits(a) & _I(0x7FFFFFFF))


@compiled
def _with_sign_of(a, b):
    """Returns ``a``, which is not negative, with the sign of ``b``."""
    return _from_bits(_bits(a) | (_bits(b) & _I(-0x80000000)))


@compiled
def hard_sigmoid(a):
    return at_most(at_least(a + F(3), F(0)), F(6)) / F(6)


@compiled
def _power_of_two(n):
    return _from_bits((n + _I(127)) << _I(23))


@compiled
def exp(a):
    a = at_most(at_least(a, F(-104)), F(89))  # exp of these is 0 and infinite already
    shifted = fma(a, F(LOG2_E), F(ROUND))
    n = _I(_bits(shifted) - _bits(F(ROUND)))
    whole = shifted - F(ROUND)
    r = fma(whole, F(-LN2_LOW), fma(whole, F(-LN2_HIGH), a))
    p = fma(F(1.9875691500e-4), r, F(1.3981999507e-3))
    p = fma(p, r, F(8.3334519073e-3))
    p = fma(p, r, F(4.1665795894e-2))
    p = fma(p, r, F(1.6666665459e-1))
    p = fma(p, r, F(5.0000001201e-1))
    p = fma(p, r * r, r) + F(1)
    half = _I(n >> _I(1))  # 2^n itself may be neither a normal number nor finite where the result is
    return p * _power_of_two(half) * _power_of_two(n - half)


@compiled
def _expm1(a):
    """Returns ``exp(a) - 1`` for ``a <= 0``."""
    a = at_least(a, F(-30))
    shifted = fma(a, F(LOG2_E), F(ROUND))
    n = _I(_bits(shifted) - _bits(F(ROUND)))
    whole = shifted - F(ROUND)
    r = fma(whole, F(-LN2_LOW), fma(whole, F(-LN2_HIGH), a))
    p = fma(F(1.9875691500e-4), r, F(1.3981999507e-3))
    p = fma(p, r, F(8.3334519073e-3))
    p = fma(p, r, F(4.1665795894e-2))
    p = fma(p, r, F(1.6666665459e-1))
    p = fma(p, r, F(5.0000001201e-1))
    scale = _power_of_two(n)
    return fma(fma(p, r * r, r), scale, scale - F(1))


@compiled
def log(a):
    """Of normal numbers, infinity and NaN; the table keeps arguments at ``EPSILON`` or more."""
    bits = _bits(a)
    n = _I(_I(bits - _I(0x3F3504F3)) >> _I(23))  # so that the mantissa lies within sqrt(1/2) and sqrt(2)
    r = _from_bits(bits - (n << _I(23))) - F(1)
    n = F(n)
    square = r * r
    p = fma(F(7.0376836292e-2), r, F(-1.1514610310e-1))
    p = fma(p, r, F(1.1676998740e-1))
    p = fma(p, r, F(-1.2420140846e-1))
    p = fma(p, r, F(1.4249322787e-1))
    p = fma(p, r, F(-1.6668057665e-1))
    p = fma(p, r, F(2.0000714765e-1))
    p = fma(p, r, F(-2.4999993993e-1))
    p = fma(p, r, F(3.3333331174e-1))
    tail = fma(n, F(LN2_LOW), p * r * square)
    result = fma(n, F(LN2_HIGH), fma(F(-0.5), square, tail) + r)
    return where(a < F(math.inf), result, a)


@intrinsic
def _low_bits(typing: Any, a: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.trunc(builder.bitcast(arguments[0], ir.IntType(64)), ir.IntType(32))

    return _I(numba.float64), generate


@compiled
def _turned(a, quarters):
    """Returns the sine of ``a`` plus a number of quarter turns.

    The argument is reduced in float64, exactly enough up to 1e15. Beyond, where neighbouring float32 numbers lie many
    turns apart, the rest may leave its range and is taken as 0.
    """
    wide = numba.float64(a)
    shifted = fma(wide, 2 / math.pi, ROUND64)
    whole = shifted - ROUND64
    rest = fma(whole, -6.123233995736766e-17, fma(whole, -math.pi / 2, wide))
    rest = F(where((rest > 1.0) | (rest < -1.0), 0.0, rest))
    n = _I(_low_bits(shifted) + _I(quarters))
    square = rest * rest
    sine = fma(F(-1.9515295891e-4), square, F(8.3321608736e-3))
    sine = fma(sine, square, F(-1.6666654611e-1))
    sine = fma(sine * square, rest, rest)
    cosine = fma(F(2.443315711809948e-5), square, F(-1.388731625493765e-3))
    cosine = fma(cosine, square, F(4.166664568298827e-2))
    cosine = fma(cosine * square, square, fma(F(-0.5), square, F(1)))
    result = where((n & _I(1)) == _I(0), sine, cosine)
    return _from_bits(_bits(result) ^ ((n & _I(2)) << _I(30)))


@compiled
def sin(a):
    return _turned(a, 0)


@compiled
def cos(a):
    return _turned(a, 1)


@compiled
def sinc(a):
    a = F(math.pi) * a
    return where(a == F(0), F(1), sin(a) / a)


@compiled
def sinh(a):
    square = a * a
    small = fma(F(2.03721912945e-4), square, F(8.33028376239e-3))
    small = fma(small, square, F(1.66667160211e-1))
    small = fma(small * square, a, a)
    root = exp(F(0.5) * abs(a))  # exp itself overflows before sinh does
    large = F(0.5) * root * root - F(0.5) / root / root
    return where(abs(a) < F(1), small, _with_sign_of(large, a))


@compiled
def cosh(a):
    root = exp(F(0.5) * abs(a))
    return F(0.5) * root * root + F(0.5) / root / root


@compiled
def tanh(a):
    lost = _expm1(F(-2) * abs(a))
    return _with_sign_of(-lost / (lost + F(2)), a)


@compiled
def asinh(a):
    size = abs(a)
    square = a * a
    small = fma(F(2.0122003309e-2), square, F(-4.2699340972e-2))
    small = fma(small, square, F(7.4847586088e-2))
    small = fma(small, square, F(-1.6666288134e-1))
    small = fma(small * square, a, a)
    huge = size > F(1e9)  # where the square may overflow and the root is the argument
    large = log(where(huge, size, size + sqrt(fma(a, a, F(1))))) + where(huge, F(math.log(2)), F(0))
    return where(size < F(0.5), small, _with_sign_of(large, a))


@compiled
def atan(a):
    size = abs(a)
    steep, middle = size > F(2.414213562373095), size > F(0.4142135623730950)  # tan(3 pi/8), tan(pi/8)
    over = where(steep, F(-1), where(middle, size - F(1), size))
    under = where(steep, size, where(middle, size + F(1), F(1)))
    r = over / under
    square = r * r
    p = fma(F(8.05374449538e-2), square, F(-1.38776856032e-1))
    p = fma(p, square, F(1.99777106478e-1))
    p = fma(p, square, F(-3.33329491539e-1))
    p = fma(p * square, r, r)
    return _with_sign_of(p + where(steep, F(math.pi / 2), where(middle, F(math.pi / 4), F(0))), a)


@compiled
def sigmoid(a):
    small = exp(-abs(a))  # as in softplus, whose slope this is
    return where(a < F(0), small, F(1)) / (F(1) + small)


@compiled
def softplus(a):
    # max(a, 0) + log(1 + u), and log(1 + u) = 2 artanh(u / (2 + u)), whose series needs eight terms up to 1/3.
    u = exp(-abs(a))
    r = u / (F(2) + u)
    square = r * r
    p = fma(F(1 / 15), square, F(1 / 13))
    p = fma(p, square, F(1 / 11))
    p = fma(p, square, F(1 / 9))
    p = fma(p, square, F(1 / 7))
    p = fma(p, square, F(1 / 5))
    p = fma(p, square, F(1 / 3))
    return relu(a) + F(2) * fma(p * square, r, r)


@compiled
def elu(a):
    return where(a > F(0), a, _expm1(at_most(a, F(0))))


@compiled
def erf(a):
    # Far out 1 - exp(-a^2) erfcx(a): the slope needs this exp too, and LLVM, which writes it so, computes it once.
    size = abs(a)
    beyond = at_most(size, F(4)) - F(1)
    p = fma(F(-1.28306230e-04), beyond, F(1.19973696e-03))
    p = fma(p, beyond, F(-5.28327236e-03))
    p = fma(p, beyond, F(1.55967735e-02))
    p = fma(p, beyond, F(-3.72140780e-02))
    p = fma(p, beyond, F(7.91763738e-02))
    p = fma(p, beyond, F(-1.54371440e-01))
    p = fma(p, beyond, F(2.73212343e-01))
    p = fma(p, beyond, F(-4.27583575e-01))
    square = a * a
    large = fma(exp(a * -a), p, F(1))
    p = fma(F(-5.96761703e-4), square, F(4.99119423e-3))
    p = fma(p, square, F(-2.67681349e-2))
    p = fma(p, square, F(1.12819925e-1))
    p = fma(p, square, F(-3.76125336e-1))
    p = fma(p, square, F(1.28379166e-1))
    return where(size > F(475 / 512), _with_sign_of(large, a), fma(p, a, a))
