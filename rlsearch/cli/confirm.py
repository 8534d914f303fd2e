"""The verbs that say what can be claimed of formulas: confirm, transfer."""

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsearch.cli.options import RunArgument, SetOption, find_own_code_here
from rlsearch.cli.tables import print_findings, print_list, print_out
from rlsearch.errors import InputError

if TYPE_CHECKING:
    from rlsearch.studies.confirm import Confirmation
    from rlsearch.studies.retrain import Options

BestOption = Annotated[int, typer.Option(help="How many of the run's best functions.")]
SeedsOption = Annotated[int, typer.Option(help="Fresh seeds per function, each with its own data.")]
RatesOption = Annotated[str, typer.Option(metavar="FACTORS", help="On the config's learning rate; the best is taken.")]
SelectionOption = Annotated[int, typer.Option(help="Fresh seeds by which the learning rate is chosen.")]
DEFAULT_RATES = "1/3,1,3"


def confirm(
    what: Annotated[list[str] | None, typer.Argument(help="A run.", metavar="[RUN]")] = None,
    formulas: Annotated[
        list[str] | None, typer.Option("--formulas", metavar="FORMULA...", help="Any formulas instead of a run.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="With --formulas: whose proxies to train.")] = None,
    overrides: SetOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --formulas: a folder for files and trainings.")
    ] = None,
    best: BestOption = 10,
    seeds: SeedsOption = 20,
    rates: RatesOption = DEFAULT_RATES,
    selection_seeds: SelectionOption = 3,
) -> None:
    """Say what can be claimed of a run's best formulas.

    They and seven baselines are trained on fresh seeds and data, each at its best learning rate of several, and
    compared in pairs. Nothing is trained twice: more seeds only add to those that are there.
    """
    from rlsearch.cli.progress import counting
    from rlsearch.formula import Formula
    from rlsearch.runs.config import load_config
    from rlsearch.studies import confirm as confirming

    find_own_code_here()
    options = _confirm_options(seeds, rates, selection_seeds)
    # What follows the first of --formulas comes as an argument.
    given = [*(what or []), *(formulas or [])]
    if formulas is None:
        if len(given) != 1:
            raise InputError(f"expected one run, or --formulas; got {', '.join(given) or 'neither'}")
        if config is not None or overrides or output is not None:
            raise InputError("--config, --set and -o go with --formulas; for other proxies: rlsearch transfer RUN --to")
        with counting() as events:
            outcome = confirming.confirm(given[0], best=best, options=options, events=events)
    else:
        runs = [text for text in given if os.path.isdir(text)]
        if runs:
            raise InputError(f"expected a run or --formulas, not both; got the run {runs[0]}")
        if overrides and config is None:
            raise InputError("--set goes with --config")
        loaded = load_config(config, overrides or []) if config else None
        parsed = [Formula.parse(text) for text in (*formulas, *(what or []))]
        with counting() as events:
            outcome = confirming.confirm_formulas(parsed, loaded, output=output, options=options, events=events)
    _print_confirmation(outcome)


def transfer(
    run: RunArgument,
    more: Annotated[list[Path] | None, typer.Argument(metavar="", hidden=True)] = None,
    to: Annotated[list[Path] | None, typer.Option("--to", metavar="CONFIG...", help="Whose proxies to train.")] = None,
    best: BestOption = 10,
    seeds: SeedsOption = 20,
    rates: RatesOption = DEFAULT_RATES,
    selection_seeds: SelectionOption = 3,
) -> None:
    """Confirm a run's best formulas on the proxies of other configs."""
    from rlsearch.cli.progress import counting
    from rlsearch.runs.config import load_config
    from rlsearch.studies import confirm as confirming
    from rlsearch.studies.findings import where_they_hold

    find_own_code_here()
    options = _confirm_options(seeds, rates, selection_seeds)
    # What follows the first config comes as an argument.
    paths = [*(to or []), *(more or [])]
    if not to:
        raise InputError("expected --to with at least one config, such as --to configs/two_proxies.yaml")
    names = [path.stem for path in paths]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two configs are called {twice[0]}; expected different names, which name the outputs")
    configs = {path.stem: load_config(path) for path in paths}
    with counting() as events:
        outcomes = confirming.transfer(run, configs, best=best, options=options, events=events)
    for name, outcome in outcomes.items():
        print_out(f"On {name}:")
        _print_confirmation(outcome)
    found = {name: outcome.findings for name, outcome in outcomes.items() if outcome.findings is not None}
    if len(found) == len(configs):
        print_out("Over all configs:")
        print_list(where_they_hold(found))


def _confirm_options(seeds: int, rates: str, selection_seeds: int) -> "Options":
    from rlsearch.studies.retrain import Options

    try:
        factors = tuple(float(Fraction(text)) for text in rates.split(","))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InputError(f"--rates {rates!r} is not a list of factors such as {DEFAULT_RATES}") from None
    return Options(seeds, factors, selection_seeds)


def _print_confirmation(outcome: "Confirmation") -> None:
    if outcome.findings is None:
        kept = "nothing is kept without -o"
        if outcome.folder is not None:
            kept = "they are stored; the same command goes on from there"
        print_out(f"Stopped after {outcome.trained} trainings; {kept}.")
        return
    print_findings(outcome.findings)
    if outcome.folder is not None:
        print_out(
            f"{outcome.trained} trainings done now. Written to {outcome.folder}: confirm.json, confirm.csv, "
            "forest.png, pareto.png"
        )
