"""What the verbs print: tables, JSON, and what to do next."""

import csv
import json
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from rlsearch.common.numbers import number_text

if TYPE_CHECKING:
    from rich.table import Table

    from rlsearch.judging.history import Judged
    from rlsearch.kernels.latency import Latency
    from rlsearch.proxies.tasks import Words
    from rlsearch.runs.train import SearchOutcome
    from rlsearch.studies.evaluate import Comparison, Measure, Score


def print_outcome(outcome: "SearchOutcome") -> None:
    """Prints how a search ended, and what to do next."""
    folder = outcome.run.folder
    if outcome.counts:
        print_out(", ".join(f"{count} {name}" for name, count in outcome.counts.items()) + f"; {folder}")
    else:
        print_out(f"{outcome.proposals} proposals, {outcome.functions} functions; {folder}")
    if outcome.leaderboard:
        print_out(leaderboard(outcome.leaderboard))
    run = shlex.quote(str(folder))
    if not outcome.finished:
        print_out(f"Stopped; everything is saved. Go on with: rlsearch train --resume {run}")
        return
    steps = {}
    if outcome.has_proxies:
        print_out("These scores are the search's own, and the best of many is partly luck. Next:")
        is_gated = outcome.run.config.language.is_gated
        others = "SwiGLU, GEGLU, ReGLU and others" if is_gated else "ReLU, GELU, SiLU, Mish and Tanh"
        steps = {
            f"rlsearch evaluate {run}": f"fresh seeds, beside {others}",
            f"rlsearch confirm {run}": "what can be claimed: many seeds, intervals, tests",
        }
        # The tasks that come with rlsearch train formulas of x alone.
        if not is_gated:
            steps[f"rlsearch transfer {run}"] = "whether it holds on tasks of other kinds"
    else:
        print_out("Next:")
    steps[f"tensorboard --logdir {shlex.quote(str(folder.parent))}"] = "rewards and curves"
    if outcome.has_policy:
        steps[f"rlsearch sample {run}"] = "more formulas, written by the trained policy"
    print_steps(steps)


def print_steps(steps: Mapping[str, str]) -> None:
    """Prints commands to type next, each with what it shows as a comment, so that a whole line can be pasted."""
    width = max(map(len, steps))
    for command, purpose in steps.items():
        print_out(f"  {command:{width}}  # {purpose}")


def leaderboard(board: "list[Judged]", mirrored: Sequence[int] = ()) -> "Table":
    """The best functions of a run as a table; of a panel with the gain on each proxy in the place of a score.

    Args:
        board: The functions, best first.
        mirrored: How many mirror images each stands for besides itself; without it nothing is said of them.
    """
    from rlsearch.formula.simplify import shown, titled

    proxies = panel_of(board)
    # One number says all that is known on a single proxy.
    measures = [*map(heading, proxies)] or ["score"]
    titles = ["rank", "reward", *measures, "seeds", "latency"]
    if any(mirrored):
        titles.append("mirror\nimages")
    columns: dict[str, list[str]] = {title: [] for title in (*titles, "formula")}
    for rank, judged in enumerate(board, start=1):
        result = judged.result
        scores = [number(result.gains.get(name), "+.2f") for name in proxies] or [number(result.score, ".4f")]
        cells = [str(rank), number(result.value, "+.4f"), *scores, str(judged.seeds), number(result.latency, ".2f")]
        if any(mirrored):
            cells.append(f"+{mirrored[rank - 1]}" if mirrored[rank - 1] else "")
        cells.append(titled(judged.formula) if judged.is_reference else shown(judged.formula))
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return fitting_table(columns, less_needed=("mirror\nimages", "seeds"), narrow=bool(proxies))


MIN_TEXT_WIDTH = 20
"""Of a column with formulas, below which they cannot be read."""


def fitting_table(columns: "Mapping[str, list[str]]", less_needed: Sequence[str], *, narrow: bool = False) -> "Table":
    """A table of columns by title, the last one of text, without those that the screen has no room for.

    Args:
        columns: The cells of each column.
        less_needed: What is left out first, in this order.
        narrow: Whether columns stand close together.
    """
    from rich.console import Console

    width, unbounded = Console().width, Console(width=10_000)
    for count in range(len(less_needed) + 1):
        kept = {title: cells for title, cells in columns.items() if title not in less_needed[:count]}
        table, without_text = make_table(*kept, narrow=narrow), make_table(*kept, narrow=narrow)
        for cells in zip(*kept.values(), strict=True):
            table.add_row(*cells)
            without_text.add_row(*cells[:-1], "-" * MIN_TEXT_WIDTH)
        # Text is folded where room is short, so what is asked is whether that much of it has room.
        if unbounded.measure(without_text).maximum <= width:
            break
    return table


def panel_of(board: "list[Judged]") -> list[str]:
    """The names of the proxies that functions were trained on, where there are several."""
    names = next((list(judged.result.gains) for judged in board if judged.result.gains), [])
    return names if len(names) > 1 else []


def comparison_table(rows: "list[Comparison]", seeds: int, with_search: bool, measure: "Measure") -> "Table":
    """A quick look at functions as a table."""
    fresh = "1 fresh seed" if seeds == 1 else f"{seeds} fresh seeds"
    columns = [f"{fresh}\n(test)", *map(heading, measure.proxies), "latency", "function"]
    if with_search:
        columns.insert(0, "search\nsaw" if measure.proxies else "search saw\n(validation)")
    table = make_table(*columns, narrow=bool(measure.proxies))
    for row in rows:
        # A baseline is known by its name.
        cells = [
            _score(row.fresh, measure.words),
            *(_mean(row.proxies[name], words) for name, words in measure.proxies.items()),
            number(row.latency.ratio, ".2f"),
            row.name or str(row.formula),
        ]
        if with_search:
            cells.insert(0, (_mean if measure.proxies else _score)(row.searched, measure.words))
        table.add_row(*cells)
    return table


def measured_in_words(measure: "Measure", latencies: "Sequence[Latency]") -> str:
    """What the columns of a quick look mean, and whether the latencies can be believed."""
    lines = [f"{measure.words.title}: mean ± standard error over seeds."]
    if measure.proxies:
        lines[0] = f"{measure.words.title}: in {measure.words.unit}; mean ± standard error over seeds."
        scores = ", ".join(f"{words.score} on {name}" for name, words in measure.proxies.items())
        lines.append(f"Beside it the mean scores: {scores}.")
    lines.append(f"Latency: forward plus backward as a ratio to ReLU, {measure.latency_label}.")
    if any(latency.is_rough for latency in latencies):
        lines.append("The machine was busy: latencies are rough. The same command measures them again.")
    return "\n".join(lines)


def heading(proxy: str) -> str:
    """The name of a proxy, in two lines, for a column; a user's network is known by the factory's name."""
    return proxy.rpartition(":")[2].replace("-", "\n", 1)


def _mean(score: "Score | None", words: "Words") -> str:
    if score is None:
        return "-"
    return "diverged" if math.isnan(score.mean) else words.score_text(score.mean)


def _score(score: "Score | None", words: "Words") -> str:
    error = math.nan if score is None or math.isnan(score.mean) else score.standard_error
    return _mean(score, words) + ("" if math.isnan(error) else f" ± {words.score_text(error)}")


def number(value: float | None, form: str) -> str:
    """A number in this format, or a dash where there is none."""
    return "-" if value is None else number_text(value, form)


def result_fields(result: Any) -> dict[str, Any]:
    """What is known of a function, as JSON; nulls where nothing is."""
    if result is None:
        return {"status": None, "reward": None, "score": None, "latency": None}
    return {"status": result.status, "reward": result.value, "score": result.score, "latency": result.latency}


JUDGED_COLUMNS = ("rank", "reward", "score", "seeds", "latency", "formula", "mirrored")
"""What :func:`judged_fields` says of a function besides its scores and gains on each proxy."""


def judged_fields(board: "Sequence[Judged]", mirrored: Sequence[int]) -> list[dict[str, Any]]:
    """The best functions of a run, as JSON.

    Args:
        board: The functions, best first.
        mirrored: How many mirror images each stands for besides itself.
    """
    from rlsearch.formula.simplify import shown

    rows = []
    for rank, (judged, images) in enumerate(zip(board, mirrored, strict=True), start=1):
        result = judged.result
        values = rank, result.value, result.score, judged.seeds, result.latency, shown(judged.formula), images
        fields: dict[str, Any] = dict(zip(JUDGED_COLUMNS, values, strict=True))
        rows.append(fields | {"scores": dict(result.scores), "gains": dict(result.gains)})
    return rows


def comparison_fields(row: "Comparison") -> dict[str, Any]:
    """A row of a quick look, as JSON."""

    def fields(score: "Score | None") -> dict[str, Any] | None:
        if score is None:
            return None
        mean = None if math.isnan(score.mean) else score.mean
        error = None if math.isnan(score.standard_error) else score.standard_error
        return {"mean": mean, "standard_error": error, "seeds": score.seeds}

    latency = {"ratio": row.latency.ratio, "low": row.latency.low, "high": row.latency.high}
    proxies = {name: fields(score) for name, score in row.proxies.items()}
    return {
        "name": row.name,
        "formula": str(row.formula),
        "searched": fields(row.searched),
        "fresh": fields(row.fresh),
        "latency": latency,
        "proxies": proxies,
    }


def make_table(*columns: str, text_at: int = -1, narrow: bool = False) -> "Table":
    """Makes an empty table of numbers, and of one column of text, which is folded where room is short.

    Args:
        columns: Their titles.
        text_at: The place of the text.
        narrow: Whether columns stand close together, so that many of them go on a screen of 80.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=not narrow, collapse_padding=narrow)
    for place, column in enumerate(columns):
        if place == text_at % len(columns):
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def print_out(content: "Table | str") -> None:
    """Prints a text or a table on standard output."""
    from rich.console import Console

    Console(soft_wrap=isinstance(content, str)).print(content, markup=False, highlight=False)


def print_json(rows: Any) -> None:
    """Prints rows as JSON."""
    sys.stdout.write(json.dumps(list(rows), indent=1) + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_csv: bool, columns: Sequence[str] = ()) -> None:
    """Prints rows as JSON, or as CSV; there what is in a group has the group's name before its own: ``latency.low``.

    Args:
        rows: All with the same names.
        as_csv: Whether as CSV.
        columns: The first columns of CSV, which are there without a row too.
    """
    if not as_csv:
        print_json(rows)
        return
    flat = [dict(_flat(row)) for row in rows]
    names = dict.fromkeys([*columns, *chain.from_iterable(flat)])
    # A group that some rows lack is empty in them.
    groups = {name.partition(".")[0] for name in names if "." in name}
    writer = csv.DictWriter(
        sys.stdout, [name for name in names if name not in groups], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(flat)


def _flat(fields: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{group}{name}.")
        else:
            yield f"{group}{name}", value


def print_list(lines: Iterable[str]) -> None:
    """Prints lines as a list."""
    for line in lines:
        print_out(f"- {line}")
