"""The verbs that measure this machine: bench proxies, kernels, modules, screening, controller, latency."""

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsearch.cli.options import JsonOption, SetOption
from rlsearch.cli.tables import make_table, print_out
from rlsearch.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from rlsearch.bench.report import Report, Row, Spread
    from rlsearch.formula import Formula

bench_app = typer.Typer(
    help="Measure this machine, beside the ordinary way and its limits.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RoundsOption = Annotated[int, typer.Option(min=2, help="How often everything is timed; more gives narrower quartiles.")]
DeviceOption = Annotated[str | None, typer.Option(help="Where to measure: auto, cpu or cuda.")]
FormulasArgument = Annotated[
    list[str] | None, typer.Argument(help="Such as 'x * sigmoid(x)'; default: known ones.", metavar="FORMULA")
]
OutputOption = Annotated[Path | None, typer.Option("-o", "--output", help="Also write JSON to this file.")]

MIN_FORMULA_CHARACTERS = 12
"""Of a formula in a line, on a screen that is too narrow for the numbers."""

SHARE_HEADING = "of\nlimit"


@bench_app.command()
def proxies(
    config: Annotated[Path | None, typer.Argument(help="Config whose proxies are trained.", metavar="CONFIG")] = None,
    overrides: SetOption = None,
    device: DeviceOption = None,
    workers: Annotated[str, typer.Option(help="Also compare these numbers of processes, such as 1,2.")] = "",
    rounds: RoundsOption = 3,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Candidates trained per second, beside an eager loop.

    Without a config that is the quickstart's proxy and a convolutional one.

    Example: rlsearch bench proxies configs/conv.yaml --workers 1,2
    """
    from rlsearch.bench.proxies import PROXIES, bench_proxies
    from rlsearch.cli.progress import counting
    from rlsearch.kernels import kernel_named
    from rlsearch.proxies.settings import ProxySettings
    from rlsearch.runs.config import load_config

    _check_new(output)
    processes = _numbers("--workers", workers)
    if overrides and config is None:
        raise InputError("--set goes with a config")
    chosen: Sequence[ProxySettings] = PROXIES
    kernel_name = "auto"
    if device is not None:
        _device(device)  # a wrong one is said first
    if config is not None:
        loaded = load_config(config, overrides or [])
        if not loaded.proxies:
            raise InputError(f"{config} names a reward of its own; expected a config with proxies")
        # A network of the user's own is not imported for a benchmark that cannot train it in the ordinary way.
        chosen = [proxy for proxy in loaded.proxies if isinstance(proxy, ProxySettings)]
        if not chosen:
            raise InputError(
                f"{config} has only networks of its own; expected one that comes with rlsearch. What a candidate of "
                f"yours costs: rlsearch check {config}"
            )
        device, kernel_name = device or loaded.device, loaded.kernel
    on = _device(device)
    kernel = kernel_named(kernel_name, on)
    with counting() as events:
        report = bench_proxies(on, kernel, chosen, rounds, processes, events)
    _give(report, output, as_json)


@bench_app.command()
def kernels(
    formulas: FormulasArgument = None,
    elements: Annotated[str, typer.Option(help="Numbers of elements of the tensor, separated by commas.")] = "",
    device: DeviceOption = None,
    rounds: RoundsOption = 15,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time of activations by kernel, beside plain autograd.

    Example: rlsearch bench kernels "x * sigmoid(x)" --elements 65536
    """
    from rlsearch.bench.kernels import FORMULAS, bench_kernels
    from rlsearch.cli.progress import counting

    _check_new(output)
    sizes, chosen, on = _numbers("--elements", elements), _parsed(formulas, ("x", "g")), _device(device)
    with counting() as events:
        report = bench_kernels(on, chosen or FORMULAS, sizes or None, rounds, events)
    _give(report, output, as_json)


@bench_app.command()
def modules(
    formulas: FormulasArgument = None,
    elements: Annotated[str, typer.Option(help="Number of elements of the tensor.")] = "",
    device: DeviceOption = None,
    rounds: RoundsOption = 15,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time and memory of modules: eager, fused, torch.compile.

    Beside torch's ReLU and GELU, in float32.

    Example: rlsearch bench modules "x * atan(x)"
    """
    from rlsearch.bench.modules import FORMULAS, bench_modules
    from rlsearch.cli.progress import counting

    _check_new(output)
    sizes, chosen, on = _numbers("--elements", elements), _parsed(formulas, ("x",)), _device(device)
    if len(sizes) > 1:
        raise InputError(f"--elements {elements!r} is more than one size; expected one such as 1048576")
    with counting() as events:
        report = bench_modules(on, chosen or FORMULAS, sizes[0] if sizes else None, rounds, events)
    _give(report, output, as_json)


@bench_app.command()
def screening(rounds: RoundsOption = 15, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """Formulas screened per second, beside torch's autograd.

    Example: rlsearch bench screening --json
    """
    from rlsearch.bench.screening import bench_screening

    _check_new(output)
    _give(bench_screening(rounds=rounds), output, as_json)


@bench_app.command()
def controller(rounds: RoundsOption = 7, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """Formulas written per second where training costs nothing.

    Example: rlsearch bench controller -o controller.json
    """
    from rlsearch.bench.controller import bench_controller
    from rlsearch.cli.progress import counting

    _check_new(output)
    with counting() as events:
        report = bench_controller(rounds=rounds, events=events)
    _give(report, output, as_json)


@bench_app.command()
def latency(
    formulas: FormulasArgument = None,
    device: DeviceOption = None,
    rounds: RoundsOption = 15,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Latency as a ratio to ReLU, as each kernel sees it.

    And how far kernels and the cost model agree on the order of random formulas.

    Example: rlsearch bench latency "x * atan(x)"
    """
    from rlsearch.bench.formulas import KNOWN
    from rlsearch.bench.latency import bench_latency
    from rlsearch.cli.progress import counting

    _check_new(output)
    chosen, on = _parsed(formulas, ("x",)) or KNOWN, _device(device)
    with counting() as events:
        report = bench_latency(on, chosen, rounds=rounds, events=events)
    _give(report, output, as_json)


def _device(device: str | None) -> str:
    """The device that is meant: by default a GPU if there is one."""
    from rlsearch.runs.build import resolve
    from rlsearch.runs.config import Config

    return resolve(Config.check({"device": device} if device else {})).device


def _parsed(formulas: list[str] | None, inputs: tuple[str, ...]) -> "dict[str, Formula]":
    from rlsearch.formula.typed import typed_formula

    return {text: typed_formula(text, inputs) for text in formulas or []}


def _numbers(option: str, text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"{option} {text!r} is not a list of positive whole numbers such as 1,2")
    return [int(part) for part in parts]


def _check_new(output: Path | None) -> None:
    """Refuses, before minutes of measuring, what could not be written after them."""
    if output is not None and output.exists():
        raise InputError(f"{output} exists already; it is not overwritten")
    if output is not None and not output.parent.is_dir():
        raise InputError(f"{output} cannot be written: there is no folder {output.parent}")


def _give(report: "Report", output: Path | None, as_json: bool) -> None:
    """Prints the report, as tables or as JSON, and writes it where that is wanted."""
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        print_report(report)
    if output is None:
        return
    try:
        output.write_text(report.to_json() + "\n")
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from error


def print_report(report: "Report") -> None:
    """Prints a table per section, the limits, and what was measured with."""
    for section, rows in groupby(report.rows, key=lambda row: row.section):
        # A section of one case is a table of ways; one of many cases has its ways side by side.
        of_section = list(rows)
        cases = list(dict.fromkeys(row.case for row in of_section))
        if len(cases) == 1:
            print_out(f"{section}, {cases[0]}:\n")
            print_out(_table_of_ways(of_section))
        else:
            print_out(f"{section}, {of_section[0].unit}:\n")
            print_out(_table_of_cases(of_section, cases))
        print_out("")
    for limit in report.limits:
        print_out(f"Limit: {limit.name}, {_number(limit.value)} {limit.unit}.")
    kernel = f", {report.kernel} kernel" if report.kernel else ""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    print_out(
        f"{report.machine}, one thread{kernel};\n{versions}.\n"
        f"Medians over {report.rounds} rounds of {report.clock}, the ways take turns in each;\n"
        f"± half the distance between the quartiles."
    )


def _table_of_ways(rows: "Sequence[Row]") -> "Table":
    """A line per way, for one case: there may be many ways, such as numbers of processes."""
    # All ways of a case are compared with the same plain one, if with any.
    plain = next((row.plain for row in rows if row.plain), None)
    has_limit = _has_limit(rows)
    columns = [rows[0].unit]
    if plain:
        columns.append(f"to\n{plain}")
    if has_limit:
        columns.append(SHARE_HEADING)
    table = _compact_table(*columns)
    for row in rows:
        cells = [_spread(row.value)]
        if plain:
            cells.append(_spread(row.ratio) if row.ratio else "")
        if has_limit:
            cells.append(_share(row))
        table.add_row(row.way, *cells)
    return table


def _table_of_cases(rows: "Sequence[Row]", cases: "Sequence[str]") -> "Table":
    """A line per case: the first way and its share of the limit, the other ways, and how they compare."""
    ways = list(dict.fromkeys(row.way for row in rows))
    compared = {row.way: row.plain for row in rows if row.ratio is not None}
    has_limit = _has_limit(rows)
    columns = [*ways, *(f"{way} to\n{plain}" for way, plain in compared.items())]
    if has_limit:
        columns.insert(1, SHARE_HEADING)
    table = _compact_table(*columns)
    for case in cases:
        found = {row.way: row for row in rows if row.case == case}

        # Where ways are compared, the spread that matters is that of the ratio.
        values = [found[way].value for way in ways]
        cells = [_number(value.median) if compared else _spread(value) for value in values]
        for way in compared:
            ratio = found[way].ratio
            cells.append(_spread(ratio) if ratio else "")
        if has_limit:
            cells.insert(1, _share(found[ways[0]]))
        table.add_row(case, *cells)
    return table


def _has_limit(rows: "Sequence[Row]") -> bool:
    return any(row.share is not None for row in rows)


def _compact_table(*columns: str) -> "Table":
    """Makes an empty table that leaves room for formulas, which come first, on a screen of 80 columns."""
    table = make_table("", *columns, text_at=0)
    table.columns[0].min_width = MIN_FORMULA_CHARACTERS
    table.pad_edge, table.show_edge, table.collapse_padding = False, False, True
    return table


def _share(row: "Row") -> str:
    """The share of the limit, with a decimal where it is less than a tenth."""
    if row.share is None:
        return ""
    return f"{row.share:.1%}" if row.share < 0.1 else f"{row.share:.0%}"


def _spread(spread: "Spread") -> str:
    """The median and half the distance between the quartiles, with as many digits."""
    if spread.low == spread.high:
        return _number(spread.median)
    return f"{_number(spread.median)} ±{(spread.high - spread.low) / 2:,.{_digits(spread.median)}f}"


def _number(value: float) -> str:
    """A number with three digits, or with all that it has before the point."""
    return f"{value:,.{_digits(value)}f}"


def _digits(value: float) -> int:
    """How many digits of a number are shown after the point."""
    if abs(value) < 10:
        return 2
    return 1 if abs(value) < 100 else 0
