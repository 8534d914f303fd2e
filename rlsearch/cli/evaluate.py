"""The verb ``evaluate``: a quick look at formulas on fresh seeds."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rlsearch.cli.options import (
    BaselinesOption,
    CsvOption,
    EachOption,
    JsonOption,
    SetOption,
    find_own_code_here,
    functions_in,
    wants_rows,
)
from rlsearch.cli.tables import (
    comparison_fields,
    comparison_table,
    measured_in_words,
    print_out,
    print_rows,
    print_steps,
)
from rlsearch.errors import InputError


def evaluate(
    what: Annotated[list[str], typer.Argument(help="Such as 'x * sigmoid(x)', or a run.", metavar="FORMULA|RUN")],
    config: Annotated[
        Path | None,
        typer.Option(help="Config whose proxies are trained; default: the run's, or the panel."),
    ] = None,
    overrides: SetOption = None,
    seeds: Annotated[int, typer.Option(help="Number of fresh seeds that each function is trained from.")] = 5,
    best: Annotated[int, typer.Option(help="Number of the run's best functions to take.")] = 5,
    each: EachOption = False,
    baselines: BaselinesOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Score formulas beside the baselines on fresh seeds.

    Their latency is measured too. Given a run, its best are scored, beside what the search saw of them.

    Example: rlsearch evaluate "x * tanh(x)" runs/quickstart --seeds 10
    """
    from rlsearch.cli.progress import counting
    from rlsearch.formula.typed import GATED, typed_formula
    from rlsearch.runs.folder import is_run

    find_own_code_here()
    # Formulas and a run may stand in any order.
    runs = [text for text in what if is_run(text)]
    if len(runs) > 1:
        raise InputError(f"expected at most one run, got {', '.join(runs)}")
    formulas = [typed_formula(text, GATED) for text in what if text not in runs]
    from rlsearch.runs.config import load_config
    from rlsearch.studies import evaluate as evaluation

    if overrides and config is None:
        raise InputError("--set goes with --config")
    against = None if baselines is None else functions_in(baselines)
    loaded = load_config(config, overrides or []) if config else None
    run = runs[0] if runs else None
    try:
        with counting() as events:
            rows = evaluation.evaluate(
                formulas, loaded, run=run, best=best, mirrors=each, baselines=against, seeds=seeds, events=events
            )
    except KeyboardInterrupt:
        if run is None:
            raise
        print_out(f"Stopped; what was trained is stored in {run}. The same command goes on from there.")
        return
    if wants_rows(as_json, as_csv):
        print_rows([comparison_fields(row) for row in rows], as_csv=as_csv)
        return
    with_search = any(row.searched is not None for row in rows)
    measure = evaluation.what_is_measured(loaded, run)
    print_out(comparison_table(rows, seeds, with_search, measure))
    print_out(measured_in_words(measure, [row.latency for row in rows]))
    if run:
        print_out("Next:")
        shown = shlex.quote(run)
        print_steps(
            {
                f"rlsearch confirm {shown}": "what can be claimed: many seeds, intervals, tests",
                f"rlsearch export {shown} -o activation.py": "a torch module that imports nothing else",
            }
        )
