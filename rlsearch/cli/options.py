"""Options and arguments that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(help="A run folder, such as runs/quickstart.", metavar="RUN")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: search.rounds=10.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
