"""Sums for :mod:`rlsearch.proxies.trainers.native_step`, split into vectors.

Their order is fixed by their length alone, and NaN stays NaN.
"""

import numba

from rlsearch.kernels.numba_functions import F

compiled = numba.njit(error_model="numpy", fastmath={"reassoc"})


@compiled
def sum_of(a):
    """The sum of an array of float32."""
    total = F(0)
    for i in range(a.size):
        total += a[i]
    return total


@compiled
def sum_of_products(a, b):
    """The sum of the products of two arrays of float32."""
    total = F(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total
