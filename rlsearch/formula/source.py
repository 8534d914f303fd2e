"""A formula as standalone Python source: one class, importing torch alone."""

import keyword
from collections.abc import Sequence
from typing import Any

from rlsearch.errors import FormulaError
from rlsearch.formula.backends import SOURCE, SourceText
from rlsearch.formula.program import Program

_TEMPLATE = '''"""{title}

Found by rlsearch. Standalone: needs only torch.
"""

import torch


class {name}(torch.nn.Module):
    """Elementwise {formula}"""

    def forward(self, {signature}) -> torch.Tensor:
{body}
'''


def module_source(program: Program, inputs: Sequence[str], text: str, class_name: str) -> str:
    """Writes the source of a formula, written ``text``, as a class; see :meth:`Formula.source`."""
    if not class_name.isidentifier() or keyword.iskeyword(class_name) or class_name == "torch":
        raise FormulaError(f"{class_name!r} is not a Python class name; expected one such as 'Activation'")
    # As ``as_floats`` in backends.py.
    lines = [
        f"{name} = {name} if {name}.is_floating_point() else {name}.to(torch.get_default_dtype())" for name in inputs
    ]
    values: list[Any] = [SourceText(name) for name in inputs]
    for position, instruction in enumerate(program.instructions):
        operands = [values[a] if isinstance(a, int) else a for a in instruction.operands]
        value = instruction.operator.value(SOURCE, *operands).text
        variable = f"t{position}"
        lines.append(f"{variable} = {_strip_parentheses(value)}")
        values.append(SourceText(variable))
    lines.append(f"return {values[program.result].text}")
    return _TEMPLATE.format(
        title=f"The activation function {text}.",
        name=class_name,
        formula=f"{text}.",
        signature=", ".join(f"{name}: torch.Tensor" for name in inputs),
        body="\n".join(" " * 8 + line for line in lines),
    )


def _strip_parentheses(text: str) -> str:
    """Drops one pair of parentheses around the whole of ``text``."""
    if not text.startswith("("):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and position < len(text) - 1:
            return text
    return text[1:-1]
