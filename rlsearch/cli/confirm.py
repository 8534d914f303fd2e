"""The verbs that say what can be claimed of formulas: confirm, transfer."""

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsearch.cli.confirmation import print_findings, print_holds
from rlsearch.cli.options import BaselinesOption, EachOption, RunArgument, SetOption, find_own_code_here, functions_in
from rlsearch.cli.tables import print_out
from rlsearch.errors import InputError, nearest

if TYPE_CHECKING:
    from rlsearch.runs.config import Config
    from rlsearch.studies.retrain import Options
    from rlsearch.studies.study import Confirmation

BestOption = Annotated[int, typer.Option(help="Number of the run's best functions to take.")]
SeedsOption = Annotated[
    int, typer.Option(help="Fresh seeds that each function is trained from, each with its own data.")
]
RatesOption = Annotated[
    str, typer.Option(metavar="FACTORS", help="Factors on the config's learning rate; each function gets its best.")
]
SelectionOption = Annotated[int, typer.Option(help="Other fresh seeds, by which the learning rate is chosen.")]
DEFAULT_RATES = "1/3,1,3"


def confirm(
    what: Annotated[
        list[str] | None, typer.Argument(help="A run folder, such as runs/quickstart.", metavar="RUN")
    ] = None,
    formulas: Annotated[
        list[str] | None, typer.Option("--formulas", metavar="FORMULA...", help="Formulas to confirm instead of a run.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="With --formulas: config whose proxies are trained; default: the panel.")
    ] = None,
    overrides: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="With --formulas: folder for results and trainings; default: none is kept."
        ),
    ] = None,
    best: BestOption = 10,
    each: EachOption = False,
    baselines: BaselinesOption = None,
    seeds: SeedsOption = 20,
    rates: RatesOption = DEFAULT_RATES,
    selection_seeds: SelectionOption = 3,
) -> None:
    """Say what can be claimed of a run's best formulas.

    Of mirror images, such as f(x) and -f(x), the best is taken. They and nine baselines are trained on fresh seeds and
    data, each at its best learning rate of several, and compared in pairs. Nothing is trained twice: more seeds only
    add to those that are there.

    Example: rlsearch confirm runs/quickstart --seeds 40
    """
    from rlsearch.cli.progress import counting
    from rlsearch.formula.typed import GATED, typed_formula
    from rlsearch.runs.config import load_config
    from rlsearch.studies import confirm as confirming

    find_own_code_here()
    options, against = confirm_options(seeds, rates, selection_seeds), _against(baselines)
    # What follows the first of --formulas comes as an argument.
    given = [*(what or []), *(formulas or [])]
    if formulas is None:
        if len(given) != 1:
            raise InputError(f"expected one run, or --formulas; got {', '.join(given) or 'neither'}")
        if config is not None or overrides or output is not None:
            raise InputError("--config, --set and -o go with --formulas; for other proxies: rlsearch transfer RUN --to")
        with counting() as events:
            outcome = confirming.confirm(
                given[0], best=best, mirrors=each, baselines=against, options=options, events=events
            )
    else:
        runs = [text for text in given if os.path.isdir(text)]
        if runs:
            raise InputError(f"expected a run or --formulas, not both; got the run {runs[0]}")
        if overrides and config is None:
            raise InputError("--set goes with --config")
        loaded = load_config(config, overrides or []) if config else None
        parsed = [typed_formula(text, GATED) for text in (*formulas, *(what or []))]
        with counting() as events:
            outcome = confirming.confirm_formulas(
                parsed, loaded, baselines=against, output=output, options=options, events=events
            )
    _print_confirmation(outcome)


def transfer(
    run: RunArgument,
    more: Annotated[list[str] | None, typer.Argument(metavar="--to TARGET", hidden=True)] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="TARGET...",
            help="Configs, or names of tasks that come with rlsearch; default: all of the latter.",
        ),
    ] = None,
    best: BestOption = 10,
    each: EachOption = False,
    baselines: BaselinesOption = None,
    seeds: SeedsOption = 20,
    rates: RatesOption = DEFAULT_RATES,
    selection_seeds: SelectionOption = 3,
) -> None:
    """Confirm a run's best formulas on other tasks.

    These are the proxies of other configs, or tasks that come with rlsearch and are in none of its panels: products,
    polynomials, harmonics, convolution, deep-text.

    Example: rlsearch transfer runs/quickstart --to deep-text configs/conv.yaml
    """
    from rlsearch.cli.progress import counting
    from rlsearch.studies import transfer as transferring

    find_own_code_here()
    options, against = confirm_options(seeds, rates, selection_seeds), _against(baselines)
    # What follows the first target comes as an argument.
    if more and not to:
        raise InputError(f"expected one run, got {run}, {', '.join(more)}; targets stand after --to")
    targets = _targets([*(to or []), *(more or [])])
    with counting() as events:
        outcomes = transferring.transfer(
            run, targets, best=best, mirrors=each, baselines=against, options=options, events=events
        )
    for name, outcome in outcomes.items():
        print_out(f"On {name}:")
        _print_confirmation(outcome)
    if len(outcomes) == len(targets) and all(outcome.findings is not None for outcome in outcomes.values()):
        print_holds(outcomes)


def _targets(texts: list[str]) -> "dict[str, Config]":
    """The configs of targets by name: files, and those that are shipped; without any, all of these."""
    from rlsearch.runs.config import load_config
    from rlsearch.studies.targets import TARGETS

    configs: dict[str, Config] = {}
    for text in texts or TARGETS:
        name = text if text in TARGETS else Path(text).stem
        if name in configs:
            raise InputError(f"two targets are called {name}; expected different names, which name the outputs")
        if text in TARGETS:
            configs[name] = TARGETS[text]
        elif Path(text).suffix or os.path.exists(text):
            configs[name] = load_config(text)
        else:
            expected = f"expected a config file, or one of {', '.join(TARGETS)}{nearest(text, TARGETS)}"
            raise InputError(f"there is no target {text!r}; {expected}")
    return configs


def _against(baselines: str | None) -> list[str] | None:
    return None if baselines is None else functions_in(baselines)


def confirm_options(seeds: int, rates: str, selection_seeds: int) -> "Options":
    """How much is trained, from what was typed.

    Raises:
        InputError: If the rates are not a list of factors.
    """
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
    print_findings(outcome.findings, outcome.proxies)
    if outcome.folder is not None:
        more = ", and both figures of each proxy" if outcome.proxies else ""
        print_out(
            f"{outcome.trained} trainings done now. Written to {outcome.folder}: confirm.json, confirm.csv, "
            f"forest.png, pareto.png{more}"
        )
