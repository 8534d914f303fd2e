"""The verb that says what formulas are made of: operators."""

import sys
from typing import Annotated

import typer

from rlsearch.cli.tables import make_table, print_out


def operators(
    names: Annotated[bool, typer.Option("--names", help="List the named functions instead, such as gelu.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print both lists as a page of Markdown.")] = False,
) -> None:
    """Say what every operator computes: value, slope, guard, source.

    Example: rlsearch operators --names
    """
    from rlsearch.formula import OPERATORS
    from rlsearch.formula.named import NAMED
    from rlsearch.formula.reference import as_markdown, call, operator_lines

    if markdown:
        sys.stdout.write(as_markdown())
    elif names:
        table = make_table("function", "body and source")
        for name, function in NAMED.items():
            table.add_row(call(name, function.parameters), f"{function.body}\n{function.source}")
        print_out(table)
    else:
        table = make_table("operator", "value, slope, guard, source")
        for name, operator in OPERATORS.items():
            table.add_row(call(name, "ab"[: operator.arity]), "\n".join(operator_lines(operator)))
        print_out(table)
        print_out("A guard acts only near a singular point; every other value is exact.\nNamed functions: --names")
