"""The formula: a frozen value that knows how to read, print, evaluate, identify and export itself."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import FormulaError
from rlsearch.formula import printing
from rlsearch.formula.backends import NUMPY, torch_backend
from rlsearch.formula.display import formula_html
from rlsearch.formula.parsing import parse_tokens
from rlsearch.formula.program import Program, compile_program, run
from rlsearch.formula.source import module_source, signature
from rlsearch.formula.tokens import (
    MAX_SIZE,
    Token,
    arity,
    depth_of,
    inputs_of,
    is_input,
    is_parameter,
    letter_of,
    parameters_of,
    plain_token,
)

if TYPE_CHECKING:
    from rlsearch.formula.module import Activation


@dataclass(frozen=True, slots=True)
class Formula:
    """A complete prefix sequence of tokens, independent of any vocabulary.

    Equality is of spelling; two spellings of one function share their :attr:`fingerprint`.

    A letter ``a`` to ``d`` is a parameter, a number that is trained with the network that the formula is used in. Its
    start value stands behind an at sign: ``x * sigmoid(b@1 * x)``; ``b`` alone is ``b@1``.

    Attributes:
        tokens: Operators and inputs by name, parameters with their start value, constants as finite floats, in prefix
            (Polish) order.

    Raises:
        FormulaError: If a token is unknown, the sequence is incomplete or too long, it contains no input, or a
            parameter has two start values.

    Example:
        >>> silu = Formula.parse("x * sigmoid(x)")
        >>> silu.tokens
        ('mul', 'x', 'sigmoid', 'x')
        >>> float(silu(0.0))
        0.0
    """

    tokens: tuple[Token, ...]

    def __post_init__(self) -> None:
        if isinstance(self.tokens, str):
            raise FormulaError(f"expected tokens, got the text {self.tokens!r}; write Formula.parse({self.tokens!r})")
        try:
            # + 0.0 turns -0.0 to 0.0.
            tokens = tuple(plain_token(t) if isinstance(t, str) else float(t) + 0.0 for t in self.tokens)
        except (TypeError, ValueError, OverflowError) as error:
            raise FormulaError(f"a token of {self.tokens} is neither a name nor a finite number") from error
        object.__setattr__(self, "tokens", tokens)
        if len(tokens) > MAX_SIZE:
            raise FormulaError(f"a formula of {len(tokens)} tokens; at most {MAX_SIZE} are allowed")
        open_slots = 1
        for position, token in enumerate(tokens):
            if open_slots == 0:
                raise FormulaError(f"the formula is complete before token {position + 1} ({token!r}) of {tokens}")
            open_slots += arity(token) - 1
        if open_slots:
            raise FormulaError(f"the formula {tokens} is incomplete: {open_slots} more operand(s) expected")
        if not any(is_input(token) for token in tokens):
            raise FormulaError(f"the formula '{self}' contains no input; expected at least one, such as x")
        parameters_of(tokens)

    @classmethod
    def parse(cls, text: str) -> "Formula":
        """Reads infix text such as ``"x * sigmoid(x)"`` or ``"gelu(x) + 0.1 * sin(x)"``.

        Understands ``+ - * /``, ``**`` with a small whole number, unary minus, parentheses, numbers, ``pi``, the
        operators' names, and the named functions of ``rlsearch.formula.named``, which expand into operators.
        ``a@0.25`` is a parameter that starts at 0.25. Text is plain ASCII, and a number has no leading zeros.

        Raises:
            FormulaError: With the position and what was expected there; or if it is no text.
        """
        if not isinstance(text, str):
            raise FormulaError(f"expected a formula as text, such as 'x * sigmoid(x)', got {text!r}")
        return cls(parse_tokens(text))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that occur, ``x`` first and then by the alphabet."""
        return _inputs(self)

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters that occur: letter and start value, by the alphabet."""
        return _parameters(self)

    @property
    def arguments(self) -> tuple[str, ...]:
        """All that its values depend on: the inputs, and then the letters of the parameters."""
        return _arguments(self)

    @property
    def is_gated(self) -> bool:
        """Whether it is a function of several inputs, as those of gated units are."""
        return len(self.inputs) > 1

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    @property
    def depth(self) -> int:
        """Number of tokens on the longest way from the outermost operator to a leaf."""
        return depth_of(self.tokens)

    @property
    def program(self) -> Program:
        """The formula as straight-line code over :attr:`arguments`."""
        return _program(self)

    @property
    def fingerprint(self) -> str:
        """A hash of the formula's values: equal for two spellings of one function.

        A parameter has a grid of its own, as an input has, and its letter and start value count too: spellings of one
        family are equal if they start at the same numbers.

        The values on a fixed quasi-random float64 grid reaching to about +-60 are compressed by arcsinh and rounded
        to six decimals; NaN and the infinities have codes of their own. Two functions that agree on the whole grid
        collide, and a value on a rounding boundary may split one function in two: both are rare and tolerated.
        Fingerprints are compared within one machine only.
        """
        return _fingerprint(self)

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Evaluates the formula on numpy arrays or torch tensors, elementwise.

        Whole numbers and truth values count as floats: in torch's default dtype, in float64 with numpy. A number beside
        arrays or tensors takes on their dtype. float16 and bfloat16 are computed in float32 and rounded once: a step
        may overflow where the result does not.

        Args:
            *values: One array, tensor or number per entry of :attr:`inputs`, in that order, of shapes that broadcast.
            **named: Inputs by name instead; names that do not occur in the formula are ignored. Parameters by their
                letter, beside either; those that are not given have their start values.

        Raises:
            FormulaError: If an input is missing, one too many was given, one is complex, or arrays and tensors are
                mixed.
        """
        arrays, n_inputs = self._bind(values, named), len(self.inputs)
        if any(_is_tensor(a) for a in arrays):
            return _on_tensors(self.program, [_beside_tensors(a) for a in arrays], n_inputs)
        # A number beside an array stays a number, so that the array's dtype decides that of the result.
        if all(isinstance(a, int | float) for a in arrays):
            arrays = [np.float64(a) for a in arrays]
        arrays = [float(a) if type(a) in (bool, int, float) else _floating(a) for a in arrays]
        return _on_arrays(self.program, arrays, n_inputs)

    def _bind(self, values: Sequence[Any], named: dict[str, Any]) -> list[Any]:
        parameters = [named.get(letter, start) for letter, start in self.parameters.items()]
        if values:
            others = named.keys() - self.parameters.keys()
            if others or len(values) != len(self.inputs):
                raise FormulaError(f"'{self}' takes ({signature(self)}), got {len(values) + len(others)} value(s)")
            return [*values, *parameters]
        missing = [name for name in self.inputs if name not in named]
        if missing:
            raise FormulaError(f"'{self}' takes ({signature(self)}); {', '.join(missing)} is missing")
        return [*(named[name] for name in self.inputs), *parameters]

    def with_values(self, **values: float) -> "Formula":
        """The formula with numbers in the place of its parameters.

        Args:
            **values: By letter; those that are not given have their start values.

        Raises:
            FormulaError: If there is no such parameter, or a value is not finite.

        Example:
            >>> str(Formula.parse("x * sigmoid(b@1 * x)").with_values(b=1.5))
            'x * sigmoid(1.5 * x)'
        """
        for letter in values:
            if letter not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise FormulaError(f"'{self}' has no parameter {letter!r}; its parameters: {known}")
        if not self.parameters:
            return self
        numbers = {**self.parameters, **values}
        return Formula(tuple(_number_of(t, numbers) for t in self.tokens))

    @property
    def spelling(self) -> str:
        """The exact infix text: ``Formula.parse`` reads it back to the same tokens. It is what archives store."""
        return printing.to_infix(self.tokens)

    def __str__(self) -> str:
        """The text for people, such as ``sqrt(abs(x))`` for the spelling ``sqrt(x)``.

        ``Formula.parse`` reads it back to the same function, and to the same tokens if it is the spelling.
        """
        return printing.to_readable(self.tokens)

    def __repr__(self) -> str:
        return f"Formula.parse({self.spelling!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the text beside a small curve."""
        return formula_html(self)

    def _repr_latex_(self) -> str:
        """What a notebook shows that takes LaTeX alone."""
        return f"${self.latex()}$"

    def latex(self) -> str:
        r"""Writes the formula as LaTeX, for instance ``x \cdot \sigma\left(x\right)``."""
        return printing.to_latex(self.tokens)

    def to_module(self) -> "Activation":
        """Makes a :class:`torch.nn.Module` of the formula, whose code is that of :meth:`source`.

        It takes one tensor per entry of :attr:`inputs`. Parameters are an ``nn.Parameter`` of one number each, by their
        letter. ``rlsearch.fused_module`` makes one that is faster and keeps less memory for the backward pass.
        """
        from rlsearch.formula.module import activation

        return activation(self)

    def source(self, class_name: str = "Activation") -> str:
        """Writes standalone Python source of an ``nn.Module`` that imports nothing but torch.

        Its dtypes are those of a call of the formula.

        Raises:
            FormulaError: If ``class_name`` is not a Python class name.
        """
        return module_source(self.program, self.inputs, self.parameters, str(self), class_name)


def _number_of(token: Token, numbers: Mapping[str, float]) -> Token:
    """The number of a parameter; other tokens as they are."""
    return numbers[letter_of(token)] if isinstance(token, str) and is_parameter(token) else token


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "is_floating_point")  # asked so, since torch is perhaps not imported


def _beside_tensors(value: Any) -> Any:
    """Tensors as they are, and whatever is one number as a Python float, whose dtype does not count."""
    if _is_tensor(value):
        if value.is_complex():
            raise FormulaError(f"a formula takes real numbers, got {value.dtype}")
        return value
    if isinstance(value, int | float | np.floating | np.integer | np.bool_):
        return float(value)
    raise FormulaError(f"a formula takes tensors beside tensors and numbers, got {type(value).__name__}")


def _floating(values: Any) -> NDArray[np.floating[Any]]:
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.complexfloating):
        raise FormulaError(f"a formula takes real numbers, got {array.dtype}")
    try:
        # numpy would take a text that looks like a number, and None for NaN.
        if array.dtype.kind in "SU" or values is None:
            raise TypeError
        return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
    except (TypeError, ValueError):
        raise FormulaError(f"a formula takes arrays, tensors and numbers, got {values!r}") from None


def _on_tensors(program: Program, values: Sequence[Any], n_inputs: int) -> Any:
    """The values on tensors and numbers; dtypes as in ``source.py``."""
    import torch

    dtypes = [value.dtype for value in values[:n_inputs] if _is_tensor(value)]
    # Parameters do not decide the dtype, as in a module, unless there is nothing else.
    given = reduce(torch.promote_types, dtypes or [value.dtype for value in values if _is_tensor(value)])
    dtype = given if given.is_floating_point else torch.get_default_dtype()
    wide = torch.promote_types(dtype, torch.float32)
    inputs = [value.to(wide) if _is_tensor(value) else value for value in values[:n_inputs]]
    # A parameter's number is no constant: what is computed of it alone is rounded as in training.
    parameters = [torch.as_tensor(value, dtype=wide) for value in values[n_inputs:]]
    return run(program, torch_backend(), [*inputs, *parameters]).to(dtype)


def _on_arrays(program: Program, values: Sequence[Any], n_inputs: int) -> Any:
    """The values on arrays of floats and numbers."""
    dtype = np.result_type(*values[:n_inputs])
    wide = np.promote_types(dtype, np.float32)
    if dtype == np.float16:
        values = [value if isinstance(value, float) else value.astype(np.float32) for value in values]
    parameters = [np.asarray(value, wide) for value in values[n_inputs:]]
    with np.errstate(all="ignore"):
        result = run(program, NUMPY, [*values[:n_inputs], *parameters])
        return result.astype(np.float16) if dtype == np.float16 else result


@lru_cache(maxsize=65536)
def _inputs(formula: Formula) -> tuple[str, ...]:
    return inputs_of(formula.tokens)


@lru_cache(maxsize=65536)
def _parameters(formula: Formula) -> Mapping[str, float]:
    return parameters_of(formula.tokens)


@lru_cache(maxsize=65536)
def _arguments(formula: Formula) -> tuple[str, ...]:
    return (*formula.inputs, *formula.parameters)


@lru_cache(maxsize=65536)
def _program(formula: Formula) -> Program:
    return compile_program(formula.tokens, formula.arguments)


GRID_POINTS = 128
GRID_REACH = 60.0
_DECIMALS = 6
_NAN, _INF = np.int64(2**62), np.int64(2**62 + 1)


@lru_cache(maxsize=26)
def fingerprint_grid(name: str) -> NDArray[np.float64]:
    """The grid of the input or parameter ``name``, shape ``[GRID_POINTS]``, dense near 0 and reaching to +-60.

    An additive recurrence (a Kronecker sequence) with the golden ratio for ``x`` and the square root of another
    prime for every other letter, spread by ``sinh``: the inputs of one formula are quasi-random to each other.
    """
    # Not 5: its square root is a multiple of the golden ratio but for a whole number.
    primes = [2, 3, 107, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101]
    step = (math.sqrt(5) - 1) / 2 if name == "x" else math.sqrt(primes[ord(name) - ord("a")])
    uniform = np.modf(0.5 + step * np.arange(1, GRID_POINTS + 1))[0]
    grid: NDArray[np.float64] = np.sinh(math.asinh(GRID_REACH) * (2 * uniform - 1))
    return grid


@lru_cache(maxsize=262144)
def _fingerprint(formula: Formula) -> str:
    return fingerprint_of(formula(**{name: fingerprint_grid(name) for name in formula.arguments}), formula.parameters)


def fingerprint_of(values: NDArray[np.float64], starts: Mapping[str, float] = MappingProxyType({})) -> str:
    """Hashes a function's values on the grid, shape ``[GRID_POINTS]``, and the start values of its parameters."""
    with np.errstate(invalid="ignore"):
        codes = np.rint(np.arcsinh(values) * 10**_DECIMALS)
        codes = np.where(np.isfinite(codes), codes, 0).astype(np.int64)
    codes[np.isnan(values)] = _NAN
    codes[np.isposinf(values)] = _INF
    codes[np.isneginf(values)] = -_INF
    # Nothing is added where there is no parameter, so that fingerprints are what they were before there were any.
    family = repr(dict(starts)).encode() if starts else b""
    return hashlib.blake2b(codes.tobytes() + family, digest_size=16).hexdigest()
