"""What confirm and transfer print of their findings."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rlsearch.cli.tables import heading, make_table, print_list, print_out

if TYPE_CHECKING:
    from rich.table import Table

    from rlsearch.proxies.tasks import Words
    from rlsearch.studies.findings import Finding, Findings
    from rlsearch.studies.study import Confirmation

MAX_BASELINES_PER_TABLE = 9
"""As many as a screen of 80 columns has room for."""


def print_findings(findings: "Findings", proxies: "Mapping[str, Findings]") -> None:
    """Prints scores, differences to every baseline, learning rates, and the verdicts.

    Args:
        findings: Of a single proxy, or of a panel as a whole.
        proxies: Of a panel, on each of its proxies by name.
    """
    from rlsearch.studies.holds import where_they_hold

    words = findings.words
    print_out(_scores_table(findings, with_rates=not proxies))
    if findings.compared and findings.compared_with:
        print_out(f"Difference in {words.unit} to each baseline;\n* is significant, all pairs taken together:")
        for start in range(0, len(findings.compared_with), MAX_BASELINES_PER_TABLE):
            end = min(start + MAX_BASELINES_PER_TABLE, len(findings.compared_with))
            print_out(_differences_table(findings, range(start, end)))
    print_out(
        f"Test {words.score}: mean ± standard error. Latency: median and quartiles as a ratio to ReLU, "
        f"{findings.latency_label}.\n* no other function is at least as good and at least as fast.\n"
    )
    if proxies:
        print_out(
            "Gain on each proxy, in spreads of the baselines; * is significantly better than\n"
            "the strongest baseline there, in brackets, all pairs on that proxy taken together:"
        )
        print_out(_gains_table(findings, proxies))
    rates = chain.from_iterable(finding.rates for finding in _shown(findings))
    if any(len(chosen.tried) > 1 for chosen in rates):
        steps = "if each is" if proxies else "at"
        print_out(
            f"Learning rates (! at an end of those tried), and the difference in\n{words.unit} {steps} the next "
            "lower or higher one that was tried, by validation:"
        )
        print_out(_rates_table(findings, proxies))
    print_list(findings.verdicts)
    if proxies:
        print_out("\nOn each proxy, beside the strongest baseline there:")
        print_list(f"{name}: {found.verdict_on_strongest}" for name, found in proxies.items())
        print_out("\nWhere formulas win and lose:")
        print_list(where_they_hold(proxies))


def print_holds(outcomes: "Mapping[str, Confirmation]") -> None:
    """Prints where each formula holds over all targets of a transfer, and where it wins and loses."""
    from rlsearch.formula.named import title_of
    from rlsearch.studies.holds import where_they_hold
    from rlsearch.studies.transfer import holds

    numbers = {target: str(i) for i, target in enumerate(outcomes, start=1)}
    print_out(
        "Over all targets: gain over GELU in spreads of the baselines; * is significant,\n"
        "all pairs of a target taken together. Then the target with the lowest gain, and\n"
        "on how many targets a formula is significantly better than GELU and SiLU.\n"
        f"Targets: {', '.join(f'{number} {target}' for target, number in numbers.items())}"
    )
    found = holds(outcomes)
    rivals = [f"beats\n{title_of(rival)}" for rival in (found[0].beaten if found else ())]
    table = make_table(*numbers.values(), "worst", *rivals, "formula", narrow=True)
    for hold in found:
        cells = []
        for target, gain in hold.gains.items():
            is_sure = target in hold.better | hold.worse
            cells.append("diverged " if math.isnan(gain) else f"{gain:+.2f}{'*' if is_sure else ' '}")
        counts = [f"{count}/{len(outcomes)}" for count in hold.beaten.values()]
        table.add_row(*cells, numbers[hold.worst], *counts, hold.formula)
    print_out(table)
    print_out("Where formulas win and lose:")
    print_list(where_they_hold({name: o.findings for name, o in outcomes.items() if o.findings is not None}))


def _shown(findings: "Findings") -> "tuple[Finding, ...]":
    return (*findings.formulas, *findings.baselines)


def _scores_table(findings: "Findings", with_rates: bool) -> "Table":
    columns = ["#", "search\nsaw", f"{findings.seeds} fresh\nseeds (test)", "rate", "latency", "function"]
    if not with_rates:
        columns.remove("rate")
    table = make_table(*columns, narrow=True)
    for place, (finding, on_front) in enumerate(zip(_shown(findings), findings.front.tolist(), strict=True), start=1):
        spread = f"{finding.latency:.2f} ({finding.latency_low:.2f}-{finding.latency_high:.2f})"
        cells = [
            _number(place, finding),
            "-" if finding.searched is None else findings.words.score_text(finding.searched),
            _tested(finding, findings.words),
            f"{spread}{'*' if on_front else ' '}",
            finding.title,
        ]
        if with_rates:
            cells.insert(3, " ".join(f"{chosen.rate:.2g}" for chosen in finding.rates))
        table.add_row(*cells, end_section=place == len(findings.formulas))
    return table


def _number(place: int, finding: "Finding") -> str:
    """The number by which other tables call a formula."""
    return "" if finding.name else str(place)


def _label(place: int, finding: "Finding") -> str:
    """A formula's number, or a baseline's title."""
    return _number(place, finding) or finding.title


def _tested(finding: "Finding", words: "Words") -> str:
    if finding.diverged:
        return f"{finding.diverged}/{len(finding.scores)} diverged"
    return f"{words.score_text(finding.mean)} ± {words.score_text(finding.standard_error)}"


def _differences_table(findings: "Findings", columns: Sequence[int]) -> "Table":
    d, words = findings.differences, findings.words
    table = _narrow_table("#", *(_in_two_lines(findings.compared_with[column]) for column in columns))
    for row in range(len(findings.compared)):
        cells = []
        for column in columns:
            is_sure = d.better[row, column] or d.worse[row, column]
            cells.append(words.cell(d.mean[row, column]) + ("*" if is_sure else " "))
        table.add_row(str(row + 1), *cells)
    return table


def _in_two_lines(baseline: "Finding") -> str:
    """The title of a baseline for a narrow column; a formula stays in one piece."""
    from rlsearch.formula.named import TITLES

    return baseline.title.replace(" ", "\n", 1) if baseline.name in TITLES else baseline.title


def _gains_table(findings: "Findings", proxies: "Mapping[str, Findings]") -> "Table":
    headings = []
    for name, found in proxies.items():
        strongest = f"({found.compared_with[0].title})" if found.compared_with else ""
        headings.append(f"{heading(name)}\n{strongest}")
    table = _narrow_table("function", *headings)
    for place, finding in enumerate(_shown(findings), start=1):
        cells = [_gain(finding.formula, found) for found in proxies.values()]
        table.add_row(_label(place, finding), *cells, end_section=place == len(findings.formulas))
    return table


def _gain(formula: str, found: "Findings") -> str:
    """The gain of a function on one proxy, with a mark where it beats the strongest baseline."""
    finding = next(f for f in _shown(found) if f.formula == formula)
    if math.isnan(finding.gain):
        return "diverged "
    rows = [f.formula for f in found.compared]
    is_better = formula in rows and found.compared_with and found.differences.better[rows.index(formula), 0]
    return f"{finding.gain:+.2f}{'*' if is_better else ' '}"


def _rates_table(findings: "Findings", proxies: "Mapping[str, Findings]") -> "Table":
    table = _narrow_table("function", *(map(heading, proxies) if proxies else ["rate"]), "lower", "higher")
    for place, finding in enumerate(_shown(findings), start=1):
        cells = [f"{chosen.rate:.2g}{'!' if chosen.is_at_an_end else ' '}" for chosen in finding.rates]
        cells += [_at_another_rate(drop, findings.words) for drop in finding.drops]
        table.add_row(_label(place, finding), *cells, end_section=place == len(findings.formulas))
    return table


def _at_another_rate(drop: float, words: "Words") -> str:
    if math.isnan(drop):
        return "-"
    return "diverges" if math.isinf(drop) else words.cell(0.0 - drop)


def _narrow_table(*columns: str) -> "Table":
    """A narrow table of numbers alone."""
    table = make_table(*columns, narrow=True)
    table.columns[-1].justify = "right"
    return table
