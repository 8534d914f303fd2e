"""A formula as standalone Python source: one class, importing torch alone."""

import keyword
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlsearch.errors import FormulaError
from rlsearch.formula.backends import SourceText, source_backend, without_parentheses
from rlsearch.formula.program import Program, run

if TYPE_CHECKING:
    from rlsearch.formula.formula import Formula

_TEMPLATE = '''"""The activation function {formula}.

Written by rlsearch. Standalone: needs only torch.
"""

import torch


class {name}(torch.nn.Module):
    """Elementwise {formula}."""

{parameters}    def forward(self, {signature}) -> torch.Tensor:
{body}

    def extra_repr(self) -> str:
        return "{formula}"
'''


def module_source(
    program: Program, inputs: Sequence[str], parameters: Mapping[str, float], text: str, class_name: str
) -> str:
    """Writes the source of a formula, written ``text``, as a class; see :meth:`Formula.source`.

    The code is a straight line, without a branch, so that every compiler and tracer of torch takes it. Parameters are
    arguments of the class, with their start values as defaults.

    Raises:
        FormulaError: If ``class_name`` is not a Python class name, or ``text`` could end a string.
    """
    check_class_name(class_name, ("torch",))
    # The text stands in strings of the source, which is executed.
    if not re.fullmatch(r"[\w ().,*/+@-]+", text):
        raise FormulaError(f"{text!r} is not the text of a formula; expected letters, digits and ()+-*/.,@ alone")
    body = "\n".join(" " * 8 + line for line in _lines(program, inputs, parameters))
    return _TEMPLATE.format(
        name=class_name,
        formula=text,
        parameters=_constructor(parameters),
        signature=", ".join(f"{name}: torch.Tensor" for name in inputs),
        body=body,
    )


def signature(formula: "Formula") -> str:
    """The arguments of a function that computes a formula: its inputs, and its parameters with their start values."""
    return ", ".join([*formula.inputs, *(f"{letter}={start!r}" for letter, start in formula.parameters.items())])


def check_class_name(name: str, taken: Collection[str]) -> None:
    """Checks that a class of source may be called ``name``.

    Raises:
        FormulaError: If it is not a Python class name, or is one of those that are ``taken`` by the rest of the source.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name in taken:
        raise FormulaError(f"{name!r} is not a Python class name; expected one such as 'Activation'")


class Statements:
    """Statements of a straight line of source, which give names ``t0``, ``t1`` ... to what may be used twice.

    Attributes:
        lines: The statements.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def named(self, value: Any) -> Any:
        """A name for a piece of source; names and constants as they are."""
        if not isinstance(value, SourceText) or value.text.isidentifier():
            return value
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {without_parentheses(value.text)}")
        return type(value)(name)


def _constructor(parameters: Mapping[str, float]) -> str:
    """The method that makes the parameters; nothing where there are none."""
    if not parameters:
        return ""
    arguments = ", ".join(f"{letter}: float = {start!r}" for letter, start in parameters.items())
    lines = [f"def __init__(self, {arguments}) -> None:", "    super().__init__()"]
    lines += [f"    self.{letter} = torch.nn.Parameter(torch.tensor({letter}))" for letter in parameters]
    return "\n".join("    " + line for line in lines) + "\n\n"


def _lines(program: Program, inputs: Sequence[str], parameters: Collection[str]) -> list[str]:
    """The statements that compute the program."""
    statements = Statements()
    backend = source_backend(statements.named)
    result = run(program, backend, [SourceText(name) for name in (*inputs, *parameters)], statements.named)
    return [*_widening(inputs, parameters), *statements.lines, f"return {result.text}.to(dtype)"]


def _widening(inputs: Sequence[str], parameters: Collection[str]) -> list[str]:
    """Statements that name the dtype of the result, and bring all numbers to the dtype of the computation."""
    first, *others = inputs
    given, empty = f"{first}.dtype", f"{first}.new_empty((0,))"
    for name in others:
        given = f"torch.promote_types({given}, {name}.dtype)"
        empty = f"{first}.new_empty((0,), dtype={given})"
    return [
        "# Whole numbers count as floats; float16 and bfloat16 are computed in float32 and rounded once.",
        # What sigmoid does to a dtype is what every function of real numbers does. Asking the dtype itself would be a
        # branch, and torch.result_type breaks torch.compile's graph.
        f"dtype = torch.sigmoid({empty}).dtype",
        *(f"{name} = {name}.to(torch.promote_types(dtype, torch.float32))" for name in inputs),
        *(f"{name} = self.{name}.to(torch.promote_types(dtype, torch.float32))" for name in parameters),
    ]
