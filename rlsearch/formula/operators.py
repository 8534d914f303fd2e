"""The operator table: every primitive of the formula language, one row each.

A row gives what the operator means, value, one partial derivative per operand, and how it is displayed. Values and
derivatives are written against a backend (``backends.py``), so one row serves numpy, torch and exported source.

Rules that every row keeps (and ``tests/formula/test_operators.py`` checks):

* no NaN from finite operands; infinities by overflow are allowed;
* a derivative everywhere, equal to torch's where torch has one (0 for ``abs`` and ``relu`` at 0, a half each for
  ``max`` and ``min`` at a tie);
* guards act only within ``EPSILON`` of a singular point and leave every other value exact.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

EPSILON = 1e-6
"""Distance from a singular point (of sqrt, log, div) below which a guard acts."""

_ROOT = math.sqrt(EPSILON)
_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)

# Precedences of the infix notation, from loosest to tightest.
ANY, SUM, PRODUCT, UNARY, POWER, ATOM = range(6)


@dataclass(frozen=True, slots=True)
class Notation:
    """How an operator is written.

    Attributes:
        template: Text in which ``<a>`` and ``<b>`` stand for the operands.
        precedence: How tightly the written form binds.
        operands: The loosest precedence that each operand may have without parentheses.
    """

    template: str
    precedence: int = ATOM
    operands: tuple[int, ...] = (ANY, ANY)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an operator computes, for people; tests hold it against what is computed.

    Attributes:
        value: Its value, as an expression of ``a`` and ``b``.
        slopes: Its derivative by each operand.
        guard: What holds at a singular point or a kink instead, if there is one.
    """

    value: str
    slopes: tuple[str, ...]
    guard: str = ""


@dataclass(frozen=True, slots=True)
class Operator:
    """One primitive of the language.

    Attributes:
        name: Its name in formulas and configs.
        arity: Number of operands, 1 or 2.
        meaning: What it computes, for people.
        value: ``value(backend, a[, b])``.
        partials: One ``partial(backend, y, a[, b])`` per operand, where ``y`` is the value already computed.
        infix: How it is spelled; it parses back to the same operator.
        readable: How people read it, without names of this project; it parses back to the same function.
        latex: How LaTeX writes it.
        inverse: Name of the operator that undoes it, if any (for the grammar's optional rule).
        periodic: Whether it is periodic (for the grammar's optional rule).
        commutative: Whether the order of its operands does not matter, to the last bit but for the sign of 0.
    """

    name: str
    arity: int
    meaning: Meaning
    value: Callable[..., Any]
    partials: tuple[Callable[..., Any], ...]
    infix: Notation
    readable: Notation
    latex: Notation
    inverse: str | None = None
    periodic: bool = False
    commutative: bool = False

    def __reduce__(self) -> tuple[Callable[[str], "Operator"], tuple[str]]:
        return _by_name, (self.name,)  # its functions cannot be pickled


def _by_name(name: str) -> Operator:
    return OPERATORS[name]


def _unary(
    name: str,
    meaning: Meaning,
    value: Callable[..., Any],
    partial: Callable[..., Any],
    latex: str | Notation,
    infix: Notation | None = None,
    readable: Notation | None = None,
    inverse: str | None = None,
    periodic: bool = False,
) -> Operator:
    if isinstance(latex, str):
        latex = Notation(latex + r"\left(<a>\right)")
    infix = infix or Notation(f"{name}(<a>)")
    return Operator(name, 1, meaning, value, (partial,), infix, readable or infix, latex, inverse, periodic)


def _binary(
    name: str,
    meaning: Meaning,
    value: Callable[..., Any],
    partials: tuple[Callable[..., Any], Callable[..., Any]],
    latex: str | Notation,
    infix: Notation | None = None,
    readable: Notation | None = None,
    commutative: bool = False,
) -> Operator:
    if isinstance(latex, str):
        latex = Notation(latex + r"\left(<a>, <b>\right)")
    infix = infix or Notation(f"{name}(<a>, <b>)")
    return Operator(name, 2, meaning, value, partials, infix, readable or infix, latex, commutative=commutative)


def _away_from_zero(f: Any, b: Any) -> Any:
    """``b`` with values nearer to 0 than ``EPSILON`` moved out to it, keeping the sign."""
    return f.where(b < 0, f.clamp(b, None, -EPSILON), f.clamp(b, EPSILON, None))


def _unless_huge(f: Any, a: Any) -> Any:
    """``a``, but 1 (where sinc is 0) for values so far out that ``pi a`` may overflow and sinc is 0 anyway."""
    return f.where(f.abs(a) > 1e18, 1.0, a)  # rather than clamp, whose limits must fit into a float16


def _larger(f: Any, a: Any, b: Any) -> Any:
    """1 where ``a > b``, 0 where ``a < b`` and a half at a tie, as torch.maximum's gradient does."""
    return 0.5 + 0.5 * f.sign(a - b)


def _named(name: str) -> str:
    return r"\operatorname{" + name.replace("_", r"\_") + "}"


_ROWS = (
    _unary(
        "neg",
        Meaning("-a", ("-1",)),
        lambda f, a: -a,
        lambda f, y, a: -1.0,
        Notation("-<a>", UNARY, (UNARY,)),
        Notation("-<a>", UNARY, (UNARY,)),
        inverse="neg",
    ),
    _unary(
        "abs",
        Meaning("abs(a)", ("sign(a)",), "slope 0 at 0"),
        lambda f, a: f.abs(a),
        lambda f, y, a: f.sign(a),
        Notation(r"\left|<a>\right|"),
    ),
    _unary(
        "square",
        Meaning("a**2", ("2 * a",)),
        lambda f, a: a * a,
        lambda f, y, a: 2.0 * a,
        Notation("<a>^{2}", POWER, (ATOM,)),
        Notation("<a>**2", POWER, (ATOM,)),
        inverse="sqrt",
    ),
    _unary(
        "cube",
        Meaning("a**3", ("3 * a**2",)),
        lambda f, a: a * a * a,
        lambda f, y, a: 3.0 * (a * a),
        Notation("<a>^{3}", POWER, (ATOM,)),
        Notation("<a>**3", POWER, (ATOM,)),
    ),
    # sqrt|a|, replaced by its chord within EPSILON of 0, where its slope would be infinite.
    _unary(
        "sqrt",
        Meaning("sqrt(abs(a))", ("sign(a) / (2 * sqrt(abs(a)))",), "nearer to 0 than 1e-6: the chord 1000 * abs(a)"),
        lambda f, a: f.where(f.abs(a) < EPSILON, f.abs(a) * (1 / _ROOT), f.sqrt(f.clamp(f.abs(a), EPSILON))),
        lambda f, y, a: f.sign(a) * f.where(f.abs(a) < EPSILON, 1 / _ROOT, 0.5 / f.clamp(y, _ROOT)),
        Notation(r"\sqrt{\left|<a>\right|}"),
        readable=Notation("sqrt(abs(<a>))"),
        inverse="square",
    ),
    _unary(
        "exp",
        Meaning("exp(a)", ("exp(a)",)),
        lambda f, a: f.exp(a),
        lambda f, y, a: y,
        Notation("e^{<a>}", POWER),
        inverse="log",
    ),
    _unary(
        "log",
        Meaning("log(abs(a))", ("1 / a",), "nearer to 0 than 1e-6: log(1e-6), slope 0"),
        lambda f, a: f.log(f.clamp(f.abs(a), EPSILON)),
        lambda f, y, a: f.where(f.abs(a) < EPSILON, 0.0, 1.0 / _away_from_zero(f, a)),
        Notation(r"\log\left|<a>\right|", POWER),
        readable=Notation("log(abs(<a>))"),
        inverse="exp",
    ),
    _unary(
        "sin", Meaning("sin(a)", ("cos(a)",)), lambda f, a: f.sin(a), lambda f, y, a: f.cos(a), r"\sin", periodic=True
    ),
    _unary(
        "cos", Meaning("cos(a)", ("-sin(a)",)), lambda f, a: f.cos(a), lambda f, y, a: -f.sin(a), r"\cos", periodic=True
    ),
    # sin(pi a) / (pi a), as in numpy and torch.
    _unary(
        "sinc",
        Meaning("sin(pi * a) / (pi * a)", ("(cos(pi * a) - sinc(a)) / a",), "1 at 0; slope 0 nearer to 0 than 1e-6"),
        lambda f, a: f.sinc(_unless_huge(f, a)),
        lambda f, y, a: f.where(
            f.abs(a) < EPSILON, 0.0, (f.cos(math.pi * _unless_huge(f, a)) - y) / _away_from_zero(f, a)
        ),
        _named("sinc"),
    ),
    _unary(
        "sinh",
        Meaning("sinh(a)", ("cosh(a)",)),
        lambda f, a: f.sinh(a),
        lambda f, y, a: f.cosh(a),
        r"\sinh",
        inverse="asinh",
    ),
    _unary("cosh", Meaning("cosh(a)", ("sinh(a)",)), lambda f, a: f.cosh(a), lambda f, y, a: f.sinh(a), r"\cosh"),
    _unary(
        "tanh", Meaning("tanh(a)", ("1 - tanh(a)**2",)), lambda f, a: f.tanh(a), lambda f, y, a: 1.0 - y * y, r"\tanh"
    ),
    _unary(
        "asinh",
        Meaning("asinh(a)", ("1 / sqrt(1 + a**2)",)),
        lambda f, a: f.asinh(a),
        lambda f, y, a: 1.0 / f.sqrt(1.0 + a * a),
        _named("asinh"),
        inverse="sinh",
    ),
    _unary(
        "atan",
        Meaning("atan(a)", ("1 / (1 + a**2)",)),
        lambda f, a: f.atan(a),
        lambda f, y, a: 1.0 / (1.0 + a * a),
        r"\arctan",
    ),
    _unary(
        "sigmoid",
        Meaning("1 / (1 + exp(-a))", ("sigmoid(a) * (1 - sigmoid(a))",)),
        lambda f, a: f.sigmoid(a),
        lambda f, y, a: y * (1.0 - y),
        r"\sigma",
    ),
    _unary(
        "softplus",
        Meaning("log(1 + exp(a))", ("sigmoid(a)",)),
        lambda f, a: f.softplus(a),
        lambda f, y, a: f.sigmoid(a),
        _named("softplus"),
    ),
    _unary(
        "relu",
        Meaning("max(a, 0)", ("1 if a > 0 else 0",)),
        lambda f, a: f.relu(a),
        lambda f, y, a: f.positive(a),
        _named("relu"),
    ),
    _unary(
        "min0",
        Meaning("min(a, 0)", ("0 if a > 0 else 1",)),
        lambda f, a: f.clamp(a, None, 0.0),
        lambda f, y, a: 1.0 - f.positive(a),
        Notation(r"\min\left(<a>, 0\right)"),
        readable=Notation("min(<a>, 0)"),
    ),
    _unary(
        "erf",
        Meaning("erf(a)", ("2 / sqrt(pi) * exp(-a**2)",)),
        lambda f, a: f.erf(a),
        lambda f, y, a: _TWO_OVER_ROOT_PI * f.exp(-(a * a)),
        _named("erf"),
    ),
    _unary(
        "gauss",
        Meaning("exp(-a**2)", ("-2 * a * exp(-a**2)",)),
        lambda f, a: f.exp(-(a * a)),
        lambda f, y, a: -2.0 * (a * y),
        Notation("e^{-(<a>)^{2}}", POWER),
        readable=Notation("exp(-<a>**2)", ATOM, (ATOM,)),
    ),
    _unary(
        "softsign",
        Meaning("a / (1 + abs(a))", ("1 / (1 + abs(a))**2",)),
        lambda f, a: a / (1.0 + f.abs(a)),
        lambda f, y, a: 1.0 / ((1.0 + f.abs(a)) * (1.0 + f.abs(a))),
        _named("softsign"),
    ),
    _unary(
        "hard_sigmoid",
        Meaning("min(max(a + 3, 0), 6) / 6", ("1 / 6 if abs(a) < 3 else 0",)),
        lambda f, a: f.hard_sigmoid(a),
        lambda f, y, a: f.positive(3.0 - f.abs(a)) * (1 / 6),
        _named("hard_sigmoid"),
    ),
    _unary(
        "elu",
        Meaning("a if a > 0 else exp(a) - 1", ("1 if a > 0 else exp(a)",)),
        lambda f, a: f.elu(a),
        lambda f, y, a: f.exp(f.clamp(a, None, 0.0)),
        _named("elu"),
    ),
    _binary(
        "add",
        Meaning("a + b", ("1", "1")),
        lambda f, a, b: a + b,
        (lambda f, y, a, b: 1.0, lambda f, y, a, b: 1.0),
        Notation("<a> + <b>", SUM, (SUM, PRODUCT)),
        Notation("<a> + <b>", SUM, (SUM, PRODUCT)),
        commutative=True,
    ),
    _binary(
        "sub",
        Meaning("a - b", ("1", "-1")),
        lambda f, a, b: a - b,
        (lambda f, y, a, b: 1.0, lambda f, y, a, b: -1.0),
        Notation("<a> - <b>", SUM, (SUM, PRODUCT)),
        Notation("<a> - <b>", SUM, (SUM, PRODUCT)),
    ),
    _binary(
        "mul",
        Meaning("a * b", ("b", "a")),
        lambda f, a, b: a * b,
        (lambda f, y, a, b: b, lambda f, y, a, b: a),
        Notation(r"<a> \cdot <b>", PRODUCT, (PRODUCT, UNARY)),
        Notation("<a> * <b>", PRODUCT, (PRODUCT, UNARY)),
        commutative=True,
    ),
    _binary(
        "div",
        Meaning(
            "a / b", ("1 / b", "-a / b**2"), "b nearer to 0 than 1e-6: divided by 1e-6 with its sign, slope 0 by b"
        ),
        lambda f, a, b: a / _away_from_zero(f, b),
        (
            lambda f, y, a, b: 1.0 / _away_from_zero(f, b),
            lambda f, y, a, b: f.where(f.abs(b) < EPSILON, 0.0, -y / _away_from_zero(f, b)),
        ),
        Notation(r"\frac{<a>}{<b>}", POWER),
        Notation("<a> / <b>", PRODUCT, (PRODUCT, UNARY)),
    ),
    _binary(
        "max",
        Meaning("max(a, b)", ("1 if a > b else 0", "1 if b > a else 0"), "slopes of a half at a tie"),
        lambda f, a, b: f.maximum(a, b),
        (lambda f, y, a, b: _larger(f, a, b), lambda f, y, a, b: _larger(f, b, a)),
        r"\max",
        commutative=True,
    ),
    _binary(
        "min",
        Meaning("min(a, b)", ("1 if a < b else 0", "1 if b < a else 0"), "slopes of a half at a tie"),
        lambda f, a, b: f.minimum(a, b),
        (lambda f, y, a, b: _larger(f, b, a), lambda f, y, a, b: _larger(f, a, b)),
        r"\min",
        commutative=True,
    ),
    _binary(
        "gate",
        Meaning("sigmoid(a) * b", ("sigmoid(a) * (1 - sigmoid(a)) * b", "sigmoid(a)")),
        lambda f, a, b: f.sigmoid(a) * b,
        (
            lambda f, y, a, b: f.sigmoid(a) * (1.0 - f.sigmoid(a)) * b,
            lambda f, y, a, b: f.sigmoid(a),
        ),
        Notation(r"\sigma\left(<a>\right) \cdot <b>", PRODUCT, (ANY, UNARY)),
        readable=Notation("sigmoid(<a>) * <b>", PRODUCT, (ANY, UNARY)),
    ),
)

OPERATORS: Mapping[str, Operator] = MappingProxyType({row.name: row for row in _ROWS})
"""Every operator by name, in table order. Immutable."""
