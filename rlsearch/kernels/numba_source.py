"""Writes the source of the interpreter that ``numba_kernel.py`` runs, from the operator table.

An operator's row becomes a branch of the interpreter, in one form for every mixture of arrays and constants. See
``generated.py`` for what is common to all generated interpreters.
"""

from collections.abc import Sequence
from types import ModuleType

from rlsearch.formula.backends import SourceText
from rlsearch.formula.operators import OPERATORS, Operator
from rlsearch.kernels import numba_functions
from rlsearch.kernels.compiled import load_generated
from rlsearch.kernels.generated import FUNCTIONS, checked_digest, text_backend

BLOCK = 512
"""Numbers per pass of an instruction: few enough for the first-level cache, many enough to forget the dispatch."""

FORMS = {1: ("v",), 2: ("vv", "vc", "cv")}
"""Operands by arity: v is an array, c a constant. Two constants were folded when the formula was compiled."""


def _numbered_forms() -> dict[tuple[str, str], int]:
    numbers: dict[tuple[str, str], int] = {}
    for operator in OPERATORS.values():
        for form in FORMS[operator.arity]:
            numbers[operator.name, form] = len(numbers)
    return numbers


OPCODES = _numbered_forms()
"""The number of every operator in every form."""


class _Text(SourceText):
    @staticmethod
    def constant(a: float) -> str:
        # A bare literal would turn the arithmetic to float64.
        return f"F({a!r})"


_BACKEND = text_backend(_Text)


def branch(operator: Operator, form: str, slopes: int, block: int | str = BLOCK) -> list[str]:
    """Writes the loop of one instruction: ``left`` and ``right`` are operands, ``into`` the result.

    With one slope the chain rule is in the loop. With more, the partial derivatives go to ``outer_left`` and
    ``outer_right``, since which inputs an operand depends on differs from one instruction to the next.

    Args:
        operator: What the instruction applies.
        form: Which operands are arrays and which constants; see ``FORMS``.
        slopes: How many slopes are computed beside the value.
        block: How many numbers the loop runs over, or the variable that says it.
    """
    arrays = ("left", "right")[: len(form)]
    names = ("a", "b")[: len(form)]
    operands = [_Text(name) for name in names]
    loads = (f"{array}[i]" if kind == "v" else "constant" for array, kind in zip(arrays, form, strict=True))
    lines = [f"{name} = {load}" for name, load in zip(names, loads, strict=True)]
    lines += [f"y = {_Text.of(operator.value(_BACKEND, *operands))}", "into[i] = y"]

    # Of arrays alone: the slope of a constant is 0, even where the partial derivative is infinite.
    terms = []
    for partial, array, kind in zip(operator.partials, arrays, form, strict=True):
        if slopes and kind == "v":
            outer, inner = _Text.of(partial(_BACKEND, _Text("y"), *operands)), f"{array}[{block} + i]"
            if slopes > 1:
                lines.append(f"outer_{array}[i] = {outer}")
            terms.append(inner if outer == "F(1.0)" else f"{outer} * {inner}")
    if slopes == 1:
        lines.append(f"into[{block} + i] = {' + '.join(terms)}")
    return [f"for i in range({block}):", *("    " + line for line in lines)]


_INTERPRETER = """
@compiled({signature!r})
def {name}(instructions, constants, starts, results, n_slots, {arguments}):
    scratch = np.empty(n_slots * {record}, np.float32)
{ready}
    for member in range({first}.shape[0]):
        numbers = {first}[member]
        for start in range(0, numbers.size, {block}):
            count = min({block}, numbers.size - start)
{fills}
            for position in range(starts[member], starts[member + 1]):
                opcode = instructions[position, 0]
                into = scratch[instructions[position, 1] : instructions[position, 1] + {record}]
                left = scratch[instructions[position, 2] : instructions[position, 2] + {record}]
                right = scratch[instructions[position, 3] : instructions[position, 3] + {record}]
                constant = constants[position]
{branches}
            result = scratch[results[member] : results[member] + {record}]
{copies}
"""

# The chain rule by each input, where there are several; nothing is multiplied by a slope that is 0 everywhere, since
# the other factor may be infinite.
_CHAINS = """
for j in range({inputs}):
    slope = into[{block} * (1 + j) : {block} * (2 + j)]
    from_left = left[{block} * (1 + j) : {block} * (2 + j)]
    from_right = right[{block} * (1 + j) : {block} * (2 + j)]
    chain = chains[position, j]
    if chain == 0:
        slope[:] = 0
    elif chain == 1:
        for i in range({block}):
            slope[i] = outer_left[i] * from_left[i]
    elif chain == 2:
        for i in range({block}):
            slope[i] = outer_right[i] * from_right[i]
    else:
        for i in range({block}):
            slope[i] = outer_left[i] * from_left[i] + outer_right[i] * from_right[i]
"""


def _ready(inputs: int, record: int, slopes: int) -> list[str]:
    """Lines that prepare the scratch, whose first slots are the inputs."""
    lines = []
    for j in range(inputs):
        lines += [f"scratch[{record * j}:{record * (j + 1)}] = 0"]
        at = record * j + BLOCK * (1 + j)
        lines += [f"scratch[{at}:{at + BLOCK}] = 1  # an input's slope by itself; nothing else is ever written there"]
    if slopes > 1:
        lines += [f"outer_{side} = np.empty({BLOCK}, np.float32)" for side in ("left", "right")]
    return lines


def _interpreter(name: str, inputs: int, slopes: int) -> str:
    record = (1 + inputs) * BLOCK
    branches = []
    for (operator, form), code in OPCODES.items():
        branches += [f"{'elif' if code else 'if'} opcode == {code}:  # {operator} {form}"]
        branches += ["    " + line for line in branch(OPERATORS[operator], form, slopes)]
    if slopes > 1:
        branches += _CHAINS.format(inputs=inputs, block=BLOCK).strip().split("\n")

    # Inputs are copied into the first slots, and the result's slot into the outputs.
    xs = [f"x{j}" for j in range(inputs)]
    fills = []
    for j, x in enumerate(xs):
        # One number of the whole member, such as a parameter, is spread here, and not in memory.
        indent = "    " if j else ""
        if j:
            fills += [f"if {x}.shape[1] < numbers.size:", f"    number = {x}[member, 0]"]
            fills += [f"    scratch[{record * j} : {record * j + BLOCK}] = number", "else:"]
        fills += [f"{indent}source = {x}[member, start : start + count]", f"{indent}for i in range(count):"]
        fills += [f"{indent}    scratch[{record * j} + i] = source[i]"]
    outputs = ["values", *(f"slopes{j}" for j in range(slopes))]
    copies = []
    for j, output in enumerate(outputs):
        copies += [f"target = {output}[member, start : start + count]", "for i in range(count):"]
        copies += [f"    target[i] = result[{BLOCK * j} + i]"]

    chains = ["chains"] if inputs > 1 else []
    arguments = [*chains, *xs, *outputs]
    kinds = ["int32[:, ::1]"] * len(chains) + ["float32[:, ::1]"] * (len(arguments) - len(chains))
    return _INTERPRETER.format(
        signature=f"void(int32[:, ::1], float32[::1], int32[::1], int32[::1], int64, {', '.join(kinds)})",
        name=name,
        arguments=", ".join(arguments),
        first=xs[0],
        block=BLOCK,
        record=record,
        ready=_indented(4, _ready(inputs, record, slopes)),
        fills=_indented(12, fills),
        branches=_indented(16, branches),
        copies=_indented(12, copies),
    )


def _indented(spaces: int, lines: Sequence[str]) -> str:
    return "\n".join(" " * spaces + line for line in lines)


def header(stem: str) -> str:
    """The first lines of a generated module: its functions are declared by ``compiled``."""
    return (
        '"""Written by rlsearch from the operator table; made anew when that changes."""\n\n'
        "import numpy as np\n\n"
        "from rlsearch.kernels.compiled import Compiler\n"
        f"from {numba_functions.__name__} import {', '.join(['F', *FUNCTIONS])}\n\n"
        f'compiled = Compiler("{stem}", __name__)  # the name contains a digest of all that this depends on\n'
    )


def interpreter_source(inputs: int = 1) -> str:
    """Writes a module with the functions ``value`` and ``value_and_slopes`` of some inputs."""
    functions = _interpreter("value", inputs, 0) + _interpreter("value_and_slopes", inputs, inputs)
    return header("interpreter") + functions


def load_interpreter(inputs: int = 1) -> ModuleType:
    """The compiled interpreter of formulas of so many inputs.

    The first process on a machine compiles it, which takes about a quarter of a minute; later ones load it from the
    cache folder in less than a second. Where that folder cannot be written, every process compiles.

    Raises:
        RlsearchError: If an operator calls a function that ``numba_functions.py`` lacks.
    """
    source = interpreter_source(inputs)
    return load_generated("interpreter", source, checked_digest(source, numba_functions))
