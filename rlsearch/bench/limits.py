"""What the machine does at most: copies, products and multiplications, by the libraries that are there."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from rlsearch.common.device import device_type, is_cpu
from rlsearch.common.timing import Clock, in_turn
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.starts import scored_after, steps_of

PIECE_SECONDS = 0.02
"""What one timed piece lasts."""

ROUNDS = 5

PRODUCTS_PER_CALL = {"cpu": (1, 16), "cuda": (1, 16, 1024)}
"""Of torch's batched product, by type of device."""

NATIVE = "scipy's BLAS"

NUMBERS_IN_CACHE = 2**13
"""Three arrays of so many float32 numbers stay in a core's second-level cache."""


def copying(numbers: int, device: str, dtype: torch.dtype) -> Callable[[], object]:
    """A call that copies ``numbers``, each of which is read once and written once."""
    source = torch.ones(numbers, device=device, dtype=dtype)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def multiplication_rate(clock: Clock) -> float:
    """Products of two float32 numbers per second, of arrays that stay in cache, on one core."""
    a, b = (np.full(NUMBERS_IN_CACHE, value, dtype=np.float32) for value in (0.5, 1.5))
    out = np.empty_like(a)
    times = in_turn({"": lambda: np.multiply(a, b, out=out)}, ROUNDS, clock, piece=PIECE_SECONDS)
    return NUMBERS_IN_CACHE / float(np.median(times[""]))


def product_rate(settings: ProxySettings, device: str, clock: Clock) -> tuple[float, str]:
    """Floating-point operations per second of a training step's products, and the library that does them.

    It is the fastest of those that trainers use, on one thread and in its best round: torch's, alone or many in a
    call, and where numba is installed the one that the native trainer calls.

    Args:
        settings: The proxy.
        device: Where.
        clock: For that device.
    """
    products = step_products(settings)
    many = PRODUCTS_PER_CALL[device_type(device)]
    ways = {f"{k}": _multiplying(products, k, device) for k in many}
    if is_cpu(device) and find_spec("numba") is not None:
        from rlsearch.bench.native_products import multiplying  # numba is optional

        ways[NATIVE] = multiplying(layer_sizes(settings), settings.batch_size, _learns_inputs(settings))
    # scipy's BLAS is loaded by now, and is limited too.
    with threadpool_limits(1, user_api="blas"):
        times = in_turn(ways, ROUNDS, clock, piece=PIECE_SECONDS)
    seconds = {"torch": min(float(times[f"{k}"].min()) / k for k in many)}
    if NATIVE in times:
        seconds[NATIVE] = float(times[NATIVE].min())
    fastest = min(seconds, key=seconds.__getitem__)
    return operations(products) / seconds[fastest], fastest


def operations(products: Sequence[tuple[int, int, int]]) -> float:
    """Additions and multiplications that the products take."""
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


def layer_sizes(settings: ProxySettings) -> list[tuple[int, int, int]]:
    """Positions, inputs and outputs of the layers of a proxy's network; convolutions see windows."""
    return [(layer.positions, layer.inputs, layer.outputs) for layer in NETWORKS[settings.network].layers(settings)]


def _learns_inputs(settings: ProxySettings) -> bool:
    """Whether the gradient of the first layer's inputs is needed: that of the tokens' table is made from it."""
    return settings.data.n_tokens is not None


def step_products(settings: ProxySettings) -> list[tuple[int, int, int]]:
    """The products of one training step: outputs, weights' gradients, and inputs' where they are learned."""
    products = []
    for i, (per_example, a, b) in enumerate(layer_sizes(settings)):
        rows = per_example * settings.batch_size
        products += [(rows, a, b), (a, rows, b)]
        if i or _learns_inputs(settings):
            products.append((rows, b, a))
    return products


def operations_per_candidate(settings: ProxySettings) -> float:
    """Floating-point operations of the products of one training and its scoring."""
    train, validation, _ = settings.sizes
    steps = steps_of(settings, train)
    # Outside of the range of training there are as many examples again.
    scored = len(scored_after(settings, steps)) * validation * (2 if settings.outside_weight else 1)
    scoring = operations([(rows * scored, a, b) for rows, a, b in layer_sizes(settings)])
    return steps * operations(step_products(settings)) + scoring
