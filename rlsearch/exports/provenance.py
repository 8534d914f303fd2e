"""Where an exported formula comes from, and what was measured of it: as the files say it."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlsearch.errors import FormulaError, InputError, RunError
from rlsearch.exports.definitions import definitions
from rlsearch.formula import Formula
from rlsearch.formula.simplify import simplified
from rlsearch.judging.mirrors import best_groups
from rlsearch.runs.folder import Run, opened
from rlsearch.runs.read import MOST_REFERENCES, read_history

_WIDTH = 100


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
    confirmation = run.folder / "confirm" / "confirm.json"
    return _confirmed(run, confirmation, rank) if confirmation.exists() else _searched(run, rank)


def _facts(formula: Formula, more: Mapping[str, str]) -> dict[str, str]:
    return {"formula": str(formula), **more, "rlsearch": version("rlsearch"), **definitions(formula)}


def _confirmed(run: Run, path: Path, rank: int) -> Exported:
    """A formula by the ranking of a confirmation, the best-supported first."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        ranking = [entry for entry in tree["functions"] if not entry["name"]]
        _check_rank(run, rank, len(ranking), "confirmed")
        entry = ranking[rank - 1]
        measured = {
            "score": _score(entry, tree),
            **_comparison(entry["formula"], tree),
            "latency": f"{entry['latency']:.2f} times that of ReLU, quartiles {entry['latency_low']:.2f} to "
            f"{entry['latency_high']:.2f}; {tree['latency_label']}",
        }
        formula = simplified(Formula.parse(entry["formula"]))
    except (OSError, ValueError, KeyError, TypeError, FormulaError) as error:
        raise RunError(f"{path} cannot be read: {error!r}; rlsearch confirm {run.folder} writes it anew") from error
    origin = f"{_of_run(run)}; number {rank} of {len(ranking)} that were confirmed"
    return Exported(formula, _facts(formula, {"origin": origin, **measured}), is_confirmed=True)


def _score(entry: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    """The score on fresh seeds, with its standard error."""
    if entry["mean"] is None:
        return f"none: it diverged from {entry['diverged']} of {tree['seeds']} fresh seeds"
    unit = " in spreads of the baselines" if tree["task"] == "panel" else ""
    return (
        f"{tree['score']} {entry['mean']:.4g} ± {entry['standard_error']:.2g}{unit}, mean ± standard error over "
        f"{tree['seeds']} fresh seeds; confirm/confirm.json of the run"
    )


def _comparison(formula: str, tree: Mapping[str, Any]) -> dict[str, str]:
    """The difference to the strongest baseline, which is the first that a formula is compared with."""
    for pair in tree["comparisons"]:
        if pair["formula"] == formula:
            interval = "no interval"
            if pair["low"] is not None and pair["high"] is not None:
                interval = f"{tree['confidence'] * 100:.3g} % interval {pair['low']:+.3g} to {pair['high']:+.3g}"
            difference = f"{pair['difference']:+.3g}, {interval}, p = {pair['p']:.2g}; corrected for all pairs"
            return {f"difference to {pair['baseline']}, the strongest baseline": difference}
    return {}


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
        measured["latency"] = f"{result.latency:.2f} times that of ReLU, from the cost of its operators; {where}"
    facts = _facts(formula, {"origin": f"{_of_run(run)}; number {rank} of the search", **measured})
    return Exported(formula, facts, is_confirmed=False)


def _of_run(run: Run) -> str:
    date = str(run.read_meta().get("created", "an unknown date"))[:10]
    return f"found by rlsearch, in the run {run.folder.resolve().name} of {date}"


def _check_rank(run: Run, rank: int, there: int, kind: str) -> None:
    if rank > there:
        raise InputError(f"{run.folder} has {there} {kind} function(s); there is no rank {rank}")
