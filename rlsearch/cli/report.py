"""The verb ``report``: one page that one looks at."""

from pathlib import Path
from typing import Annotated

import typer

from rlsearch.cli.tables import print_out


def report(
    folder: Annotated[
        Path, typer.Argument(help="A run, or a folder of compare or of confirm --formulas.", metavar="RUN")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file; default: report.html in that folder.")
    ] = None,
) -> None:
    """Write one page of HTML that shows what was found.

    It has what was confirmed, pictures, a leaderboard to sort and copy from, and how all of it was made. It needs no
    network, and a run may still be going on. A page that is there is replaced; no other file is.

    Example: rlsearch report runs/quickstart -o quickstart.html
    """
    from rlsearch.reports.page import report as write_report

    print_out(f"wrote {write_report(folder, output)}")
