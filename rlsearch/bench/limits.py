"""What the machine does at most: copies, products and multiplications, by the libraries that are there."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from rlsearch.bench.timing import Clock, in_turn
from rlsearch.proxies.data import N_CLASSES
from rlsearch.proxies.settings import ProxySettings

_PIECE = 0.02  # seconds
_ROUNDS = 5
_TOGETHER = (1, 16, 1024)  # products in one call; the last on a GPU alone
_MULTIPLIED = 2**13  # float32 numbers: three arrays of them stay in a core's second-level cache
_POSITIONS = 20  # of the first convolution's output; each layer halves them
_WINDOW = 4


def copying(numbers: int, device: str, dtype: torch.dtype) -> Callable[[], object]:
    """Returns a call that copies ``numbers``, each of which is read once and written once."""
    source = torch.ones(numbers, device=device, dtype=dtype)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def multiplication_rate(clock: Clock) -> float:
    """Returns products of two float32 numbers per second, of arrays that stay in cache, on one core."""
    a, b = (np.full(_MULTIPLIED, value, dtype=np.float32) for value in (0.5, 1.5))
    out = np.empty_like(a)
    times = in_turn({"": lambda: np.multiply(a, b, out=out)}, _ROUNDS, clock, piece=_PIECE)
    return _MULTIPLIED / float(np.median(times[""]))


def product_rate(products: Sequence[tuple[int, int, int]], device: str, clock: Clock) -> float:
    """Returns the floating-point operations per second of matrix products, alone or many in a call, what is faster.

    Args:
        products: Rows, inner size and columns of the products, which are done in turn.
        device: Where.
        clock: For that device.
    """
    many = _TOGETHER if torch.device(device).type == "cuda" else _TOGETHER[:-1]
    times = in_turn({f"{k}": _multiplying(products, k, device) for k in many}, _ROUNDS, clock, piece=_PIECE)
    each = min(float(np.median(seconds)) / int(k) for k, seconds in times.items())
    return operations(products) / each


def operations(products: Sequence[tuple[int, int, int]]) -> float:
    """Returns how many additions and multiplications the products take."""
    return sum(2.0 * rows * inner * columns for rows, inner, columns in products)


def _multiplying(products: Sequence[tuple[int, int, int]], together: int, device: str) -> Callable[[], object]:
    operands = [
        (
            torch.randn(together, rows, inner, device=device),
            torch.randn(together, inner, columns, device=device),
            torch.empty(together, rows, columns, device=device),
        )
        for rows, inner, columns in products
    ]

    def multiply() -> None:
        for a, b, out in operands:
            torch.bmm(a, b, out=out)

    return multiply


def layer_sizes(settings: ProxySettings, n_features: int) -> list[tuple[int, int, int]]:
    """Returns rows per example, inputs and outputs of the layers of a proxy's network; convolutions see windows."""
    if settings.network == "mlp":
        widths = (n_features, *settings.widths, N_CLASSES)
        return [(1, a, b) for a, b in pairwise(widths)]
    channels = (1, *settings.widths)
    layers = [
        (_POSITIONS >> i, a * _WINDOW, b) for i, (a, b) in enumerate(zip(channels, settings.widths, strict=False))
    ]
    return [*layers, (1, settings.widths[-1], N_CLASSES)]


def step_products(settings: ProxySettings, n_features: int) -> list[tuple[int, int, int]]:
    """Returns the products of one training step: outputs, weights' gradients, and inputs' from the second layer on."""
    products = []
    for i, (per_example, a, b) in enumerate(layer_sizes(settings, n_features)):
        rows = per_example * settings.batch_size
        products += [(rows, a, b), (a, rows, b), *([(rows, b, a)] if i else [])]
    return products


def operations_per_candidate(settings: ProxySettings, n_features: int) -> float:
    """Returns the floating-point operations of the products of one training and its scoring."""
    train, validation, _ = settings.sizes
    steps = settings.epochs * (train // settings.batch_size)
    scoring = operations([(rows * validation, a, b) for rows, a, b in layer_sizes(settings, n_features)])
    return steps * operations(step_products(settings, n_features)) + scoring
