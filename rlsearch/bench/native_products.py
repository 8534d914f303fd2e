"""The products of the native trainer's steps without all that stands between them."""

from collections.abc import Callable, Sequence

import numba
import numpy as np
import torch
from numba.extending import get_cython_function_address

from rlsearch.proxies.trainers.native_product import add_product


def native_products(
    layers: Sequence[tuple[int, int, int]], batch: int, learns_inputs: bool = False
) -> list[tuple[bool, bool, int, int, int]]:
    """The products of one training step as the trainer does them: one of each kind per position of a layer.

    Args:
        layers: Positions, inputs and outputs; see :func:`~rlsearch.bench.limits.layer_sizes`.
        batch: Examples.
        learns_inputs: Whether the gradient of the first layer's inputs is computed too.

    Returns:
        Whether the operands are turned, and the sizes, as
        :func:`~rlsearch.proxies.trainers.native_product.add_product` takes them.
    """
    products = []
    for i, (positions, a, b) in enumerate(layers):
        back = [(False, False, a, batch, b)] if i or learns_inputs else []
        products += positions * [(True, False, b, batch, a), (False, True, a, b, batch), *back]
    return products


def multiplying(
    layers: Sequence[tuple[int, int, int]], batch: int, learns_inputs: bool = False
) -> Callable[[], object]:
    """A call that does the products of one training step; their operands share memory and stay in cache."""
    products = np.array(native_products(layers, batch, learns_inputs))
    m, n, k = products[:, 2:].T
    # torch's memory is aligned.
    a, b, c = (torch.randn(int(size.max())).numpy() for size in (m * k, k * n, m * n))
    sgemm = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    return lambda: _multiply(sgemm, products, a, b, c)


@numba.njit(error_model="numpy")
def _multiply(sgemm, products, a, b, c):
    for i in range(len(products)):
        a_turned, b_turned = products[i, 0] == 1, products[i, 1] == 1
        add_product(sgemm, a_turned, b_turned, products[i, 2], products[i, 3], products[i, 4], a, b, c)
