"""The whole feed-forward part of a transformer with a formula, in a file that imports nothing but torch."""

from rlsearch.errors import InputError
from rlsearch.exports.provenance import Exported
from rlsearch.formula.source import check_class_name
from rlsearch.formula.typed import GATED, OF_X

_ACTIVATION = "Activation"

_POINTWISE = '''

class {name}(torch.nn.Module):
    """Feed-forward part of a transformer with {formula}: ``[..., width]`` to ``[..., width]``.

    Args:
        width: Of the model.
        hidden: Of the layer between; by default ``4 * width``.
        bias: Whether the linear layers have one.
    """

    def __init__(self, width: int, hidden: int | None = None, bias: bool = False) -> None:
        super().__init__()
        hidden = 4 * width if hidden is None else hidden
        self.up = torch.nn.Linear(width, hidden, bias=bias)
        self.down = torch.nn.Linear(hidden, width, bias=bias)
        self.activation = Activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(x)))
'''

_GATED = '''

class {name}(torch.nn.Module):
    """Gated feed-forward part of a transformer with {formula}: ``[..., width]`` to ``[..., width]``.

    Args:
        width: Of the model.
        hidden: Of the layer between; by default 8/3 of ``width``, rounded up to a multiple of 8, which makes as many
            weights as ``4 * width`` does without a gate.
        bias: Whether the linear layers have one.
    """

    def __init__(self, width: int, hidden: int | None = None, bias: bool = False) -> None:
        super().__init__()
        hidden = 8 * -(-width // 3) if hidden is None else hidden
        self.up = torch.nn.Linear(width, hidden, bias=bias)
        self.gate = torch.nn.Linear(width, hidden, bias=bias)
        self.down = torch.nn.Linear(hidden, width, bias=bias)
        self.activation = Activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(x), self.gate(x)))
'''

_TEMPLATES = {OF_X: _POINTWISE, GATED: _GATED}


def write(exported: Exported, class_name: str) -> str:
    """Writes the file. In a gated part ``x`` comes from the layer ``up`` and ``g`` from ``gate``.

    Raises:
        FormulaError: If ``class_name`` is not a Python class name.
        InputError: If the formula has other inputs than ``x``, or ``x`` and ``g``.
    """
    formula = exported.formula
    if formula.inputs not in _TEMPLATES:
        inputs = ", ".join(formula.inputs)
        raise InputError(f"'{formula}' is a function of {inputs}; a feed-forward part takes one of x, or of x and g")
    check_class_name(class_name, ("torch", _ACTIVATION))
    block = _TEMPLATES[formula.inputs].format(name=class_name, formula=formula)
    return exported.as_comment("# ") + formula.source(_ACTIVATION) + block
