"""The verb that looks at a config's proxies before a search does."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlsearch.cli.options import ConfigArgument, JsonOption, SetOption, find_own_code_here
from rlsearch.cli.tables import make_table, number, print_json, print_out
from rlsearch.errors import InputError

if TYPE_CHECKING:
    from rlsearch.rewards.base import RewardResult
    from rlsearch.studies.check import BankCheck, Check

MINUTES = 10
"""The length of search for which a number of candidates is proposed."""


def check(
    config: ConfigArgument,
    overrides: SetOption = None,
    bank: Annotated[
        Path | None, typer.Option(help="A CSV file of functions whose merit you know: columns formula and merit.")
    ] = None,
    merit: Annotated[
        str, typer.Option(metavar="COLUMN", help="With --bank: name of the column that has the merit.")
    ] = "merit",
    higher_is_better: Annotated[
        bool,
        typer.Option(
            "--higher-is-better", help="With --bank: the highest merit is best; else the lowest is, as for ranks."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at what a config's proxies cost, and what they can tell.

    With a bank it says how well the reward orders functions whose merit you know.

    Example: rlsearch check configs/quickstart.yaml --bank bank.csv
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
    table = make_table("seconds", "ref.", "identity", "spread", "noise", "trained", "proxy", narrow=True)
    for name, proxy in zip(_numbered(found), found.proxies, strict=True):
        task, scale = proxy.task, proxy.scale
        table.add_row(
            f"{proxy.seconds:.3f}",
            task.score_text(scale.reference),
            "diverged" if proxy.linear is None else task.score_text(proxy.linear),
            task.number(scale.spread),
            task.number(scale.noise),
            proxy.way,
            name,
        )
    print_out(table)
    for proxy in found.proxies:
        if proxy.reason:
            print_out(f"{proxy.title}: trained {proxy.reason}")
    an_hour = found.candidates_an_hour
    print_out(
        "Seconds: of one core or GPU, for a candidate.\n"
        "Ref., identity: scores of the reference, and of a linear network.\n"
        f"Spread: between the best and the worst baseline{', the unit of gains' * found.in_spreads}.\n"
        "Noise: standard deviation between seeds. Both as differences of scores.\n"
        f"A candidate takes {found.seconds:.3f} s in all; {found.workers} worker(s) train about {an_hour:,.0f} in an "
        f"hour.\nFor a search of {MINUTES} minutes: --set search.candidates={max(1, round(an_hour * MINUTES / 60))}"
    )


def _print_bank(found: "Check", bank: "BankCheck") -> None:
    from rlsearch.studies.check import TOP

    names = [proxy.title for proxy in found.proxies] if len(found.proxies) > 1 else []
    numbers = [str(i) for i in range(1, len(names) + 1)]
    functions = make_table("merit", "gain", *numbers, "function", narrow=True)
    for formula, merit, result in bank.rows:
        gains = [number(result.gains.get(name), "+.2f") for name in names]
        functions.add_row(f"{merit:g}", number(_gain(result), "+.3f"), *gains, formula)
    print_out(functions)

    orders = make_table(
        "correlation", "95 % interval", "better\nhalf", f"merit of\nits first {TOP}", "order by", narrow=True
    )
    for name, order in zip(("all", *_numbered(found)) if names else ("all",), bank.orders, strict=True):
        orders.add_row(
            _signed(order.everything),
            "-" if math.isnan(order.low) else f"{_signed(order.low)} to {_signed(order.high)}",
            _signed(order.better_half),
            f"{order.top_merit:.1f}",
            name,
        )
    print_out(orders)
    print_out(
        f"Spearman's correlation with merit over {len(bank.rows)} functions; the interval is over\n"
        f"resampled functions. The mean merit of the best {TOP} is {bank.best:.1f}; of {TOP} drawn at random\n"
        f"{bank.chance:.1f}."
    )
    if names:
        between = make_table(*numbers, "correlation between gains", narrow=True)
        for row, name in zip(bank.correlations, _numbered(found), strict=True):
            between.add_row(*map(_signed, row), name)
        print_out(between)


def _numbered(found: "Check") -> list[str]:
    """The names of the proxies; of a panel each with the number that its columns have."""
    names = [proxy.title for proxy in found.proxies]
    return [f"{i} {name}" for i, name in enumerate(names, start=1)] if len(names) > 1 else names


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"


def _gain(result: "RewardResult") -> float | None:
    """Of a single classifier the gain is in points, and the score is its accuracy."""
    return next(iter(result.gains.values()), None) if len(result.gains) == 1 else result.score


def _fields(found: "Check") -> dict[str, Any]:
    """Everything, as JSON; nulls where nothing is known."""
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
            "why": proxy.reason or None,
        }
        for proxy in found.proxies
    ]
    fields: dict[str, Any] = {
        "proxies": proxies,
        "workers": found.workers,
        "seconds": found.seconds,
        "candidates_an_hour": found.candidates_an_hour,
    }
    if found.bank is not None:
        fields |= _bank_fields(found.bank)
    return fields


def _bank_fields(bank: "BankCheck") -> dict[str, Any]:
    from rlsearch.studies.check import TOP

    functions = [
        {"formula": formula, "merit": merit, "gain": _gain(result), "gains": dict(result.gains)}
        for formula, merit, result in bank.rows
    ]
    orders = [
        {
            "by": order.title,
            "correlation": _known(order.everything),
            "interval": [_known(order.low), _known(order.high)],
            "better_half": _known(order.better_half),
            "merit_of_first": order.top_merit,
        }
        for order in bank.orders
    ]
    return {
        "functions": functions,
        "orders": orders,
        "correlations": [list(map(_known, row)) for row in bank.correlations.tolist()],
        "first": TOP,
        "merit_of_best": bank.best,
        "merit_by_chance": bank.chance,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
