"""The export of a formula, or of a run's best, in any of the formats."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rlsearch.errors import InputError, nearest
from rlsearch.exports.provenance import Exported, best_of, given
from rlsearch.formula import Formula
from rlsearch.runs.folder import Run, is_run


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Attributes:
        module: Which writes it, in this package. It is loaded when it is asked for, with what it imports.
        summary: What the file is, for people.
        classes: The names of the class that it defines, for a pointwise and for a gated formula, unless it is given
            another one; empty if it defines none.
        is_binary: Whether it is no text.
    """

    module: str
    summary: str
    classes: tuple[str, ...] = ()
    is_binary: bool = False

    @property
    def write(self) -> Callable[[Exported, str], str | bytes]:
        """Makes a whole file of a formula; the second argument is the name of the class."""
        writer: Callable[[Exported, str], str | bytes] = import_module(f"rlsearch.exports.{self.module}").write
        return writer

    def default_class(self, formula: Formula) -> str:
        """What the class of a formula is called; empty if there is none."""
        return self.classes[formula.is_gated] if self.classes else ""


_ACTIVATION = ("Activation", "Activation")

FORMATS: dict[str, Format] = {
    "torch": Format("to_torch", "a torch module that imports nothing else", _ACTIVATION),
    "block": Format(
        "to_block", "a torch module of a transformer's whole feed-forward part", ("FeedForward", "GatedFeedForward")
    ),
    "triton": Format("to_triton", "a torch module with Triton kernels for the GPU", _ACTIVATION),
    "jax": Format("to_jax", "a function of jax.numpy"),
    "numpy": Format("to_numpy", "a function of numpy arrays"),
    "onnx": Format("to_onnx", "an ONNX model of opset 18", is_binary=True),
    "sympy": Format("to_sympy", "a sympy expression"),
    "latex": Format("to_latex", "a line of LaTeX"),
}
"""By the name that the command line takes."""


def export(
    what: Formula | Run | Path | str,
    format: str = "torch",
    *,
    rank: int | None = None,
    class_name: str | None = None,
) -> str | bytes:
    """Makes a file of a formula: its text, or its bytes where the format is binary.

    Args:
        what: A formula or its text; or a run or its folder, whose best is taken: the first of its confirmation if there
            is one, else the first of its search. A text is a run if there is such a folder, or if it is a path into
            one that there is.
        format: A name of ``FORMATS``: torch, block, triton, jax, numpy, onnx, sympy or latex.
        rank: Of a run, which function: 1, the default, is the best.
        class_name: Of the class that the file defines; by default ``"Activation"``, and of a block ``"FeedForward"`` or
            ``"GatedFeedForward"``.

    Raises:
        InputError: If there is no such format or rank, an argument does not go with the others, or what writes the
            format is not installed.
        RunError: If the folder is no run, or has no formula with a score yet.

    Example:
        >>> print(rlsearch.export("x * sigmoid(x)", format="numpy"))
        >>> rlsearch.export("runs/quickstart", format="onnx", rank=2)
    """
    kind = format_named(format)
    check_class(format, class_name)
    exported = found(what, rank)
    return kind.write(exported, class_name or kind.default_class(exported.formula))


def format_named(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in FORMATS:
        raise InputError(
            f"unknown export format {name!r}; expected one of {', '.join(FORMATS)}{nearest(name, FORMATS)}"
        )
    return FORMATS[name]


def check_class(format: str, class_name: str | None) -> None:
    """Raises an InputError if a class is named that the format does not have."""
    if class_name is not None and not FORMATS[format].classes:
        *others, last = (name for name, each in FORMATS.items() if each.classes)
        classes = f"{', '.join(others)} and {last}"
        raise InputError(f"the class name {class_name!r} goes with the formats {classes}; {format} has no class")


def found(what: Formula | Run | Path | str, rank: int | None = None) -> Exported:
    """The formula to export, with what is known of it; arguments as for :func:`export`."""
    if isinstance(what, str):
        what = Path(what) if is_run(what) else Formula.parse(what)
    if not isinstance(what, Formula):
        return best_of(what, 1 if rank is None else rank)
    if rank is not None:
        raise InputError(f"rank {rank} goes with a run; {what} is a formula")
    return given(what)
