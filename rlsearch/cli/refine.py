"""The verb ``refine``: the constants of a run's best functions, tuned."""

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlsearch.cli.options import JsonOption, RunArgument, find_own_code_here
from rlsearch.cli.tables import fitting_table, number, print_json, print_out, print_steps

if TYPE_CHECKING:
    from rich.table import Table

    from rlsearch.judging.refining import Refinement


def refine(
    run: RunArgument,
    best: Annotated[int, typer.Option(help="How many of the best functions with constants to refine.")] = 5,
    seeds: Annotated[int, typer.Option(help="Number of seeds that constants are trained from.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Tune the constants of a run's best functions.

    Each constant is trained with the networks of the run's proxies. What it has learned, on average and to two digits,
    makes a new formula, which is judged by the run's reward and stored with the run.

    Example: rlsearch refine runs/quickstart --best 10
    """
    from rlsearch.cli.progress import counting
    from rlsearch.runs.refine import refine as refine_run

    find_own_code_here()
    with counting() as events:
        found = refine_run(run, best=best, seeds=seeds, events=events)
    if as_json:
        print_json(_fields(each) for each in found)
        return
    if not found:
        print_out(f"None of the best functions of {run} has constants that were not refined before.")
        return
    print_out(_table(found))
    better = sum(each.gain > 0 for each in found)
    print_out(f"{better} of {len(found)} have a higher reward; of one seed or few, which is partly luck. Next:")
    print_steps({f"rlsearch confirm {shlex.quote(str(run))}": "what can be claimed: many seeds, intervals, tests"})


def _fields(each: "Refinement") -> dict[str, Any]:
    from rlsearch.formula.simplify import shown

    return {
        "before": shown(each.before.formula),
        "reward_before": each.before.reward,
        "trained": str(each.tuned.formula),
        "reward_trained": each.tuned.reward,
        "after": shown(each.after.formula) if each.after else None,
        "reward_after": each.after.reward if each.after else None,
        "gain": None if each.gain != each.gain else each.gain,
    }


def _table(found: "list[Refinement]") -> "Table":
    rows = [_fields(each) for each in found]
    columns = {
        "before": [number(row["reward_before"], "+.4f") for row in rows],
        "trained": [number(row["reward_trained"], "+.4f") for row in rows],
        "after": [number(row["reward_after"], "+.4f") for row in rows],
        "gain": [number(row["gain"], "+.4f") for row in rows],
        "formulas": [f"{row['before']}\n{row['after']}" for row in rows],
    }
    return fitting_table(columns, less_needed=("trained",))
