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
_SHAZEER_2020 = "Shazeer 2020 (arXiv 2002.05202)"
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
        "leaky_relu_squared": NamedFunction(
            "max(x, 0.5 * x)**2", "F.leaky_relu(x, 0.5).square(), of record trainings of small GPTs in 2026"
        ),
        # At its initial alpha_p = alpha_n = 0.8 and beta = 0.5. Above 0 it is alpha_p x^2 + beta x, below it is
        # alpha_n (expm1(x) - x) + beta x, where elu(min0(x)) is expm1(x). The published code has expm1(min(x, -1e-6))
        # to keep rounding out of it: less than 1e-6 in all.
        "xielu": NamedFunction(
            "0.8 * relu(x)**2 + 0.8 * (elu(min0(x)) - min0(x)) + 0.5 * x",
            "Huang and Schlag 2024 (arXiv 2411.13010), untrained",
        ),
        # Parameters that are trained with the network, each at the value that its authors start from.
        "prelu": NamedFunction("relu(x) + a@0.25 * min0(x)", "He et al. 2015 (arXiv 1502.01852); torch.nn.PReLU"),
        "swish_beta": NamedFunction("x * sigmoid(b@1 * x)", _SEARCHED_2017),
        # Its authors train alpha_p and alpha_n behind a softplus, which keeps them positive; here they are themselves.
        "xielu_trained": NamedFunction(
            "a@0.8 * relu(x)**2 + b@0.8 * (elu(min0(x)) - min0(x)) + 0.5 * x",
            "Huang and Schlag 2024 (arXiv 2411.13010)",
        ),
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
        "atanline": NamedFunction("atan(x) * (0.5 * x + 1)", "found by searches of this project; docs/results.md"),
        "glu": NamedFunction("x * sigmoid(g)", "Dauphin et al. 2017; torch glu with its second half as g", _GLU),
        "gtu": NamedFunction("tanh(x) * sigmoid(g)", "van den Oord et al. 2016 (arXiv 1606.05328), Equation 2", _GLU),
        "bilinear": NamedFunction("x * g", _SHAZEER_2020, _GLU),
        "reglu": NamedFunction("x * relu(g)", _SHAZEER_2020, _GLU),
        "geglu": NamedFunction("x * gelu(g)", _SHAZEER_2020, _GLU),
        "swiglu": NamedFunction("x * silu(g)", _SHAZEER_2020, _GLU),
        "relu_squared_glu": NamedFunction(
            "x * relu(g)**2", "Ma et al. 2025 (BitNet b1.58 2B4T, arXiv 2504.12285)", _GLU
        ),
        "drelu": NamedFunction("relu(x) * relu(g)", "Song et al. 2024 (TurboSparse, arXiv 2406.05955)", _GLU),
        # The limit on both inputs is 7, and the gate is the quick form of GELU.
        "swiglu_clamped": NamedFunction(
            "(max(min(x, 7), -7) + 1) * quick_gelu(min(g, 7))", "OpenAI 2025, published code of gpt-oss", _GLU
        ),
    }
)
"""Every named function. Immutable."""

BASELINES = ("relu", "gelu", "silu", "mish", "tanh")
"""The functions that candidates are shown beside."""

CONFIRMED_AGAINST = ("relu", "relu_squared", "gelu", "silu", "mish", "tanh", "elu", "gelusine", "softplus")
"""The functions that a run's best must beat before it is said to have found anything, unless others are asked for."""

GATED_REFERENCE = "swiglu"
"""What gains are counted from where gated formulas are searched: the gated unit of most large language models."""

GATED_BASELINES = ("geglu", "reglu", "bilinear", "relu_squared", "gelu")
"""The functions whose spread is the unit of gains there; the last two are not gated, at as many parameters."""

GATED_SHOWN = (GATED_REFERENCE, *GATED_BASELINES, "glu")
"""The functions that candidates of such a search are shown beside, and must beat."""

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "relu": "ReLU",
        "leaky_relu": "leaky ReLU",
        "relu_squared": "ReLU squared",
        "leaky_relu_squared": "leaky ReLU squared",
        "gelu": "GELU",
        "silu": "SiLU",
        "mish": "Mish",
        "tanh": "Tanh",
        "elu": "ELU",
        "selu": "SELU",
        "softplus": "Softplus",
        "hard_swish": "hard Swish",
        "gelusine": "GELUSine",
        "gelu_sinc": "GELU-Sinc",
        "xielu": "xIELU",
        "prelu": "PReLU",
        "swish_beta": "Swish with trained beta",
        "xielu_trained": "trained xIELU",
        "glu": "GLU",
        "bilinear": "bilinear",
        "reglu": "ReGLU",
        "geglu": "GEGLU",
        "swiglu": "SwiGLU",
    }
)
"""How a text calls the functions that others are compared with; see :func:`title_of`."""

OPERATOR_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "relu": "Nair and Hinton 2010; torch.nn.functional.relu",
        "tanh": "torch.tanh",
        "elu": "Clevert, Unterthiner and Hochreiter 2016 (arXiv 1511.07289); torch.nn.functional.elu",
        "softplus": "Dugas et al. 2001; torch.nn.functional.softplus",
    }
)
"""Where the operators of :data:`TITLES` were published, as :class:`NamedFunction` says of the others."""


def applied(name: str) -> str:
    """A function applied to its inputs: ``"gelu(x)"``, ``"swiglu(x, g)"``, and ``"relu(x)"`` of an operator."""
    parameters = NAMED[name].parameters if name in NAMED else ("x",)
    return f"{name}({', '.join(parameters)})"


def title_of(name: str) -> str:
    """How a text calls a function: its title, or what it is given as where it has none."""
    return TITLES.get(name, name)


def source_of(name: str) -> str | None:
    """Where a function was published; None for one that has no name here."""
    return NAMED[name].source if name in NAMED else OPERATOR_SOURCES.get(name)
