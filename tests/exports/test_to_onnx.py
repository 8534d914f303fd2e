import numpy as np
import pytest
from helpers_exports import FORMULAS, inputs_of

from rlsearch import Formula, export
from rlsearch.exports.export import found

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

PLAIN = {
    "Abs", "Add", "Atan", "Clip", "Cos", "Div", "Exp", "Greater", "Identity", "Less", "Log", "Max", "Min", "Mul", "Neg",
    "Relu", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh", "Where",
}  # fmt: skip
"""Operators of opset 18 that all runtimes have."""


def values(formula, *inputs):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(export(formula, "onnx"), options, providers=["CPUExecutionProvider"])
    return session.run(["output"], dict(zip(formula.inputs, inputs, strict=True)))[0]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_the_model_is_the_formula(formula):
    """Beside float64; its sums, products and quotients keep the rounding of float32 terms."""
    inputs = [a[None] for a in inputs_of(formula, np.float32)]
    ours = values(formula, *inputs)
    exact = formula(*(a.astype(np.float64) for a in inputs)).astype(np.float32)
    assert ours.dtype == np.float32
    # The runtime's own Sigmoid and Sin are good to 1.2e-7, which a factor of up to 60 enlarges.
    np.testing.assert_allclose(ours, exact, rtol=2e-6, atol=1e-5)


NEAR_ZERO = ("sinh(x)", "asinh(x)", "elu(x)", "erf(x)", "tanh(x)", "sinc(x) - 1 + x")


@pytest.mark.parametrize("text", NEAR_ZERO)
def test_nothing_is_lost_near_zero(text):
    """Each is x times a constant there, and digits stay: ``log(1 + x)`` or ``exp(x) - 1`` as written have none left."""
    formula = Formula.parse(text)
    x = np.outer([1, -1], np.geomspace(1e-30, 1e-3, 200)).astype(np.float32)
    allowed = 1e-7 if "sinc" in text else 0.0  # of the 1 that is taken away
    np.testing.assert_allclose(values(formula, x), formula(x.astype(np.float64)), rtol=6e-7, atol=allowed)


@pytest.mark.parametrize("text", ["sinh(x)", "cosh(x)", "asinh(x)", "softplus(x)", "elu(x)", "erf(x)", "sinc(x)"])
def test_what_is_composed_holds_far_out(text):
    """Where squares and exponentials overflow; infinite only where float32 is."""
    formula = Formula.parse(text)
    x = np.array([[-1e30, -1e10, -1e4, -88.5, -30.0, 30.0, 88.5, 1e4, 1e10, 1e30]], np.float32)
    with np.errstate(over="ignore"):
        exact = formula(x.astype(np.float64)).astype(np.float32)
    # Sinc is at most 1e-2 there, and float32 has no digits of the angle left.
    np.testing.assert_allclose(values(formula, x), exact, rtol=2e-6, atol=1e-2 if text == "sinc(x)" else 0)


def test_a_model_has_plain_operators_alone_and_takes_any_size():
    used = set()
    for formula in FORMULAS:
        model = onnx.load_from_string(export(formula, "onnx"))
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
        used |= {node.op_type for node in model.graph.node}
    assert used == PLAIN
    formula = Formula.parse("x * sigmoid(g)")
    for shape in ((1, 1), (3, 5), (0, 4)):
        x = np.ones(shape, np.float32)
        assert values(formula, x, x).shape == shape


def test_constants_beyond_float32_are_infinite():
    formula, x = Formula.parse("min(x, 1e300) + 0 * g"), np.array([[1.0, -2.0]], np.float32)
    np.testing.assert_array_equal(values(formula, x, x), x)


def test_what_is_known_stands_in_the_metadata():
    model = onnx.load_from_string(export("x * log(x)", "onnx"))
    assert {p.key: p.value for p in model.metadata_props} == dict(found("x * log(x)").facts)
    assert model.producer_name == "rlsearch"
    assert model.graph.doc_string == str(Formula.parse("x * log(x)"))
    assert export("x * log(x)", "onnx") == export("x * log(x)", "onnx")
