"""The verb that writes files: export."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rlsearch.cli.tables import print_out
from rlsearch.errors import InputError


def export(
    what: Annotated[str, typer.Argument(help="A formula, or a run for its best.", metavar="FORMULA|RUN")],
    form: Annotated[
        str, typer.Option("--format", help="Format: torch, block, triton, jax, numpy, onnx, sympy or latex.")
    ] = "torch",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write, which must be new; default: print it.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(help="Place among the best of a run: 2 for its second; default: 1.")
    ] = None,
    class_name: Annotated[str | None, typer.Option(help="Name of the class in torch, block and triton files.")] = None,
) -> None:
    """Write a formula as a torch, Triton, jax or ONNX file.

    Of a run it is the first of "rlsearch confirm", or of the search where nothing was confirmed. The file says where it
    comes from. The format block is the whole feed-forward part of a transformer with it.

    Example: rlsearch export runs/quickstart --format onnx -o activation.onnx
    """
    from rlsearch.exports.export import check_class, format_named, found
    from rlsearch.formula.typed import GATED, typed_formula
    from rlsearch.runs.folder import is_run

    kind = format_named(form)
    check_class(form, class_name)
    if kind.is_binary and output is None:
        raise InputError(f"{form} is no text; expected a file to write to: -o activation.{form}")
    if output is not None and output.exists():
        raise InputError(f"{output} exists already; it is not overwritten")
    exported = found(Path(what) if is_run(what) else typed_formula(what, GATED), rank)
    content = kind.write(exported, class_name or kind.default_class(exported.formula))
    if exported.is_confirmed is False:
        sys.stderr.write(
            f"number {rank or 1} of the search, by luck in part: rlsearch confirm {what} says what holds\n"
        )
    if output is None:
        sys.stdout.write(str(content))
        return
    try:
        output.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from error
    print_out(f"wrote {exported.formula} to {output}")
