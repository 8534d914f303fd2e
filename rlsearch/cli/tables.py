"""What the verbs print: tables, JSON, and what to do next."""

import json
import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from rlsearch.formula import Formula
    from rlsearch.judging.history import Judged
    from rlsearch.proxies.tasks import Words
    from rlsearch.runs.train import SearchOutcome
    from rlsearch.studies.evaluate import Comparison, Score
    from rlsearch.studies.findings import Finding, Findings


def print_outcome(outcome: "SearchOutcome") -> None:
    """Prints how a search ended, and what to do next."""
    folder = outcome.run.folder
    if outcome.counts:
        print_out(", ".join(f"{count} {name}" for name, count in outcome.counts.items()) + f"; {folder}")
    else:
        print_out(f"{outcome.proposals} proposals, {outcome.functions} functions; {folder}")
    if outcome.leaderboard:
        print_out(leaderboard(outcome.leaderboard))
    if outcome.finished:
        if outcome.has_proxies:
            print_out(
                f"These scores are the search's own, and the best of many is partly luck. Next:\n"
                f"  rlsearch evaluate {folder}        fresh seeds, beside ReLU, GELU, SiLU, Mish and Tanh\n"
                f"  rlsearch confirm {folder}         what can be claimed: many seeds and data sets, intervals, tests"
            )
        else:
            print_out("Next:")
        print_out(f"  tensorboard --logdir {folder.parent}")
        if outcome.has_policy:
            print_out(f"  rlsearch sample {folder}")
    else:
        print_out(f"Stopped; everything is saved. Go on with: rlsearch train --resume {folder}")


def leaderboard(board: "list[Judged]") -> "Table":
    """The best functions of a run as a table; of a panel with the gain on each proxy in the place of a score."""
    proxies = panel_of(board)
    # One number says all that is known on a single proxy. A user's network is known by the factory's name.
    shown = [name.rpartition(":")[2].replace("-", "\n", 1) for name in proxies] or ["score"]
    table = make_table("rank", "reward", *shown, "seeds", "latency", "formula", narrow=bool(proxies))
    for rank, judged in enumerate(board, start=1):
        result = judged.result
        scores = [number(result.gains.get(name), "+.2f") for name in proxies] or [number(result.score, ".4f")]
        table.add_row(
            str(rank),
            number(result.value, "+.4f"),
            *scores,
            str(judged.seeds),
            number(result.latency, ".2f"),
            _title(judged.formula) if judged.is_reference else str(judged.formula),
        )
    return table


def _title(formula: "Formula") -> str:
    """How a text calls a known function."""
    from rlsearch.formula import Formula
    from rlsearch.formula.named import TITLES

    titles = {Formula.parse(f"{name}(x)"): title for name, title in TITLES.items()}
    return titles.get(formula, str(formula))


def panel_of(board: "list[Judged]") -> list[str]:
    """The names of the proxies that functions were trained on, where there are several."""
    names = next((list(judged.result.gains) for judged in board if judged.result.gains), [])
    return names if len(names) > 1 else []


def comparison_table(rows: "list[Comparison]", seeds: int, with_search: bool, words: "Words") -> "Table":
    """A quick look at functions as a table."""
    fresh = "1 fresh seed" if seeds == 1 else f"{seeds} fresh seeds"
    columns = [f"{fresh}\n(test)", "latency", "function"]
    if with_search:
        columns.insert(0, "search saw\n(validation)")
    table = make_table(*columns)
    for row in rows:
        # A baseline is known by its name.
        cells = [_score(row.fresh, words), number(row.latency.ratio, ".2f"), row.name or str(row.formula)]
        if with_search:
            cells.insert(0, _score(row.searched, words))
        table.add_row(*cells)
    return table


def _score(score: "Score | None", words: "Words") -> str:
    if score is None:
        return "-"
    if math.isnan(score.mean):
        return "diverged"
    error = "" if math.isnan(score.standard_error) else f" ± {words.score_text(score.standard_error)}"
    return f"{words.score_text(score.mean)}{error}"


def number(value: float | None, form: str) -> str:
    """A number in this format, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def result_fields(result: Any) -> dict[str, Any]:
    """What is known of a function, as JSON; nulls where nothing is."""
    if result is None:
        return {"status": None, "reward": None, "score": None, "latency": None}
    return {"status": result.status, "reward": result.value, "score": result.score, "latency": result.latency}


def comparison_fields(row: "Comparison") -> dict[str, Any]:
    """A row of a quick look, as JSON."""

    def fields(score: "Score | None") -> dict[str, Any] | None:
        if score is None:
            return None
        mean = None if math.isnan(score.mean) else score.mean
        error = None if math.isnan(score.standard_error) else score.standard_error
        return {"mean": mean, "standard_error": error, "seeds": score.seeds}

    latency = {"ratio": row.latency.ratio, "low": row.latency.low, "high": row.latency.high}
    return {
        "name": row.name,
        "formula": str(row.formula),
        "searched": fields(row.searched),
        "fresh": fields(row.fresh),
        "latency": latency,
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


def print_findings(findings: "Findings") -> None:
    """Prints scores, differences to every baseline, and the verdicts."""
    print_out(_scores_table(findings))
    if findings.compared and findings.compared_with:
        print_out(f"Difference in {findings.words.unit} to each baseline; * is significant, all pairs taken together:")
        print_out(_differences_table(findings))
    print_out(
        f"Test {findings.words.score}: mean ± standard error. Latency: median and quartiles as a ratio to ReLU, "
        f"{findings.latency_label}.\n* no other function is as good and as fast.\n"
    )
    print_list(findings.verdicts)


def print_list(lines: Iterable[str]) -> None:
    """Prints lines as a list."""
    for line in lines:
        print_out(f"- {line}")


def _scores_table(findings: "Findings") -> "Table":
    columns = ("#", "search\nsaw", f"{findings.seeds} fresh\nseeds (test)", "rate", "latency", "function")
    table = make_table(*columns, narrow=True)
    shown = (*findings.formulas, *findings.baselines)
    for place, (finding, on_front) in enumerate(zip(shown, findings.front.tolist(), strict=True), start=1):
        spread = f"{finding.latency:.2f} ({finding.latency_low:.2f}-{finding.latency_high:.2f})"
        table.add_row(
            str(place) if not finding.name else "",
            "-" if finding.searched is None else findings.words.score_text(finding.searched),
            _tested(finding, findings.words),
            " ".join(f"{rate:.2g}" for rate in finding.learning_rates),
            f"{spread}{'*' if on_front else ' '}",
            finding.title,
            end_section=place == len(findings.formulas),
        )
    return table


def _tested(finding: "Finding", words: "Words") -> str:
    if finding.diverged:
        return f"{finding.diverged}/{len(finding.scores)} diverged"
    return f"{words.score_text(finding.mean)} ± {words.score_text(finding.standard_error)}"


def _differences_table(findings: "Findings") -> "Table":
    d = findings.differences
    table = make_table("#", *(baseline.title for baseline in findings.compared_with))
    for row in range(len(findings.compared)):
        sure = d.better[row] | d.worse[row]
        marks = ["*" if is_sure else " " for is_sure in sure]
        cells = [findings.words.cell(mean) + mark for mean, mark in zip(d.mean[row], marks, strict=True)]
        table.add_row(str(row + 1), *cells)
    table.columns[-1].justify = "right"
    return table
