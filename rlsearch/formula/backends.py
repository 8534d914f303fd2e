"""The three readings of an operator: on numpy arrays, on torch tensors, and as Python source.

The operator table (``operators.py``) defines each operator once, in terms of the functions below. Handing it
another backend gives another reading, so value, module and exported source cannot drift apart.

Constants stay Python floats until an operation meets an array. Every function therefore takes floats as well,
and computes on them in float64; arrays keep their own dtype.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from scipy import special

Backend = SimpleNamespace
"""A namespace of the functions in ``UNARY`` plus ``maximum``, ``minimum``, ``clamp`` and ``where``."""


def _np_elu(a: Any) -> Any:
    return np.where(a > 0, a, np.expm1(np.minimum(a, 0)))


def _np_positive(a: Any) -> Any:
    return np.asarray(a > 0, dtype=np.result_type(a))


UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "sinc": np.sinc,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "sigmoid": special.expit,
    "softplus": lambda a: np.logaddexp(a, np.zeros_like(a)),
    "relu": lambda a: np.maximum(a, 0),
    "elu": _np_elu,
    "erf": special.erf,
    "hard_sigmoid": lambda a: np.clip(a + 3, 0, 6) / 6,
    "positive": _np_positive,  # 1 where a > 0, else 0
}
"""The one-argument functions, as numpy computes them."""


def _clamp_float(a: float, low: float | None, high: float | None) -> float:
    if low is not None:
        a = max(a, low)
    if high is not None:
        a = min(a, high)
    return a


def make_backend(
    unary: dict[str, Callable[[Any], Any]],
    maximum: Callable[[Any, Any], Any],
    minimum: Callable[[Any, Any], Any],
    clamp: Callable[[Any, float | None, float | None], Any],
    where: Callable[[Any, Any, Any], Any],
) -> Backend:
    """A backend of array functions, which computes floats as floats.

    Args:
        unary: By the names of ``UNARY``. Without ``"positive"``, which appears in derivatives only, the backend serves
            the values alone.
        maximum: Of two, of which one may be a float.
        minimum: As ``maximum``.
        clamp: Takes the lower and the upper limit, of which one may be None.
        where: Takes a condition, and two of which either may be a float.
    """

    def lift(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        on_float = UNARY[name]
        return lambda a: float(on_float(a)) if isinstance(a, float) else function(a)

    def both_floats(a: Any, b: Any) -> bool:
        return isinstance(a, float) and isinstance(b, float)

    def choose(condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, bool):
            return a if condition else b
        return where(condition, a, b)

    return SimpleNamespace(
        **{name: lift(name, function) for name, function in unary.items()},
        # numpy's, because Python's max(1.0, nan) is 1.0
        maximum=lambda a, b: float(np.maximum(a, b)) if both_floats(a, b) else maximum(a, b),
        minimum=lambda a, b: float(np.minimum(a, b)) if both_floats(a, b) else minimum(a, b),
        clamp=lambda a, low=None, high=None: (_clamp_float if isinstance(a, float) else clamp)(a, low, high),
        where=choose,
    )


NUMPY: Backend = make_backend(UNARY, np.maximum, np.minimum, np.clip, np.where)


FLOAT32_MAX = float(np.finfo(np.float32).max)

NEAR_ZERO = 1e-4
"""Below this size torch and exported source compute sinc by its series.

Float32 rounds both to 1 there. Above it torch's own second derivative has eight digits in float64.
"""


def smooth_sinc(f: Any, a: Any, sinc: Callable[[Any], Any], named: Callable[[Any], Any] = lambda a: a) -> Any:
    """``sinc(a)`` with derivatives of every order at 0, where torch's second is 0 / 0.

    Args:
        f: The backend.
        a: The operand.
        sinc: Computes it away from 0.
        named: Called on what is used more than once.
    """
    # Autograd differentiates both sides of a where, so each is given numbers at which its derivatives are finite.
    a = named(a)
    near = named(f.abs(a) < NEAR_ZERO)
    small = named(f.clamp(a, -NEAR_ZERO, NEAR_ZERO))
    square = named(small * small)
    # 1 - (pi a)^2 / 6 + (pi a)^4 / 120: right up to the fifth derivative at 0.
    series = 1.0 - square * (math.pi**2 / 6 - math.pi**4 / 120 * square)
    return f.where(near, series, sinc(f.where(near, 1.0, a)))


def clamped_hard_sigmoid(a: Any, relu6: Callable[[Any], Any]) -> Any:
    """As torch's hardsigmoid, which has no second derivative, to the last bit of a float32."""
    return relu6(a + 3.0) / 6.0


@lru_cache(maxsize=1)
def torch_backend() -> Backend:
    """The backend on torch tensors that hold floats; torch is imported at the first call."""
    import torch
    from torch.nn import functional

    def binary(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        # torch.maximum takes tensors only; a 0-d CPU tensor broadcasts on every device without a copy to it.
        def call(a: Any, b: Any) -> Any:
            if isinstance(a, float):
                a = torch.tensor(a, dtype=b.dtype)
            elif isinstance(b, float):
                b = torch.tensor(b, dtype=a.dtype)
            return function(a, b)

        return call

    names: dict[str, Callable[[Any], Any]] = {
        "relu": torch.relu,
        "elu": functional.elu,
        "softplus": functional.softplus,
        "hard_sigmoid": lambda a: clamped_hard_sigmoid(a, functional.relu6),
        "positive": lambda a: (a > 0).to(a.dtype),
        "sinc": lambda a: smooth_sinc(torch, a, torch.sinc),
    }
    unary = {name: names.get(name) or getattr(torch, name) for name in UNARY}
    return make_backend(unary, binary(torch.maximum), binary(torch.minimum), torch.clamp, torch.where)


class SourceText:
    """A piece of Python source that stands for a tensor; arithmetic on it writes more source.

    A subclass may write constants in another way.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def of(cls, a: Any) -> str:
        """The source of ``a``, a piece of source or a constant."""
        if isinstance(a, SourceText):
            return a.text
        return cls.constant(a)

    @staticmethod
    def constant(a: float) -> str:
        """Writes a constant."""
        return repr(a) if math.isfinite(a) else f'float("{a!r}")'

    def _joined(self, left: Any, symbol: str, right: Any) -> Self:
        return type(self)(f"({self.of(left)} {symbol} {self.of(right)})")

    def __neg__(self) -> Self:
        return type(self)(f"(-{self.text})")

    def __add__(self, other: Any) -> Self:
        return self._joined(self, "+", other)

    def __radd__(self, other: Any) -> Self:
        return self._joined(other, "+", self)

    def __sub__(self, other: Any) -> Self:
        return self._joined(self, "-", other)

    def __rsub__(self, other: Any) -> Self:
        return self._joined(other, "-", self)

    def __mul__(self, other: Any) -> Self:
        return self._joined(self, "*", other)

    def __rmul__(self, other: Any) -> Self:
        return self._joined(other, "*", self)

    def __truediv__(self, other: Any) -> Self:
        return self._joined(self, "/", other)

    def __rtruediv__(self, other: Any) -> Self:
        return self._joined(other, "/", self)

    def __lt__(self, other: Any) -> Self:
        return self._joined(self, "<", other)

    def __gt__(self, other: Any) -> Self:
        return self._joined(self, ">", other)


def without_parentheses(text: str) -> str:
    """Drops one pair of parentheses around the whole of ``text``."""
    if not text.startswith("("):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1]


def source_call(function: str) -> Callable[..., SourceText]:
    """Writes calls of ``function``."""

    def call(*arguments: Any) -> SourceText:
        texts = [without_parentheses(SourceText.of(a)) for a in arguments]
        return SourceText(f"{function}({', '.join(texts)})")

    return call


def _source_binary(function: str) -> Callable[[Any, Any], SourceText]:
    # torch.maximum takes tensors only.
    def call(a: Any, b: Any) -> SourceText:
        like = a if isinstance(a, SourceText) else b
        return source_call(function)(_source_tensor(a, like), _source_tensor(b, like))

    return call


def _source_tensor(a: Any, like: SourceText) -> SourceText:
    """A tensor without dimensions of a constant; a piece of source as it is."""
    if isinstance(a, SourceText):
        return a
    # Unlike torch.tensor, new_full can be traced symbolically; but it refuses what a product rounds to infinity.
    if FLOAT32_MAX < abs(a) < math.inf:
        return SourceText(f"({like.text}.new_ones(()) * {SourceText.of(a)})")
    return SourceText(f"{like.text}.new_full((), {SourceText.of(a)})")


def _source_clamp(a: SourceText, low: float | None, high: float | None) -> SourceText:
    limits = {"min": low, "max": high}
    given = [f"{name}={SourceText.of(value)}" for name, value in limits.items() if value is not None]
    return SourceText(f"torch.clamp({a.text}, {', '.join(given)})")


_FUNCTIONAL = {"elu": "elu", "softplus": "softplus"}


def source_backend(named: Callable[[SourceText], SourceText]) -> Backend:
    """The backend that writes torch code.

    Args:
        named: Gives a name to a piece of source, which is used more than once.
    """
    unary = {
        name: source_call(f"torch.nn.functional.{_FUNCTIONAL[name]}" if name in _FUNCTIONAL else f"torch.{name}")
        for name in UNARY
        if name != "positive"  # appears in derivatives only, and source is differentiated by autograd
    }
    torch_sinc, relu6 = unary["sinc"], source_call("torch.nn.functional.relu6")
    unary["sinc"] = lambda a: smooth_sinc(backend, a, torch_sinc, named)
    unary["hard_sigmoid"] = lambda a: clamped_hard_sigmoid(a, relu6)
    backend = make_backend(
        unary,
        _source_binary("torch.maximum"),
        _source_binary("torch.minimum"),
        _source_clamp,
        source_call("torch.where"),
    )
    return backend
