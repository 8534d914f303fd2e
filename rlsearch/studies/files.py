"""The findings as JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlsearch.studies.findings import Finding, Findings


def to_json(findings: Findings, more: Mapping[str, Any]) -> str:
    """Writes everything as JSON; what is not a finite number is null.

    Args:
        findings: What to write.
        more: Further entries, for instance the settings.
    """
    front = findings.front.tolist()
    shown = (*findings.formulas, *findings.baselines)
    places = np.ndindex(len(findings.compared), len(findings.compared_with))
    tree = {
        **more,
        "seeds": findings.seeds,
        "confidence": findings.differences.confidence,
        "task": findings.words.name,
        "score": findings.words.score,
        "latency_label": findings.latency_label,
        "verdicts": findings.verdicts,
        "functions": [
            {**_fields(f), "pareto": on_front, "scores": [_finite(s) for s in f.scores.tolist()]}
            for f, on_front in zip(shown, front, strict=True)
        ],
        "comparisons": [_pair(findings, row, column) for row, column in places],
    }
    return json.dumps(tree, indent=1, allow_nan=False) + "\n"


def _pair(findings: Findings, row: int, column: int) -> dict[str, Any]:
    """What was found of one formula beside one baseline."""
    d, formula, baseline = findings.differences, findings.compared[row], findings.compared_with[column]
    return {
        "formula": formula.formula,
        "baseline": baseline.name,
        "difference": _finite(d.mean[row, column]),
        "low": _finite(d.low[row, column]),
        "high": _finite(d.high[row, column]),
        "p": _finite(d.p[row, column]),
        "better": bool(d.better[row, column]),
        "worse": bool(d.worse[row, column]),
        "latency_ratio": _finite(formula.latency / baseline.latency),
    }


def to_csv(findings: Findings) -> str:
    """Writes one row per function, with four columns per baseline: difference, low, high and p."""
    d = findings.differences
    rows: list[dict[str, Any]] = []
    shown = (*findings.formulas, *findings.baselines)
    # The row of each formula among the differences; baselines, and what diverged, have none.
    place = {id(f): i for i, f in enumerate(findings.compared)}
    for finding, on_front in zip(shown, findings.front.tolist(), strict=True):
        row = {**_fields(finding), "pareto": on_front}
        row["learning_rates"] = " ".join(f"{rate:.6g}" for rate in finding.learning_rates)
        i = place.get(id(finding))
        for j, baseline in enumerate(findings.compared_with):
            for column, values in (("difference", d.mean), ("low", d.low), ("high", d.high), ("p", d.p)):
                row[f"{column}_{baseline.name}"] = None if i is None else _finite(values[i, j])
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "formula": finding.formula,
        "mean": _finite(finding.mean),
        "standard_error": _finite(finding.standard_error),
        "diverged": finding.diverged,
        "searched": finding.searched,
        "learning_rates": list(finding.learning_rates),
        "latency": finding.latency,
        "latency_low": finding.latency_low,
        "latency_high": finding.latency_high,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
