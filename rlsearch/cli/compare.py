"""The verb that sets search methods against each other: compare."""

import math
import statistics
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsearch.cli.options import ConfigArgument, SetOption, check_folder_name, find_own_code_here
from rlsearch.cli.tables import make_table, print_out
from rlsearch.errors import InputError

if TYPE_CHECKING:
    from rlsearch.proxies.tasks import Words
    from rlsearch.studies.comparison import MethodComparison
    from rlsearch.studies.methods import Estimate


def compare(
    config: ConfigArgument,
    methods: Annotated[
        str, typer.Option(help="Search methods to compare, separated by commas.")
    ] = "ppo,random,evolution",
    seeds: Annotated[int, typer.Option(help="Number of runs of each method, each from its own seed.")] = 10,
    candidates: Annotated[
        int, typer.Option(help="Functions that each run trains; repeats and unfit ones do not count.")
    ] = 2000,
    rewards: Annotated[
        str,
        typer.Option(
            help="Rewards for which to count how many candidates it takes to reach them, "
            "separated by commas; default: the final reward of each method."
        ),
    ] = "",
    confirm_seeds: Annotated[
        int, typer.Option(help="Fresh seeds that the best function of every run is trained from; 0: none.")
    ] = 20,
    name: Annotated[str | None, typer.Option(help="Name of the folder under --runs; default: compare-CONFIG.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the comparison's folder is made.")] = Path("runs"),
    overrides: SetOption = None,
) -> None:
    """Compare search methods at equal budget, from the same seeds.

    The same command goes on where it was stopped; more seeds, methods or candidates only add to what is there.

    Example: rlsearch compare configs/quickstart.yaml --seeds 3 --candidates 500
    """
    from rlsearch.cli.progress import counting, watching
    from rlsearch.runs.config import load_config
    from rlsearch.studies import compare as comparing
    from rlsearch.studies.retrain import Options

    find_own_code_here()
    wanted = _numbers(rewards)
    options = Options(seeds=confirm_seeds) if confirm_seeds else None
    if name is not None:
        check_folder_name(name)
    loaded = load_config(config, overrides or [])
    folder = runs / (name or f"compare-{config.stem}")
    names = [method.strip() for method in methods.split(",") if method.strip()]

    def announce(run: str, number: int, total: int) -> None:
        print_out(f"{run} ({number}/{total})")

    # All runs first, each with its own bar; then the best of every run is confirmed.
    with watching() as events:
        records = comparing.run_methods(
            loaded, names, folder, seeds=seeds, candidates=candidates, on_run=announce, events=events
        )
    comparison = None
    if records is not None:
        # All trainings are stored by then, so a Ctrl-C while they are compared loses nothing either.
        with suppress(KeyboardInterrupt), counting() as confirmation_events:
            comparison = comparing.conclude(
                loaded,
                records,
                folder,
                candidates=candidates,
                rewards=wanted,
                options=options,
                events=confirmation_events,
            )
    if comparison is None:
        print_out(f"Stopped; everything in {folder} is saved. The same command goes on from there.")
        return
    _print_comparison(comparison)


def _numbers(rewards: str) -> list[float]:
    try:
        numbers = [float(text) for text in rewards.split(",") if text.strip()]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"--rewards {rewards!r} is not a list of numbers such as 0.05,0.06")
    return numbers


def _print_comparison(comparison: "MethodComparison") -> None:
    print_out(f"Best reward after {comparison.candidates} trained candidates, {comparison.seeds} seeds:")
    confirmed = comparison.confirmed
    measures = ["reward", "area", "confirmed"] if confirmed else ["reward", "area"]
    table = make_table(*measures, "method")
    for m in comparison.methods:
        estimates = [m.final, m.area]
        if confirmed:
            estimates.append(confirmed.scores[m.method])
        table.add_row(*(_interval(e, ".3f") for e in estimates), m.method)
    print_out(table)

    # When each method got where; and what each of its runs cost.
    print_out(
        "Trained candidates until a reward is reached (median over runs; runs that reached it),\n"
        "and per run: candidates trained, formulas proposed, unfit functions, trainings with those of rescoring:"
    )
    reached = make_table("reward", *(m.method for m in comparison.methods))
    for reward in comparison.methods[0].reached:
        reached.add_row(f"{reward:+.4f}", *(median_text(m.reached[reward]) for m in comparison.methods))
    reached.add_section()
    reached.add_row("trained", *(f"{m.trained:.0f}" for m in comparison.methods))
    reached.add_row("proposed", *(f"{m.proposals:.0f}" for m in comparison.methods))
    reached.add_row("unfit", *(f"{m.unfit:.0f}" for m in comparison.methods))
    reached.add_row("trainings", *(f"{m.trainings:.0f}" for m in comparison.methods))
    print_out(reached)

    # Each pair of methods, by the same measures as the first table.
    kinds = [comparison.better, comparison.sooner]
    if confirmed:
        kinds.append(confirmed.better)
    legend = confirmed_legend(confirmed.words) if confirmed else ""
    pairs = list(combinations([m.method for m in comparison.methods], 2))
    if pairs:
        print_out("Probability that a run of one is better than a run of the other, with its 95 % interval:")
        table = make_table(*measures, "pair")
        for a, b in pairs:
            table.add_row(*(_interval(kind[a, b], ".2f") for kind in kinds), f"{a} > {b}")
        print_out(table)
    print_out(
        "Reward: the search's own, of the best at the end. Area: mean height of the curve of the best so far.\n"
        f"{legend}Interquartile means over runs, 95 % intervals.\n"
        f"Written to {comparison.folder}: compare.json, compare.csv, compare.png"
    )


def confirmed_legend(words: "Words") -> str:
    """What confirmed scores are."""
    # A score is shown as it is; it is in the unit of differences where those are not multiplied.
    unit = f", in {words.unit}" if words.factor == 1 else ""
    return f"Confirmed: test {words.score} of each run's best on fresh seeds{unit}. "


def _interval(e: "Estimate", form: str) -> str:
    return f"{e.value:{form}} ({e.low:{form}}…{e.high:{form}})"


def median_text(counts: list[int | None]) -> str:
    """The median over runs, and how many got there; one that did not get there counts as infinite."""
    median = statistics.median(math.inf if count is None else count for count in counts)
    there = sum(count is not None for count in counts)
    took = "never" if math.isinf(median) else f"{median:.0f}"
    return f"{took} ({there}/{len(counts)})"
