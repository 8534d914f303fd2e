"""Products of matrices for :mod:`rlsearch.proxies.trainers.native_step`, by the BLAS that scipy brings.

Its address is an argument, since numba keeps no machine code that contains one. ``np.dot`` is the other way to BLAS;
it adds nothing up, and takes no part of a matrix.
"""

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

SMALL_PRODUCT = 1_000_000
"""Multiply-adds up to which OpenBLAS does not copy the operands first (sgemm_small_kernel_permit_skylakex.c)."""


@intrinsic
def _sgemm(typing, address, a_turned, b_turned, m, n, k, a, a_step, b, b_step, c):
    """Calls BLAS for ``c[m, n] += a[m, k] @ b[k, n]``, row-major; a step leads from one stored row to the next."""
    flags, sizes = [numba.boolean] * 2, [numba.int64] * 3
    signature = numba.void(numba.int64, *flags, *sizes, a, numba.int64, b, numba.int64, c)

    def generate(context, builder, signature, arguments):
        real, integer, character = ir.FloatType(), ir.IntType(32), ir.IntType(8)
        address, a_turned, b_turned, m, n, k, _, a_step, _, b_step, _ = arguments

        def data(at):
            return context.make_array(signature.args[at])(context, builder, arguments[at]).data

        def passed(value):
            return cgutils.alloca_once_value(builder, value)

        def number(value):
            return passed(builder.trunc(value, integer))

        def letter(turned):
            return passed(builder.select(turned, character(ord("T")), character(ord("N"))))

        # BLAS is column-major: it sees every matrix transposed, and computes c.T = b.T @ a.T.
        one = passed(real(1.0))
        call = [letter(b_turned), letter(a_turned), number(n), number(m), number(k), one, data(8), number(b_step)]
        call += [data(6), number(a_step), one, data(10), number(n)]
        function = ir.FunctionType(ir.VoidType(), [each.type for each in call])
        builder.call(builder.inttoptr(address, function.as_pointer()), call)
        return context.get_dummy_value()

    return signature, generate


@numba.njit(error_model="numpy")
def add_product(sgemm, a_turned, b_turned, m, n, k, a, b, c):
    """Computes ``c[m, n] += a[m, k] @ b[k, n]``; where turned, a is stored as ``[k, m]`` and b as ``[n, k]``.

    All are flat arrays of float32; ``sgemm`` is the address of BLAS's function. A product that is little larger than
    what OpenBLAS computes without copying the operands first is cut into two to four: half as fast again on AVX-512.
    """
    pieces = (m * n * k + SMALL_PRODUCT - 1) // SMALL_PRODUCT
    rows = m
    if pieces <= 4 and not b_turned:
        rows = ((m + pieces - 1) // pieces + 3) // 4 * 4
    a_step, b_step = m if a_turned else k, k if b_turned else n
    for start in range(0, m, rows):
        first = a[start if a_turned else start * k :]
        _sgemm(sgemm, a_turned, b_turned, min(rows, m - start), n, k, first, a_step, b, b_step, c[start * n :])
