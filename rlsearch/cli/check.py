"""The verb that looks at a config's proxies before a search does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlsearch.cli.options import JsonOption, SetOption, find_own_code_here
from rlsearch.cli.tables import make_table, number, print_json, print_out
from rlsearch.errors import InputError

if TYPE_CHECKING:
    from rlsearch.rewards.base import RewardResult
    from rlsearch.studies.check import BankCheck, Check

MINUTES = 10
"""The length of search for which a number of candidates is proposed."""


def check(
    config: Annotated[Path, typer.Argument(help="A file such as configs/quickstart.yaml.", metavar="CONFIG")],
    overrides: SetOption = None,
    bank: Annotated[
        Path | None, typer.Option(help="A CSV file of functions whose merit you know: columns formula and merit.")
    ] = None,
    merit: Annotated[str, typer.Option(metavar="COLUMN", help="With --bank: the column that has it.")] = "merit",
    higher_is_better: Annotated[
        bool, typer.Option("--higher-is-better", help="With --bank: merit is a score; else a rank, the lowest best.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at a config's proxies: what a candidate costs, and whether they can tell functions apart.

    With a bank it says how well the reward orders functions that you know: rlsearch check CONFIG --bank bank.csv
    """
    from rlsearch.cli.progress import counting
    from rlsearch.runs.config import load_config
    from rlsearch.studies import check as checking

    find_own_code_here()
    if bank is None and (merit != "merit" or higher_is_better):
        raise InputError("--merit and --higher-is-better go with --bank")
    loaded = load_config(config, overrides or [])
    with counting() as events:
        found = checking.check(loaded, bank, merit=merit, higher_is_better=higher_is_better, events=events)
    if as_json:
        print_json([_fields(found)])
        return
    _print_proxies(found)
    if found.bank is not None:
        _print_bank(found, found.bank)


def _print_proxies(found: "Check") -> None:
    table = make_table("seconds", "ref.", "identity", "spread", "noise", "trained", "proxy")
    for proxy in found.proxies:
        task, scale = proxy.task, proxy.scale
        table.add_row(
            f"{proxy.seconds:.3f}",
            task.score_text(scale.reference),
            "diverged" if proxy.linear is None else task.score_text(proxy.linear),
            task.number(scale.spread) if found.in_spreads else "-",
            task.number(scale.noise),
            proxy.way,
            proxy.title,
        )
    print_out(table)
    an_hour = found.candidates_an_hour
    print_out(
        "Seconds: of one core or GPU for a candidate. Ref., identity: scores of the reference, of a linear network.\n"
        "Spread: between the best and the worst baseline, the unit of gains.\n"
        "Noise: standard deviation between seeds. Spread and noise are in the unit of the score's "
        "differences.\n"
        f"A candidate takes {found.seconds:.3f} s on all of them; {found.workers} worker(s) train about "
        f"{an_hour:,.0f} in an hour.\n"
        f"For a search of {MINUTES} minutes: --set search.candidates={an_hour * MINUTES / 60:.0f}"
    )


def _print_bank(found: "Check", bank: "BankCheck") -> None:
    names = [proxy.title for proxy in found.proxies]
    several = [name.replace("-", "\n", 1) for name in names] if len(names) > 1 else []
    functions = make_table("merit", "gain", *several, "function")
    functions.pad_edge, functions.collapse_padding = False, True
    for formula, merit, result in bank.rows:
        gains = [number(result.gains.get(name), "+.2f") for name in names] if len(names) > 1 else []
        functions.add_row(f"{merit:g}", number(_gain(result), "+.3f"), *gains, formula)
    print_out(functions)
    orders = make_table("correlation", "95 % interval", "better\nhalf", "merit of\nits first 5", "order by")
    for order in bank.orders:
        orders.add_row(
            f"{order.everything:+.2f}",
            f"{order.low:+.2f} to {order.high:+.2f}",
            f"{order.better_half:+.2f}",
            f"{order.top_merit:.1f}",
            order.title,
        )
    print_out(orders)
    print_out(
        f"Spearman's correlation with merit over {len(bank.rows)} functions; the interval is over resampled "
        f"functions.\nThe mean merit of the best five is {bank.best:.1f}; of five drawn at random {bank.chance:.1f}."
    )
    if found.correlations is not None and len(names) > 1:
        between = make_table(*(str(i + 1) for i in range(len(names))), "correlation between gains")
        for i, name in enumerate(names):
            between.add_row(*(f"{value:+.2f}" for value in found.correlations[i]), f"{i + 1} {name}")
        print_out(between)


def _gain(result: "RewardResult") -> float | None:
    """Of a single classifier the gain is in points, and the score is its accuracy."""
    return next(iter(result.gains.values()), None) if len(result.gains) == 1 else result.score


def _fields(found: "Check") -> dict[str, Any]:
    """Everything, as JSON."""
    proxies = [
        {
            "proxy": proxy.title,
            "task": proxy.task.name,
            "seconds": proxy.seconds,
            "trained": proxy.way,
            "reference": proxy.scale.reference,
            "spread": proxy.scale.spread,
            "noise": proxy.scale.noise,
            "identity": proxy.linear,
        }
        for proxy in found.proxies
    ]
    fields: dict[str, Any] = {"proxies": proxies, "workers": found.workers}
    if found.bank is not None:
        fields["functions"] = [
            {"formula": formula, "merit": merit, "gain": _gain(result), "gains": dict(result.gains)}
            for formula, merit, result in found.bank.rows
        ]
        fields["orders"] = [
            {
                "by": order.title,
                "correlation": order.everything,
                "interval": [order.low, order.high],
                "better_half": order.better_half,
                "merit_of_first_5": order.top_merit,
            }
            for order in found.bank.orders
        ]
        fields["merit_of_best_5"], fields["merit_by_chance"] = found.bank.best, found.bank.chance
    return fields
