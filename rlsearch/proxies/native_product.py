"""Products of matrices for :mod:`rlsearch.proxies.native_step`, by the BLAS that scipy brings.

Its address is an argument, since numba keeps no machine code that contains one. ``np.dot`` is the other way to BLAS;
it adds nothing up, and takes no part of a matrix.
"""

import numba
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

_SMALL, _SMALL_TURNED = 1_000_000, 1200  # see add_product


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
def add_product(blas, a_turned, b_turned, m, n, k, a, b, c):
    """Computes ``c[m, n] += a[m, k] @ b[k, n]``; where turned, a is stored as ``[k, m]`` and b as ``[n, k]``.

    All are flat arrays of float32. ``blas`` is the address of its sgemm, and whether it gains from small products.
    Where OpenBLAS can, in pieces that it takes as they are instead of copying them first, which is up to twice as
    fast: up to 10^6 multiply-adds, and 1200 results if b is turned (its sgemm_small_kernel_permit_skylakex.c).
    """
    address, takes_pieces = blas
    rows = m
    if takes_pieces:
        pieces = (m * n * k + _SMALL - 1) // _SMALL
        fitting = ((m + pieces - 1) // pieces + 3) // 4 * 4
        if b_turned:
            fitting = min(fitting, _SMALL_TURNED // n)
        if fitting >= 8:
            rows = fitting
    a_step, b_step = m if a_turned else k, k if b_turned else n
    for start in range(0, m, rows):
        first = a[start if a_turned else start * k :]
        _sgemm(address, a_turned, b_turned, min(rows, m - start), n, k, first, a_step, b, b_step, c[start * n :])
