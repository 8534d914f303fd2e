"""A formula as an ONNX model of opset 18: elementwise, of float32 tensors of shape ``[batch, features]``.

The operators are those that every runtime has: arithmetic, comparison, choice, Exp, Log, Sqrt, Sin, Cos, Tanh, Atan,
Sigmoid. What runtimes may lack (Asinh, Sinh, Cosh, Erf, Softplus, Elu, HardSigmoid) is computed from these, to float32
precision near 0 too. The nodes do not depend on the number of dimensions, which ONNX wants of a model's inputs.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from rlsearch.errors import InputError
from rlsearch.exports.provenance import Exported
from rlsearch.formula.backends import Backend, make_backend, smooth_sinc
from rlsearch.formula.program import run

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise InputError("the format onnx needs the package onnx: pip install 'rlsearch[onnx]'") from error

OPSET = 18
SHAPE = ("batch", "features")
OUTPUT = "output"
"""No formula has an input of this name, since inputs are single letters."""

IR_VERSION = 8
"""Of the files, as old as the opset: later ones are refused by runtimes of its time."""


def write(exported: Exported, class_name: str) -> bytes:
    """Makes the file; there is no class in it. What is known of the formula stands in the model's metadata.

    The inputs are the formula's, all of one shape of any size; the output is :data:`OUTPUT`. Parameters are the numbers
    that they start at.
    """
    formula, graph = exported.formula.with_values(), _Graph()
    backend = _backend(graph)
    result = run(formula.program, backend, [_Tensor(graph, name) for name in formula.inputs])
    graph.nodes.append(helper.make_node("Identity", [result.name], [OUTPUT]))
    made = helper.make_graph(
        graph.nodes,
        "activation",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in formula.inputs],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, SHAPE)],
        initializer=[numpy_helper.from_array(value, name) for name, value in graph.constants.values()],
        doc_string=str(formula),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rlsearch")
    helper.set_model_props(model, dict(exported.facts))
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Graph:
    """The nodes of a model in the making.

    Attributes:
        nodes: In the order in which they are computed.
        constants: Name and value, by the value's bytes.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[bytes, tuple[str, np.ndarray[Any, Any]]] = {}

    def node(self, operator: str, *operands: "_Tensor | float | None") -> "_Tensor":
        """Adds a node and returns its output; None stands for an operand that is left out."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self._name_of(a) for a in operands], [name]))
        return _Tensor(self, name)

    def _name_of(self, operand: "_Tensor | float | None") -> str:
        if operand is None:
            return ""
        return operand.name if isinstance(operand, _Tensor) else self._constant(operand)

    def _constant(self, value: float) -> str:
        # A constant beyond float32 is infinite there, as it is for torch.
        with np.errstate(over="ignore"):
            array = np.float32(value)
        name, _ = self.constants.setdefault(array.tobytes(), (f"c{len(self.constants)}", np.asarray(array)))
        return name


class _Tensor:
    """The output of a node, or an input; arithmetic on it adds nodes."""

    def __init__(self, graph: _Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def _node(self, operator: str, *operands: "Self | float") -> "_Tensor":
        return self.graph.node(operator, *operands)

    def __neg__(self) -> "_Tensor":
        return self._node("Neg", self)

    def __add__(self, other: Any) -> "_Tensor":
        return self._node("Add", self, other)

    def __radd__(self, other: Any) -> "_Tensor":
        return self._node("Add", other, self)

    def __sub__(self, other: Any) -> "_Tensor":
        return self._node("Sub", self, other)

    def __rsub__(self, other: Any) -> "_Tensor":
        return self._node("Sub", other, self)

    def __mul__(self, other: Any) -> "_Tensor":
        return self._node("Mul", self, other)

    def __rmul__(self, other: Any) -> "_Tensor":
        return self._node("Mul", other, self)

    def __truediv__(self, other: Any) -> "_Tensor":
        return self._node("Div", self, other)

    def __rtruediv__(self, other: Any) -> "_Tensor":
        return self._node("Div", other, self)

    def __lt__(self, other: Any) -> "_Tensor":
        return self._node("Less", self, other)

    def __gt__(self, other: Any) -> "_Tensor":
        return self._node("Greater", self, other)


_PLAIN = {
    "abs": "Abs", "sign": "Sign", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos",
    "tanh": "Tanh", "atan": "Atan", "sigmoid": "Sigmoid", "relu": "Relu",
}  # fmt: skip
"""The functions that are an operator each."""


def _backend(graph: _Graph) -> Backend:
    """The backend that adds nodes."""

    def operator(name: str) -> Any:
        return lambda *operands: graph.node(name, *operands)

    unary = {name: operator(plain) for name, plain in _PLAIN.items()}
    composed = {"sinh": _sinh, "cosh": _cosh, "asinh": _asinh, "softplus": _softplus, "elu": _elu, "erf": _erf}

    def from_backend(function: Any) -> Any:
        return lambda a: function(backend, a)

    unary |= {name: from_backend(function) for name, function in composed.items()}
    unary["sinc"] = lambda a: smooth_sinc(backend, a, lambda b: backend.sin(np.pi * b) / (np.pi * b))
    unary["hard_sigmoid"] = lambda a: backend.clamp(a + 3.0, 0.0, 6.0) / 6.0
    backend: Backend = make_backend(unary, operator("Max"), operator("Min"), operator("Clip"), operator("Where"))
    return backend


# Where both results of a choice are computed, the one that is not taken may be anything: there are no slopes here.


def _expm1(f: Backend, a: Any) -> Any:
    """``exp(a) - 1`` of moderate ``a``, by the half-angle formula, in which nothing cancels."""
    half = f.tanh(0.5 * a)
    return 2.0 * half / (1.0 - half)


def _log1p(f: Backend, a: Any) -> Any:
    """``log(1 + a)`` of ``a >= 0``.

    W. Kahan's: what rounding does to ``1 + a`` is the same in the logarithm and in the denominator. Source: D.
    Goldberg 1991, What every computer scientist should know about floating-point arithmetic, Theorem 4.
    """
    one_more = 1.0 + a
    rounded = one_more - 1.0
    return f.where(rounded > 0.0, a * (f.log(one_more) / f.where(rounded > 0.0, rounded, 1.0)), a)


def _sinh(f: Backend, a: Any) -> Any:
    size = f.abs(a)
    lost = _expm1(f, f.minimum(size, 1.0))
    root = f.exp(0.5 * size)  # exp itself overflows before sinh does
    large = 0.5 * root * root - 0.5 / root / root
    return f.sign(a) * f.where(size < 1.0, 0.5 * (lost + lost / (lost + 1.0)), large)


def _cosh(f: Backend, a: Any) -> Any:
    root = f.exp(0.5 * f.abs(a))
    return 0.5 * root * root + 0.5 / root / root


def _asinh(f: Backend, a: Any) -> Any:
    size = f.abs(a)
    square = size * size
    near = _log1p(f, size + square / (1.0 + f.sqrt(1.0 + square)))
    far = f.log(size) + float(np.log(2))  # where the square may overflow, and the root is the argument
    return f.sign(a) * f.where(size > 1e9, far, near)


def _softplus(f: Backend, a: Any) -> Any:
    return f.relu(a) + _log1p(f, f.exp(-f.abs(a)))


def _elu(f: Backend, a: Any) -> Any:
    return f.where(a > 0.0, a, _expm1(f, f.minimum(a, 0.0)))


_ERF_NEAR = (1.28379166e-1, -3.76125336e-1, 1.12819925e-1, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4)
_ERF_FAR = (
    -1.28717512e-1, -6.34846687e-1, -1.06777877e-1, 2.42546219e-2, -3.88396438e-3, 3.83197126e-4, -1.72853470e-5,
)  # fmt: skip
"""The polynomials of ``rlsearch/kernels/numba_functions.py``, which names their source; the lowest power first."""


def _erf(f: Backend, a: Any) -> Any:
    size = f.abs(a)
    near = a + a * _polynomial(_ERF_NEAR, a * a)
    capped = f.minimum(size, 10.0)  # beyond, 1 - exp(...) is 1
    far = 1.0 - f.exp(capped * _polynomial(_ERF_FAR, capped) - capped)
    return f.where(size > 0.927734375, f.sign(a) * far, near)


def _polynomial(coefficients: Sequence[float], a: Any) -> Any:
    value: Any = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * a + coefficient
    return value
