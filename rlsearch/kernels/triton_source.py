"""Writes the source of the interpreter that ``triton_kernel.py`` runs, from the operator table.

A stack machine whose stack lies in registers, under static names: an instruction touches the top two values only and
then shifts the stack by one at most, so nothing is indexed. All threads of a program take the same branches, since
its numbers belong to one member. The derivatives of every value by each input lie beside it.

An instruction is a word: the opcode, where its operands come from, which of them depend on which input, and how many
values it takes from the stack. See ``generated.py`` for what is common to all generated interpreters.
"""

import inspect
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import triton

from rlsearch.common.cache import cache_folder
from rlsearch.formula.backends import SourceText
from rlsearch.formula.operators import OPERATORS, Operator
from rlsearch.formula.tokens import MAX_SIZE
from rlsearch.kernels import triton_functions
from rlsearch.kernels.generated import checked_digest, load_module, text_backend, write_module

UNARY, BINARY = ([name for name, operator in OPERATORS.items() if operator.arity == n] for n in (1, 2))

OPCODES = {name: code for code, name in enumerate(("copy", *UNARY, *BINARY))}
"""The number of every operator, and of a copy of an input; those of two operands come last."""

TOP, SECOND, CONSTANT, FIRST_INPUT = range(4)
"""Where an operand may come from; the other inputs follow."""

ROW = 2 * MAX_SIZE
"""Words per member: the number of instructions, one that is unused, then pairs of an instruction and its constant.

A formula has fewer instructions than tokens, so every formula fits.
"""


def instruction(opcode: int, left: int, right: int, chains: Sequence[int], pops: int) -> int:
    """Packs an instruction into a word.

    Args:
        opcode: From ``OPCODES``.
        left: Where the first operand comes from.
        right: Where the second comes from, if there is one.
        chains: Per input, which operands depend on it: 0 none, 1 the left, 2 the right, 3 both.
        pops: How many values are taken from the stack; the result is put there.
    """
    word = opcode | left << 8 | right << 12 | pops << 16
    return word | sum(chain << (18 + 2 * j) for j, chain in enumerate(chains))


_BACKEND = text_backend(SourceText)


def _tensor(a: object) -> str:
    """The text of a block of numbers; a single number is spread over it."""
    return a.text if isinstance(a, SourceText) else f"tl.full([BLOCK], {a!r}, tl.float32)"


def _leaf(operator: Operator | None, slopes: int) -> list[str]:
    """The lines of one instruction: value ``y`` of ``a`` and ``b``, and its partial derivatives."""
    if operator is None:
        return ["y = a", *(["by_a = tl.full([BLOCK], 1.0, tl.float32)"] if slopes else [])]
    operands = [SourceText(name) for name in ("a", "b")[: operator.arity]]
    value = f"y = {_tensor(operator.value(_BACKEND, *operands))}"
    partials = [_tensor(partial(_BACKEND, SourceText("y"), *operands)) for partial in operator.partials]
    by = [f"by_{operand.text} = {partial}" for operand, partial in zip(operands, partials, strict=True)]
    return [value, *(by if slopes else [])]


def _choice(name: str, cases: Sequence[tuple[int, list[str]]]) -> list[str]:
    """A tree of branches on the number ``name``; the cases stand in rising order."""
    if len(cases) == 1:
        return cases[0][1] or ["pass"]
    middle = len(cases) // 2
    return [
        f"if {name} < {cases[middle][0]}:",
        *_indented(_choice(name, cases[:middle])),
        "else:",
        *_indented(_choice(name, cases[middle:])),
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def _operand(name: str, inputs: int, slopes: int) -> list[str]:
    """Branches on where the operand ``name`` comes from."""

    def case(value: str, derivatives: Sequence[str]) -> list[str]:
        return [f"{name} = {value}", *(f"{name}_{j} = {d}" for j, d in enumerate(derivatives))]

    cases = [
        (TOP, case("s0", [f"s0_{j}" for j in range(slopes)])),
        (SECOND, case("s1", [f"s1_{j}" for j in range(slopes)])),
        (CONSTANT, case("tl.full([BLOCK], constant, tl.float32)", ["zero"] * slopes)),
    ]
    own = [["one" if i == j else "zero" for j in range(slopes)] for i in range(inputs)]
    cases += [(FIRST_INPUT + i, case(f"v{i}", own[i])) for i in range(inputs)]
    return _choice("left" if name == "a" else "right", cases)


def _move(to: str, source: str, slopes: int) -> list[str]:
    return [f"{to} = {source}", *(f"{to}_{j} = {source}_{j}" for j in range(slopes))]


def _apply(names: Sequence[str], inputs: int, slopes: int) -> list[str]:
    """Branches on operators of one arity, and then the chain rule by each input."""
    lines = _choice("opcode", [(OPCODES[name], _leaf(OPERATORS.get(name), slopes)) for name in names])
    chains = ["zero", "by_a * a_{0}", "by_b * b_{0}", "by_a * a_{0} + by_b * b_{0}"][: 4 if names is BINARY else 2]
    for j in range(slopes):
        # Where there is one input, everything that is not constant depends on it.
        cases = [(chain, [f"y_{j} = {text.format(j)}"]) for chain, text in enumerate(chains) if chain or inputs > 1]
        lines += _choice(f"chain_{j}", cases)
    return lines


def _step(inputs: int, slopes: int, depth: int) -> list[str]:
    """The lines of the loop over instructions."""
    pushed, popped = [], []
    for k in range(depth - 1, 0, -1):
        pushed += _move(f"s{k}", f"s{k - 1}", slopes)
    for k in range(1, depth - 1):
        popped += _move(f"s{k}", f"s{k + 1}", slopes)
    return [
        "word = tl.load(program + 2 * i)",
        "constant = tl.load(program + 2 * i + 1).to(tl.float32, bitcast=True)",
        "opcode = word & 255",
        "left = (word >> 8) & 15",
        "right = (word >> 12) & 15",
        "pops = (word >> 16) & 3",
        *(f"chain_{j} = (word >> {18 + 2 * j}) & 3" for j in range(slopes)),
        *_operand("a", inputs, slopes),
        f"if opcode < {OPCODES[BINARY[0]]}:",
        *_indented(_apply(["copy", *UNARY], inputs, slopes)),
        "else:",
        *_indented(_operand("b", inputs, slopes)),
        *_indented(_apply(BINARY, inputs, slopes)),
        *_choice("pops", [(0, pushed), (1, []), (2, popped)]),
        *_move("s0", "y", slopes),
    ]


_FUNCTION = """
@triton.jit
def {name}(programs, {arguments}, size, BLOCK: tl.constexpr):
    member = tl.program_id(1)
    program = programs + member * {row}
    start = member.to(tl.int64) * size
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < size
{ready}
    count = tl.load(program)
    for i in range(1, count + 1):
{step}
{stores}
"""


def _function(name: str, inputs: int, slopes: int, depth: int) -> str:
    xs = [f"x{i}" for i in range(inputs)]
    load = "tl.load({} + start + offsets, mask=inside, other=0.0).to(tl.float32)"
    ready = [f"v{i} = {load.format(x)}" for i, x in enumerate(xs)]
    ready += [f"{name} = tl.full([BLOCK], {value}, tl.float32)" for name, value in (("zero", 0.0), ("one", 1.0))]

    # Triton merges variables that have the same value before a loop: every place of the stack starts with its own.
    places = []
    for k in range(depth):
        places += [f"s{k}", *(f"s{k}_{j}" for j in range(slopes))]
    ready += [f"{place} = tl.full([BLOCK], {float(2 + i)}, tl.float32)" for i, place in enumerate(places)]

    store = "tl.store({0} + start + offsets, ({1}).to({0}.dtype.element_ty), mask=inside)"
    if slopes:
        arguments = [*xs, "outer", *(f"slope{j}" for j in range(slopes))]
        stores = [f"gradient = {load.format('outer')}"]
        stores += [store.format(f"slope{j}", f"gradient * s0_{j}") for j in range(slopes)]
    else:
        arguments, stores = [*xs, "values"], [store.format("values", "s0")]
    return _FUNCTION.format(
        name=name,
        arguments=", ".join(arguments),
        row=ROW,
        ready="\n".join(_indented(ready)),
        step="\n".join(_indented(_indented(_step(inputs, slopes, depth)))),
        stores="\n".join(_indented(stores)),
    )


def interpreter_source(inputs: int, depth: int) -> str:
    """Writes a module with the kernels ``forward`` and ``backward``.

    Args:
        inputs: Number of inputs.
        depth: Of the stack.
    """
    return inspect.getsource(triton_functions) + "".join(
        [
            "\n\n# --- written by rlsearch.kernels.triton_source from the operator table ---\n\n",
            _function("forward", inputs, 0, depth),
            "\n",
            _function("backward", inputs, inputs, depth),
        ]
    )


def load_interpreter(inputs: int, depth: int) -> ModuleType:
    """The interpreter of formulas of so many inputs with a stack of some depth.

    Triton compiles it when it is first run on a device, and keeps the machine code in a cache of its own.

    Raises:
        RlsearchError: If an operator calls a function that ``triton_functions.py`` lacks.
    """
    source = interpreter_source(inputs, depth)
    # This setting decides what a module's functions become.
    interpreted = triton.knobs.runtime.interpret
    name = f"rlsearch_triton_{checked_digest(source, triton_functions)}{'_interpreted' if interpreted else ''}"
    if name not in sys.modules:
        path = cache_folder() / "kernels" / f"{name}.py"
        try:
            write_module(path, source)
        except OSError:
            # Triton reads the source from a file, so there must be one.
            path = Path(tempfile.mkdtemp(prefix="rlsearch-")) / f"{name}.py"
            write_module(path, source)
        load_module(name, path)
    return sys.modules[name]
