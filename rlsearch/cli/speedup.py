"""The verb ``speedup``: how much compute a baseline would need for what other functions reach."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsearch.cli.confirm import DEFAULT_RATES, BestOption, RatesOption, SeedsOption, SelectionOption, confirm_options
from rlsearch.cli.options import EachOption, SetOption, find_own_code_here
from rlsearch.cli.tables import make_table, number, print_out
from rlsearch.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from rlsearch.studies.speedup import Speedup

DEFAULT_BUDGETS = "1/4,1/2,1"


def speedup(
    what: Annotated[list[str], typer.Argument(help="A run folder, or formulas.", metavar="RUN|FORMULA...")],
    config: Annotated[Path | None, typer.Option(help="With formulas: config whose proxy is trained.")] = None,
    overrides: SetOption = None,
    proxy: Annotated[str | None, typer.Option(help="Name of the proxy, where the config has several.")] = None,
    baseline: Annotated[str, typer.Option(help="What the others are compared with.")] = "gelu",
    budgets: Annotated[
        str, typer.Option(metavar="SHARES", help="Shares of the training that the baseline is given.")
    ] = DEFAULT_BUDGETS,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With formulas: folder for results and trainings.")
    ] = None,
    best: BestOption = 10,
    each: EachOption = False,
    seeds: SeedsOption = 5,
    rates: RatesOption = DEFAULT_RATES,
    selection_seeds: SelectionOption = 2,
) -> None:
    """Say how much compute a baseline would need for the same score.

    The baseline is trained for a quarter, a half and all of the steps, each at its best learning rate. What it needs
    for another function's score is read off that curve: in steps, and in time by the measured seconds of a step of the
    whole network.

    Example: rlsearch speedup runs/language_model --baseline gelu
    """
    from rlsearch.cli.progress import counting
    from rlsearch.formula.typed import GATED, typed_formula
    from rlsearch.runs.config import load_config
    from rlsearch.runs.folder import is_run
    from rlsearch.studies import speedup as study

    find_own_code_here()
    is_of_run = len(what) == 1 and is_run(what[0])
    if is_of_run and (config is not None or overrides or output is not None):
        raise InputError("--config, --set and -o go with formulas")
    if not is_of_run and config is None:
        raise InputError("formulas need --config, which says what is trained; expected that, or one run")
    given = what[0] if is_of_run else [typed_formula(text, GATED) for text in what]
    loaded = load_config(config, overrides or []) if config else None
    with counting() as events:
        found = study.speedup(
            given,
            loaded,
            proxy=proxy,
            baseline=baseline,
            budgets=_shares(budgets),
            best=best,
            mirrors=each,
            output=output,
            options=confirm_options(seeds, rates, selection_seeds),
            events=events,
        )
    if found is None:
        print_out("Stopped. What was trained is stored if a folder was named; the same command goes on from there.")
        return
    print_out(_curve(found))
    print_out(_table(found))
    print_out(
        f"Difference in {found.words.unit}; then how many times the steps {found.baseline} needs for the same, the "
        "time of a step as a ratio, and how many times the time."
    )
    print_out("In parentheses 95 % intervals by bootstrap over seeds, each for one number by itself.")
    for sentence in found.caveats:
        print_out(sentence)
    if found.folder is not None:
        print_out(f"{found.trained} trainings done now. Written to {found.folder / 'speedup.json'}")


def _shares(text: str) -> list[float]:
    try:
        return [float(Fraction(part)) for part in text.split(",")]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(f"--budgets {text!r} is not a list of shares such as {DEFAULT_BUDGETS}") from None


def _curve(found: "Speedup") -> "Table":
    """The baseline at each budget."""
    table = make_table("share of\nthe steps", "learning\nrate", f"{found.words.score}\non {found.proxy}", "baseline")
    for point in found.points:
        share = str(Fraction(point.budget).limit_denominator(1000))
        table.add_row(share, f"{point.rate.rate:.3g}", found.words.score_text(point.scores.mean()), found.baseline)
    return table


def _table(found: "Speedup") -> "Table":
    """What is read off the curve for each function."""
    table = make_table(found.words.unit.replace(" ", "\n"), "steps", "a step", "time", "function", narrow=True)
    for function in found.functions:
        if function.found is None:
            table.add_row("diverged", "", "", "", function.title)
            continue
        table.add_row(
            found.words.cell(function.found.difference.value),
            function.found.at_equal_steps.cell,
            number(function.found.step_time.value, ".2f"),
            function.found.at_equal_time.cell,
            function.title,
        )
    return table
