"""The findings as JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from rlsearch.formula.named import source_of
from rlsearch.proxies.tasks import Words
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.rates import ChosenRate


def to_json(findings: Findings, proxies: Mapping[str, Findings], more: Mapping[str, Any]) -> str:
    """Writes everything as JSON; what is not a finite number is null.

    Args:
        findings: Of a single proxy, or of a panel as a whole.
        proxies: Of a panel, on each of its proxies by name.
        more: Further entries, for instance the settings.
    """
    tree = {
        **more,
        "seeds": findings.seeds,
        "confidence": findings.differences.confidence,
        "latency_label": findings.latency_label,
        **_findings(findings),
        "by_proxy": {name: _findings(found) for name, found in proxies.items()},
    }
    return json.dumps(tree, indent=1, allow_nan=False) + "\n"


def _findings(findings: Findings) -> dict[str, Any]:
    """What was found in one unit."""
    front = findings.front.tolist()
    shown = (*findings.formulas, *findings.baselines)
    places = np.ndindex(len(findings.compared), len(findings.compared_with))
    return {
        "task": findings.words.name,
        "score": findings.words.score,
        "words": {each.name: getattr(findings.words, each.name) for each in fields(Words)},
        "spread": _finite(findings.spread),
        "verdicts": findings.verdicts,
        "functions": [
            {**_fields(f), "pareto": on_front, "scores": [_finite(s) for s in f.scores.tolist()]}
            for f, on_front in zip(shown, front, strict=True)
        ],
        "comparisons": [_pair(findings, row, column) for row, column in places],
    }


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


def _fields(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "source": source_of(finding.name),
        "formula": finding.formula,
        "mean": _finite(finding.mean),
        "standard_error": _finite(finding.standard_error),
        "diverged": finding.diverged,
        "searched": finding.searched,
        "gain": _finite(finding.gain),
        "outside": _finite(finding.outside),
        "learning_rates": [chosen.rate for chosen in finding.rates],
        "rates_tried": [_tried(chosen) for chosen in finding.rates],
        "drop_at_lower_rate": _finite(finding.drops[0]),
        "drop_at_higher_rate": _finite(finding.drops[1]),
        "latency": finding.latency,
        "latency_low": finding.latency_low,
        "latency_high": finding.latency_high,
    }


def _tried(chosen: ChosenRate) -> list[dict[str, float | None]]:
    """The learning rates that were tried on one proxy, with their validation scores; null where it diverged."""
    return [{"rate": rate, "score": _finite(score)} for rate, score in chosen.tried]


def to_csv(findings: Findings, proxies: Mapping[str, Findings]) -> str:
    """Writes one row per function, with columns per baseline (difference, low, high, p) and per proxy of a panel.

    Args:
        findings: Of a single proxy, or of a panel as a whole.
        proxies: Of a panel, on each of its proxies by name.
    """
    d = findings.differences
    rows: list[dict[str, Any]] = []
    shown = (*findings.formulas, *findings.baselines)
    # The row of each formula among the differences; baselines, and what diverged, have none.
    place = {id(f): i for i, f in enumerate(findings.compared)}
    on_proxies = {name: {f.formula: f for f in (*p.formulas, *p.baselines)} for name, p in proxies.items()}
    for finding, on_front in zip(shown, findings.front.tolist(), strict=True):
        row = {**_fields(finding), "pareto": on_front}
        del row["rates_tried"], row["gain"]
        if proxies:
            # It is of one proxy, and stands in its columns.
            del row["outside"]
        row["learning_rates"] = " ".join(f"{chosen.rate:.6g}" for chosen in finding.rates)
        i = place.get(id(finding))
        for j, baseline in enumerate(findings.compared_with):
            for column, values in (("difference", d.mean), ("low", d.low), ("high", d.high), ("p", d.p)):
                row[f"{column}_{baseline.name}"] = None if i is None else _finite(values[i, j])
        for name, by_formula in on_proxies.items():
            on_proxy = _fields(by_formula[finding.formula])
            for column in ("mean", "standard_error", "gain", "outside", "drop_at_lower_rate", "drop_at_higher_rate"):
                row[f"{column}_{name}"] = on_proxy[column]
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
