"""Where an exported formula comes from, and what was measured of it: as the files say it."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rlsearch.errors import FormulaError, InputError, RunError
from rlsearch.exports.definitions import definitions
from rlsearch.formula import Formula
from rlsearch.formula.simplify import simplified
from rlsearch.formula.tokens import number_text
from rlsearch.judging.mirrors import best_groups
from rlsearch.runs.folder import Run, opened
from rlsearch.runs.read import MOST_REFERENCES, read_history

if TYPE_CHECKING:
    from rlsearch.studies.findings import Finding, Findings

_WIDTH = 100

_CONFIRMATION = "confirm.json"
"""The file that :func:`rlsearch.studies.reading.read_confirmation` reads, which is imported only if it is there."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A formula and what is known of it.

    Attributes:
        formula: The formula.
        facts: Statements by their subject, in the order in which a file says them. They depend on the formula and the
            run alone, so an export is the same whenever it is made.
        is_confirmed: Whether its score is of a confirmation; None for a formula that is of no run.
    """

    formula: Formula
    facts: Mapping[str, str] = field(default_factory=dict)
    is_confirmed: bool | None = None

    def as_comment(self, prefix: str) -> str:
        """The facts as lines of comment, and an empty line.

        Args:
            prefix: What begins a comment, such as ``"# "``.
        """
        lines: list[str] = []
        for subject, fact in self.facts.items():
            # Run folders may have any name, and a comment must not end before its line does.
            text = " ".join("".join(c if c.isprintable() else " " for c in f"{subject}: {fact}").split())
            lines += textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_long_words=False)
        return "".join(f"{prefix}{line}\n" for line in lines) + "\n"


def given(formula: Formula) -> Exported:
    """A formula that somebody gave, of which nothing is known but what it computes."""
    return Exported(formula, _facts(formula, {"origin": "a formula that was given, written as code by rlsearch"}))


def best_of(run: Run | Path | str, rank: int = 1) -> Exported:
    """The best formula of a run: by its confirmation if there is one, else by its search.

    Args:
        run: The run or its folder.
        rank: 1 for the best, 2 for the second best, and so on.

    Raises:
        InputError: If ``rank`` is not positive, or there are not so many.
        RunError: If the folder is no run, its confirmation is damaged, or it has no formula with a score yet.
    """
    if rank < 1:
        raise InputError(f"expected a rank of at least 1, got {rank}")
    run = opened(run)
    folder = run.folder / "confirm"
    return _confirmed(run, folder, rank) if (folder / _CONFIRMATION).exists() else _searched(run, rank)


def _facts(formula: Formula, more: Mapping[str, str]) -> dict[str, str]:
    facts = {"formula": str(formula), **more, "rlsearch": version("rlsearch"), **definitions(formula)}
    if formula.parameters:
        starts = ", ".join(f"{letter} = {number_text(start)}" for letter, start in formula.parameters.items())
        facts["trained parameters"] = f"{starts}, which are the values that they start at"
    return facts


def _confirmed(run: Run, folder: Path, rank: int) -> Exported:
    """A formula by the ranking of a confirmation, the best-supported first."""
    # Imported here: it brings torch, without which the formula of a search is exported.
    from rlsearch.studies.reading import read_confirmation

    anew = f"rlsearch confirm {run.folder} writes it anew"
    try:
        findings = read_confirmation(folder).findings
    except RunError as error:
        raise RunError(f"{error}; {anew}") from error
    assert findings is not None, "what was written was not interrupted"
    _check_rank(run, rank, len(findings.formulas), "confirmed")
    finding = findings.formulas[rank - 1]
    try:
        formula = simplified(Formula.parse(finding.formula))
    except FormulaError as error:
        raise RunError(f"{folder / _CONFIRMATION} is damaged: {finding.formula!r} is no formula; {anew}") from error
    measured = {
        "origin": f"{_of_run(run)}; number {rank} of {len(findings.formulas)} that were confirmed",
        "score": _score(finding, findings),
        **_comparison(finding, findings),
        "latency": f"{finding.latency:.2f} times that of ReLU, quartiles {finding.latency_low:.2f} to "
        f"{finding.latency_high:.2f}; {findings.latency_label}",
    }
    return Exported(formula, _facts(formula, measured), is_confirmed=True)


def _score(finding: "Finding", findings: "Findings") -> str:
    """The score on fresh seeds, with its standard error."""
    if finding.diverged:
        return f"none: it diverged from {finding.diverged} of {findings.seeds} fresh seeds"
    # A panel's scores are gains, which have a unit; those of a single proxy are what their name says.
    unit = f" in {findings.words.unit}" if findings.words.name == "panel" else ""
    return (
        f"{findings.words.score} {finding.mean:.4g} ± {finding.standard_error:.2g}{unit}, mean ± standard error over "
        f"{findings.seeds} fresh seeds; confirm/confirm.json of the run"
    )


def _comparison(finding: "Finding", findings: "Findings") -> dict[str, str]:
    """The difference to the strongest baseline, which is the first that a formula is compared with."""
    if finding not in findings.compared or not findings.compared_with:
        return {}
    place, d = (findings.compared.index(finding), 0), findings.differences
    interval = "no interval"
    if math.isfinite(d.low[place]) and math.isfinite(d.high[place]):
        interval = f"{d.confidence * 100:.3g} % interval {d.low[place]:+.3g} to {d.high[place]:+.3g}"
    difference = f"{d.mean[place]:+.3g}, {interval}, p = {d.p[place]:.2g}; corrected for all pairs"
    return {f"difference to {findings.compared_with[0].name}, the strongest baseline": difference}


def _searched(run: Run, rank: int) -> Exported:
    """A formula by the ranking of the search."""
    # Mirror images count as one, as in the table that "rlsearch top" shows.
    groups = best_groups(lambda count: read_history(run, best=count + MOST_REFERENCES).found(count), rank)
    if not groups:
        raise RunError(f"the run {run.folder} has no formula with a score yet")
    _check_rank(run, rank, len(groups), "scored")
    judged = groups[rank - 1].best
    formula, result = simplified(judged.formula), judged.result
    score = f"reward {result.value:+.4f}" + ("" if result.score is None else f", score {result.score:.4f}")
    measured = {
        "score": f"{score}, {judged.seeds} seed(s); as the search saw it, which is partly luck: it was not confirmed",
    }
    where = run.read_meta().get("latency")
    if result.latency is not None and where:
        how = ", at equal parameters" if formula.is_gated else ""
        measured["latency"] = f"{result.latency:.2f} times that of ReLU{how}, from the cost of its operators; {where}"
    facts = _facts(formula, {"origin": f"{_of_run(run)}; number {rank} of the search", **measured})
    return Exported(formula, facts, is_confirmed=False)


def _of_run(run: Run) -> str:
    date = str(run.read_meta().get("created", "an unknown date"))[:10]
    return f"found by rlsearch, in the run {run.folder.resolve().name} of {date}"


def _check_rank(run: Run, rank: int, there: int, kind: str) -> None:
    if rank > there:
        raise InputError(f"{run.folder} has {there} {kind} function(s); there is no rank {rank}")
