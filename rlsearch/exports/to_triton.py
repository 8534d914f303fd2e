"""A formula as Triton kernels, forward and backward, in a file that imports nothing but torch and triton.

Value and slopes are straight lines, written from the operator table; the functions that they call are copied from
``rlsearch/kernels/triton_functions.py``, where the accuracy of each is stated.
"""

import ast
from collections.abc import Mapping, Sequence
from importlib import resources

from rlsearch.exports.provenance import Exported
from rlsearch.formula import Formula
from rlsearch.formula.backends import SourceText
from rlsearch.formula.program import run, run_with_slopes
from rlsearch.formula.source import Statements, check_class_name
from rlsearch.kernels.generated import text_backend

_TEMPLATE = '''"""The activation function {formula}.

Written by rlsearch. Standalone: needs only torch and triton.
"""

import torch
import triton
import triton.language as tl

BLOCK = 1024
"""Numbers per program."""


class {name}(torch.nn.Module):
    """Elementwise {formula}, in one pass over memory.

    Takes float32, float16 and bfloat16 on a GPU, and computes in float32. Keeps its inputs alone for the backward pass,
    which computes the slopes anew.
    """

    def forward(self, {signature}) -> torch.Tensor:
        return _Elementwise.apply(*torch.broadcast_tensors({inputs}))


class _Elementwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        dtypes = {{x.dtype for x in inputs}}
        if len(dtypes) > 1 or not dtypes <= {{torch.float32, torch.float16, torch.bfloat16}}:
            raise TypeError(f"expected inputs of one dtype, float32, float16 or bfloat16, got {{dtypes}}")
        inputs = [x.contiguous() for x in inputs]
        ctx.save_for_backward(*inputs)
        y = torch.empty_like(inputs[0])
        _launch(_forward, *inputs, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer):
        inputs = ctx.saved_tensors
        slopes = [torch.empty_like(x) for x in inputs]
        _launch(_backward, *inputs, outer.contiguous(), *slopes)
        return tuple(slopes)


def _launch(kernel, *tensors):
    """Runs a kernel on the device of the tensors; a device refuses to run nothing."""
    size = tensors[0].numel()
    if size:
        with torch.cuda.device_of(tensors[0]):
            kernel[(triton.cdiv(size, BLOCK),)](*tensors, size, BLOCK=BLOCK)


@triton.jit
def _forward({pointers}, result_values, size, BLOCK: tl.constexpr):
{forward}


@triton.jit
def _backward({pointers}, outer_values, {slope_pointers}, size, BLOCK: tl.constexpr):
{backward}
'''

_HEADING = "# --- functions of float32, from Triton's primitives alone ---"


def write(exported: Exported, class_name: str) -> str:
    """Writes the file. Parameters are the numbers that they start at: the kernels have no gradient by them.

    Raises:
        FormulaError: If ``class_name`` is not a Python class name.
    """
    formula = exported.formula.with_values()
    forward, backward = _forward(formula), _backward(formula)
    source = _defined()
    check_class_name(
        class_name, ("torch", "triton", "tl", "BLOCK", "_Elementwise", "_launch", "_forward", "_backward", *source)
    )
    kernels = _TEMPLATE.format(
        formula=formula,
        name=class_name,
        signature=", ".join(f"{name}: torch.Tensor" for name in formula.inputs),
        inputs=", ".join(formula.inputs),
        pointers=", ".join(f"{name}_values" for name in formula.inputs),
        slope_pointers=", ".join(f"slope_{name}_values" for name in formula.inputs),
        forward=_indented(forward),
        backward=_indented(backward),
    )
    functions = _functions((*forward, *backward), source)
    return exported.as_comment("# ") + "\n\n".join([kernels, *functions])


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(" " * 4 + line for line in lines)


def _forward(formula: Formula) -> list[str]:
    """The lines of the kernel that computes values."""
    statements = Statements()
    inputs = [SourceText(name) for name in formula.inputs]
    result = run(formula.program, text_backend(SourceText), inputs, statements.named)
    return [*_loads(formula.inputs), *statements.lines, _store("result", result.text)]


def _backward(formula: Formula) -> list[str]:
    """The lines of the kernel that computes the gradient by every input."""
    statements = Statements()
    inputs = [SourceText(name) for name in formula.inputs]
    _, slopes = run_with_slopes(formula.program, text_backend(SourceText), inputs, statements.named)
    products = [statements.named(SourceText("outer") * slope) for slope in slopes]
    stores = [_store(f"slope_{name}", product.text) for name, product in zip(formula.inputs, products, strict=True)]
    return [*_loads((*formula.inputs, "outer")), *statements.lines, *stores]


def _loads(names: Sequence[str]) -> list[str]:
    return [
        "offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
        "inside = offsets < size",
        *(f"{name} = tl.load({name}_values + offsets, mask=inside, other=0.0).to(tl.float32)" for name in names),
    ]


def _store(name: str, value: str) -> str:
    return f"tl.store({name}_values + offsets, {value}.to({name}_values.dtype.element_ty), mask=inside)"


def _defined() -> dict[str, str]:
    """The source of every function that the kernels may call, by name."""
    # Read as a text: importing it takes triton, which writing does not need.
    file = resources.files("rlsearch.kernels").joinpath("triton_functions.py").read_text(encoding="utf-8")
    lines, found = file.splitlines(), dict[str, str]()
    for node in ast.parse(file).body:
        if isinstance(node, ast.FunctionDef):
            first = min(decorator.lineno for decorator in node.decorator_list)
            found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found


def _functions(lines: Sequence[str], defined: Mapping[str, str]) -> list[str]:
    """The functions that the lines call, and those that these call, in the order of their file, with a heading."""
    needed, open_names = set[str](), _names("\n".join(lines))
    while open_names:
        name = open_names.pop()
        if name in defined and name not in needed:
            needed.add(name)
            open_names |= _names(defined[name])
    functions = [f"{source}\n" for name, source in defined.items() if name in needed]
    return [f"{_HEADING}\n", *functions] if functions else []


def _names(source: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
