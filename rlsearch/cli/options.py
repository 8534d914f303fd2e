"""Options and arguments that several verbs share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from rlsearch.errors import InputError

RunArgument = Annotated[Path, typer.Argument(help="A run folder, such as runs/quickstart.", metavar="RUN")]
ConfigArgument = Annotated[Path, typer.Argument(help="A file such as configs/quickstart.yaml.", metavar="CONFIG")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: search.rounds=10 or 'a.b=[1, 2]'."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV, with all that the table has no room for.")]


def wants_rows(as_json: bool, as_csv: bool) -> bool:
    """Whether rows for a program are wanted in the place of a table.

    Raises:
        InputError: If both forms are asked for.
    """
    if as_json and as_csv:
        raise InputError("--json and --csv were both given; expected one of them")
    return as_json or as_csv


EachOption = Annotated[bool, typer.Option("--all", help="Count mirror images, f(x), -f(x) and f(-x), each by itself.")]

BaselinesOption = Annotated[
    str | None, typer.Option(metavar="NAMES", help="What to compare with: relu,gelu,... or formulas.")
]


def functions_in(text: str) -> list[str]:
    """The functions of a list with commas: names, and formulas, whose own commas stand in parentheses.

    Raises:
        InputError: If there is none, or an empty one between two commas.
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    functions = [part.strip() for part in parts]
    if not all(functions):
        raise InputError(f"--baselines {text!r} is not a list of functions such as relu,gelu")
    return functions


def check_folder_name(name: str) -> None:
    """Raises an InputError if ``name`` is not that of a folder."""
    from rlsearch.runs.train import check_name

    check_name(name, "--name")


def find_own_code_here() -> None:
    """Lets a config name a reward or a network in a file of the current folder; beside the config it may lie anyway.

    Only the verbs that train call this: a folder that one merely stands in must not be able to run anything.
    """
    # ruamel is a namespace package: a file of that name here would come before it.
    import ruamel.yaml  # noqa: F401

    from rlsearch.common.targets import search_too

    search_too(os.getcwd())
