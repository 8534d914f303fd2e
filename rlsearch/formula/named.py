"""The published activation functions, each written in the formula language with its source.

``Formula.parse("gelu(x)")`` expands these into operators. Names that are operators themselves (relu, tanh, elu,
sigmoid, softplus, softsign, erf, hard_sigmoid, ...) are not repeated here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A published function.

    Attributes:
        body: Its definition, infix.
        source: Where it was published, or which torch function it equals.
        parameters: Names of its arguments in ``body``.
    """

    body: str
    source: str
    parameters: tuple[str, ...] = ("x",)


_SEARCHED_2017 = "Ramachandran, Zoph and Le 2017 (arXiv 1710.05941), Table 1 and Section 3"
_MINED_2026 = "Vitvitskyi et al. 2026 (arXiv 2602.05688)"
_GLU = ("x", "g")

NAMED: Mapping[str, NamedFunction] = MappingProxyType(
    {
        "leaky_relu": NamedFunction("relu(x) + 0.01 * min0(x)", "torch.nn.functional.leaky_relu"),
        "relu6": NamedFunction("min(relu(x), 6)", "torch.nn.functional.relu6"),
        "gelu": NamedFunction("0.5 * x * (1 + erf(0.7071067811865476 * x))", "Hendrycks and Gimpel 2016; torch gelu"),
        "gelu_tanh": NamedFunction(
            "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x**3)))", "torch gelu(approximate='tanh')"
        ),
        "quick_gelu": NamedFunction("x * sigmoid(1.702 * x)", "Hendrycks and Gimpel 2016, Section 2"),
        "silu": NamedFunction("x * sigmoid(x)", "torch.nn.functional.silu"),
        "swish": NamedFunction("x * sigmoid(x)", _SEARCHED_2017),
        "mish": NamedFunction("x * tanh(softplus(x))", "Misra 2019; torch.nn.functional.mish"),
        "selu": NamedFunction(
            "1.0507009873554805 * (relu(x) + 1.6732632423543772 * elu(min0(x)))", "Klambauer et al. 2017; torch selu"
        ),
        "celu": NamedFunction("elu(x)", "Barron 2017 with alpha = 1; torch.nn.functional.celu"),
        "hard_swish": NamedFunction("x * hard_sigmoid(x)", "Howard et al. 2019; torch.nn.functional.hardswish"),
        "hard_tanh": NamedFunction("max(min(x, 1), -1)", "torch.nn.functional.hardtanh"),
        "log_sigmoid": NamedFunction("-softplus(-x)", "torch.nn.functional.logsigmoid"),
        "tanhshrink": NamedFunction("x - tanh(x)", "torch.nn.functional.tanhshrink"),
        "relu_squared": NamedFunction("relu(x)**2", "So et al. 2021 (Primer, arXiv 2109.08668)"),
        "gelusine": NamedFunction("gelu(x) + 0.1 * sin(x)", _MINED_2026),
        "gelu_sinc": NamedFunction("gelu(x) * (1 + 0.5 * sinc(x))", _MINED_2026),
        "gmtu": NamedFunction("tanh(1.5 * x) * exp(-0.2 * x**2) + 0.1 * x", _MINED_2026 + ", appendix"),
        "max_sigmoid": NamedFunction("max(x, sigmoid(x))", _SEARCHED_2017),
        "cos_minus_x": NamedFunction("cos(x) - x", _SEARCHED_2017),
        "min_sin": NamedFunction("min(x, sin(x))", _SEARCHED_2017),
        "atan_squared_minus_x": NamedFunction("atan(x)**2 - x", _SEARCHED_2017),
        "max_tanh": NamedFunction("max(x, tanh(x))", _SEARCHED_2017),
        "sinc_plus_x": NamedFunction("sinc(x) + x", _SEARCHED_2017),
        "x_asinh_squared": NamedFunction("x * asinh(x)**2", _SEARCHED_2017),
        "sigmoid_erf": NamedFunction("sigmoid(x) * erf(x)", "Bingham, Macke and Miikkulainen 2020 (arXiv 2002.07224)"),
        "sigmoid_hard_sigmoid": NamedFunction(
            "sigmoid(x) * -x * hard_sigmoid(x)", "Bingham and Miikkulainen 2023 (arXiv 2301.05785), code's log"
        ),
        "glu": NamedFunction("x * sigmoid(g)", "Dauphin et al. 2017; torch glu with its second half as g", _GLU),
        "reglu": NamedFunction("x * relu(g)", "Shazeer 2020 (arXiv 2002.05202)", _GLU),
        "geglu": NamedFunction("x * gelu(g)", "Shazeer 2020 (arXiv 2002.05202)", _GLU),
        "swiglu": NamedFunction("x * silu(g)", "Shazeer 2020 (arXiv 2002.05202)", _GLU),
    }
)
"""Every named function. Immutable."""

BASELINES = ("relu", "gelu", "silu", "mish", "tanh")
"""The functions that candidates are shown beside."""

CONFIRMED_AGAINST = (*BASELINES, "elu", "softplus")
"""The functions that a run's best must beat before it is said to have found anything."""

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "relu": "ReLU",
        "gelu": "GELU",
        "silu": "SiLU",
        "mish": "Mish",
        "tanh": "Tanh",
        "elu": "ELU",
        "softplus": "Softplus",
    }
)
"""How a text calls the functions of :data:`CONFIRMED_AGAINST`."""
