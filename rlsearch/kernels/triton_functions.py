"""Float32 functions for the Triton kernel; ``triton_source.py`` copies this file into the module that it writes.

Written from Triton's own primitives alone, since CUDA's library of functions is not there in Triton's interpreter,
and its tanh, log and exp of tensors are either that library's or the hardware's approximations, which are coarse near
0 or far from it. No branch and no table: a choice between two numbers computes both.

The names are those of the backends' functions (``rlsearch/formula/backends.py``); ``tests/kernels`` states the
accuracy. The polynomials and their sources are those of ``numba_functions.py``, but for two: exp takes the hardware's
power of two of a small number, as CUDA's does, and the angle of sin and cos is reduced in three parts by N. Juffa
(stackoverflow.com/questions/30463616).
"""

import triton
import triton.language as tl


@triton.jit
def where(condition, a, b):
    return tl.where(condition, a, b)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def at_least(a, low):
    return tl.maximum(a, low, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def at_most(a, high):
    return tl.minimum(a, high, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def relu(a):
    return at_least(a, 0.0)


@triton.jit
def positive(a):
    return tl.where(a > 0, 1.0, 0.0)


@triton.jit
def sign(a):
    return positive(a) - positive(-a)


@triton.jit
def abs(a):
    return tl.abs(a)


@triton.jit
def sqrt(a):
    return tl.sqrt(a)


@triton.jit
def _bits(a):
    return a.to(tl.int32, bitcast=True)


@triton.jit
def _from_bits(a):
    return a.to(tl.float32, bitcast=True)


@triton.jit
def _with_sign_of(a, b):
    """Returns ``a``, which is not negative, with the sign of ``b``."""
    return _from_bits(_bits(a) | (_bits(b) & -0x80000000))


@triton.jit
def hard_sigmoid(a):
    return at_most(at_least(a + 3.0, 0.0), 6.0) / 6.0


@triton.jit
def exp(a):
    a = at_most(at_least(a, -104.0), 89.0)  # exp of these is 0 and infinite already
    # 12582912 is 1.5 * 2^23: adding it rounds to a whole number, which then stands in the low bits.
    shifted = tl.fma(a, 1.44269504, 12582912.0)
    shifted = at_most(at_least(shifted, 12582786.0), 12583039.0)  # powers from -126 to 127, which are normal numbers
    whole = shifted - 12582912.0
    rest = tl.fma(a, 1.925963033500e-8, tl.fma(a, 1.4426950216293335, -whole))  # log2(e) in two parts
    return tl.exp2(rest) * _from_bits((_bits(shifted) << 23) + 0x3F800000)


@triton.jit
def _expm1(a):
    """Returns ``exp(a) - 1`` for ``a <= 0``."""
    a = at_least(a, -30.0)
    shifted = tl.fma(a, 1.44269504, 12582912.0)
    whole = shifted - 12582912.0
    r = tl.fma(whole, 2.12194440e-4, tl.fma(whole, -0.693359375, a))
    p = tl.fma(r, 1.9875691500e-4, 1.3981999507e-3)
    p = tl.fma(p, r, 8.3334519073e-3)
    p = tl.fma(p, r, 4.1665795894e-2)
    p = tl.fma(p, r, 1.6666665459e-1)
    p = tl.fma(p, r, 5.0000001201e-1)
    scale = _from_bits((_bits(shifted) << 23) + 0x3F800000)
    return tl.fma(tl.fma(p, r * r, r), scale, scale - 1.0)


@triton.jit
def log(a):
    """Of normal numbers, infinity and NaN; the table keeps arguments at ``EPSILON`` or more."""
    bits = _bits(a)
    n = (bits - 0x3F3504F3) >> 23  # so that the mantissa lies within sqrt(1/2) and sqrt(2)
    r = _from_bits(bits - (n << 23)) - 1.0
    n = n.to(tl.float32)
    square = r * r
    p = tl.fma(r, 7.0376836292e-2, -1.1514610310e-1)
    p = tl.fma(p, r, 1.1676998740e-1)
    p = tl.fma(p, r, -1.2420140846e-1)
    p = tl.fma(p, r, 1.4249322787e-1)
    p = tl.fma(p, r, -1.6668057665e-1)
    p = tl.fma(p, r, 2.0000714765e-1)
    p = tl.fma(p, r, -2.4999993993e-1)
    p = tl.fma(p, r, 3.3333331174e-1)
    tail = tl.fma(n, -2.12194440e-4, p * r * square)
    result = tl.fma(n, 0.693359375, tl.fma(square, -0.5, tail) + r)
    return tl.where(a < float("inf"), result, a)


@triton.jit
def _turned(a, quarters):
    """Returns the sine of ``a`` plus a number of quarter turns.

    Good to 1.5e-7 up to four million. Beyond, where neighbouring float32 numbers lie half a radian and more apart,
    the rest may leave its range and is taken as 0.
    """
    shifted = tl.fma(a, 0.636619747, 12582912.0)
    whole = shifted - 12582912.0
    rest = tl.fma(whole, -1.570796012878418, a)
    rest = tl.fma(whole, -3.1391647326017846e-7, rest)
    rest = tl.fma(whole, -5.390302529957765e-15, rest)
    rest = tl.where(tl.abs(rest) > 1.0, 0.0, rest)
    n = _bits(shifted) + quarters
    square = rest * rest
    sine = tl.fma(square, -1.9515295891e-4, 8.3321608736e-3)
    sine = tl.fma(sine, square, -1.6666654611e-1)
    sine = tl.fma(sine * square, rest, rest)
    cosine = tl.fma(square, 2.443315711809948e-5, -1.388731625493765e-3)
    cosine = tl.fma(cosine, square, 4.166664568298827e-2)
    cosine = tl.fma(cosine * square, square, tl.fma(square, -0.5, 1.0))
    result = tl.where((n & 1) == 0, sine, cosine)
    return _from_bits(_bits(result) ^ ((n & 2) << 30))


@triton.jit
def sin(a):
    return _turned(a, 0)


@triton.jit
def cos(a):
    return _turned(a, 1)


@triton.jit
def sinc(a):
    a = 3.14159265 * a
    return tl.where(a == 0, 1.0, sin(a) / a)


@triton.jit
def sinh(a):
    square = a * a
    small = tl.fma(square, 2.03721912945e-4, 8.33028376239e-3)
    small = tl.fma(small, square, 1.66667160211e-1)
    small = tl.fma(small * square, a, a)
    root = exp(0.5 * tl.abs(a))  # exp itself overflows before sinh does
    large = 0.5 * root * root - 0.5 / root / root
    return tl.where(tl.abs(a) < 1.0, small, _with_sign_of(large, a))


@triton.jit
def cosh(a):
    root = exp(0.5 * tl.abs(a))
    return 0.5 * root * root + 0.5 / root / root


@triton.jit
def tanh(a):
    lost = _expm1(-2.0 * tl.abs(a))
    return _with_sign_of(-lost / (lost + 2.0), a)


@triton.jit
def asinh(a):
    size = tl.abs(a)
    square = a * a
    small = tl.fma(square, 2.0122003309e-2, -4.2699340972e-2)
    small = tl.fma(small, square, 7.4847586088e-2)
    small = tl.fma(small, square, -1.6666288134e-1)
    small = tl.fma(small * square, a, a)
    huge = size > 1e9  # where the square may overflow and the root is the argument
    large = log(tl.where(huge, size, size + tl.sqrt(tl.fma(a, a, 1.0)))) + tl.where(huge, 0.693147181, 0.0)
    return tl.where(size < 0.5, small, _with_sign_of(large, a))


@triton.jit
def atan(a):
    size = tl.abs(a)
    steep = size > 2.414213562373095  # tan(3 pi/8)
    middle = size > 0.4142135623730950  # tan(pi/8)
    over = tl.where(steep, -1.0, tl.where(middle, size - 1.0, size))
    under = tl.where(steep, size, tl.where(middle, size + 1.0, 1.0))
    r = over / under
    square = r * r
    p = tl.fma(square, 8.05374449538e-2, -1.38776856032e-1)
    p = tl.fma(p, square, 1.99777106478e-1)
    p = tl.fma(p, square, -3.33329491539e-1)
    p = tl.fma(p * square, r, r)
    return _with_sign_of(p + tl.where(steep, 1.57079633, tl.where(middle, 0.785398163, 0.0)), a)


@triton.jit
def sigmoid(a):
    return 1.0 / (1.0 + exp(-a))


@triton.jit
def softplus(a):
    # max(a, 0) + log(1 + u), and log(1 + u) = 2 artanh(u / (2 + u)), whose series needs eight terms up to 1/3.
    u = exp(-tl.abs(a))
    r = u / (2.0 + u)
    square = r * r
    p = tl.fma(square, 0.0666666667, 0.0769230769)
    p = tl.fma(p, square, 0.0909090909)
    p = tl.fma(p, square, 0.111111111)
    p = tl.fma(p, square, 0.142857143)
    p = tl.fma(p, square, 0.2)
    p = tl.fma(p, square, 0.333333333)
    return relu(a) + 2.0 * tl.fma(p * square, r, r)


@triton.jit
def elu(a):
    return tl.where(a > 0, a, _expm1(at_most(a, 0.0)))


@triton.jit
def erf(a):
    size = tl.abs(a)
    square = a * a
    p = tl.fma(size, -1.72853470e-5, 3.83197126e-4)
    p = tl.fma(p, square, tl.fma(size, -3.88396438e-3, 2.42546219e-2))
    p = tl.fma(p, size, -1.06777877e-1)
    p = tl.fma(p, size, -6.34846687e-1)
    p = tl.fma(p, size, -1.28717512e-1)
    large = 1.0 - exp(tl.fma(p, size, -size))
    p = tl.fma(square, -5.96761703e-4, 4.99119423e-3)
    p = tl.fma(p, square, -2.67681349e-2)
    p = tl.fma(p, square, 1.12819925e-1)
    p = tl.fma(p, square, -3.76125336e-1)
    p = tl.fma(p, square, 1.28379166e-1)
    return tl.where(size > 0.927734375, _with_sign_of(large, a), tl.fma(p, a, a))
