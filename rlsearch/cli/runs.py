"""The verb ``runs``: what there is in a folder of runs."""

from pathlib import Path
from typing import Annotated

import typer

from rlsearch.cli.options import JsonOption
from rlsearch.cli.tables import make_table, number, print_json, print_out
from rlsearch.errors import InputError


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder of run folders.", metavar="FOLDER")] = Path("runs"),
    newest: Annotated[
        bool, typer.Option("--newest", help="Print only the path of the newest run, for a script.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the runs of a folder, the newest last.

    Example: rlsearch evaluate $(rlsearch runs --newest)
    """
    from rlsearch.formula.simplify import shown
    from rlsearch.runs.overview import runs_in, summary_of

    found = runs_in(folder)
    if not found:
        raise InputError(f"{folder} has no run yet; rlsearch train makes one")
    if newest:
        print_out(str(found[-1].folder))
        return
    summaries = [summary_of(run) for run in found]
    if as_json:
        print_json(
            {
                "run": str(s.run.folder),
                "state": s.state,
                "created": s.created,
                "rounds": s.rounds,
                "candidates": s.candidates,
                "reward": s.reward,
                "best": None if s.best is None else shown(s.best),
            }
            for s in summaries
        )
        return
    table = make_table("run", "state", "begun (UTC)", "trained", "reward", "best", narrow=True)
    for s in summaries:
        begun = s.created[:16].replace("T", " ")
        best = "-" if s.best is None else shown(s.best)
        reward = number(s.reward, "+.4f")
        table.add_row(str(s.run.folder), s.state, begun, str(s.candidates), reward, best)
    print_out(table)
