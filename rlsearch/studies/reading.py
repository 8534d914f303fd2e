"""Reads what studies have written: ``confirm.json``, and the files of a comparison of methods.

Nothing is trained, built or imported that the files name.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlsearch.errors import RunError, why
from rlsearch.formula.named import title_of
from rlsearch.proxies.tasks import BITS, CLASSIFICATION, CLASSIFICATION_LOSS, GAIN, NEXT_TOKEN, REGRESSION, Words
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.methods import Estimate
from rlsearch.studies.paired import Differences, Floats
from rlsearch.studies.rates import ChosenRate
from rlsearch.studies.study import Confirmation

CONFIRMATION = "confirm.json"
COMPARISON, CURVES = "compare.json", "compare.csv"

_KNOWN_WORDS = {
    words.name: words for words in (CLASSIFICATION, NEXT_TOKEN, CLASSIFICATION_LOSS, REGRESSION, BITS, GAIN)
}


def read_confirmation(folder: Path) -> Confirmation:
    """What was found by the confirmation whose files lie in ``folder``.

    Differences in a validation score at other learning rates are not read: they count as not known.

    Raises:
        RunError: If the file is missing or damaged.
    """
    tree = _tree(folder / CONFIRMATION)

    with _damage_of(folder / CONFIRMATION):
        proxies = {name: _findings(tree, part, name) for name, part in tree["by_proxy"].items()}
        return Confirmation(_findings(tree, tree, ""), folder, 0, proxies, _number(tree["spread"]))


def _findings(tree: Mapping[str, Any], part: Mapping[str, Any], proxy: str) -> Findings:
    """The findings of one part of the file: the whole, or one proxy."""
    functions = [_finding(entry) for entry in part["functions"]]
    found = Findings(
        formulas=tuple(f for f in functions if not f.name),
        baselines=tuple(f for f in functions if f.name),
        differences=_differences(part, tree["confidence"], functions),
        seeds=tree["seeds"],
        latency_label=tree["latency_label"],
        source=tree.get("source", "of this run"),
        words=_words(part),
        proxy=proxy,
        spread=_number(part["spread"]),
    )
    # Between the verdicts and what follows from the findings lie the caveats.
    first = len(found.compared_with) if found.compared else 0
    end = len(part["verdicts"]) - (len(found.verdicts) - first)
    return replace(found, caveats=tuple(part["verdicts"][first:end]))


def _finding(entry: Mapping[str, Any]) -> Finding:
    tried = [tuple((each["rate"], _number(each["score"])) for each in of_proxy) for of_proxy in entry["rates_tried"]]
    rates = zip(entry["learning_rates"], tried, strict=True)
    return Finding(
        name=entry["name"],
        title=title_of(entry["name"]) if entry["name"] else entry["formula"],
        formula=entry["formula"],
        scores=np.array([_number(score) for score in entry["scores"]], dtype=np.float64),
        searched=entry["searched"],
        rates=tuple(ChosenRate(rate, of_proxy) for rate, of_proxy in rates),
        drops=(_number(entry["drop_at_lower_rate"]), _number(entry["drop_at_higher_rate"])),
        latency=float(entry["latency"]),
        latency_low=float(entry["latency_low"]),
        latency_high=float(entry["latency_high"]),
        gain=_number(entry["gain"]),
        outside=_number(entry["outside"]),
    )


def _differences(part: Mapping[str, Any], confidence: float, functions: Sequence[Finding]) -> Differences:
    """The differences, in the order in which they were written: by formula, then by baseline."""
    sound = [f for f in functions if not f.diverged]
    shape = sum(not f.name for f in sound), sum(bool(f.name) for f in sound)

    def values(key: str, unknown: float) -> Floats:
        numbers = [_number(pair[key], unknown) for pair in part["comparisons"]]
        return np.array(numbers, dtype=np.float64).reshape(shape)

    # An interval without an end, where there are too few seeds, is written as null.
    low, high = values("low", -math.inf), values("high", math.inf)
    return Differences(values("difference", math.nan), low, high, values("p", math.nan), confidence)


def _words(part: Mapping[str, Any]) -> Words:
    """The words of a task by its name; those of a task from elsewhere as far as the file has them."""
    if "words" in part:
        return Words(**part["words"])
    score = part["score"]
    return _KNOWN_WORDS.get(part["task"], Words(part["task"], score, score, score, ""))


@dataclass(frozen=True, slots=True)
class WrittenComparison:
    """What was written of a comparison of search methods.

    Attributes:
        candidates: Trained candidates of every run.
        seeds: Runs of every method.
        curves: Best reward so far after each number of trained candidates, by method; arrays of ``[candidates]``.
        final: The curves' ends.
        better: For each ordered pair of methods, the probability that a run of the first ends with a higher reward.
        runs: The names of the run folders.
    """

    candidates: int
    seeds: int
    curves: Mapping[str, Estimate]
    final: Mapping[str, Estimate]
    better: Mapping[tuple[str, str], Estimate]
    runs: tuple[str, ...]


def read_comparison(folder: Path) -> WrittenComparison:
    """What was found by the comparison whose files lie in ``folder``.

    Raises:
        RunError: If a file is missing or damaged.
    """
    tree = _tree(folder / COMPARISON)

    with _damage_of(folder / COMPARISON):
        methods = [entry["method"] for entry in tree["methods"]]
        runs: list[str] = []
        for entry in tree["methods"]:
            runs += [f"{entry['method']}-{run['seed']}" for run in entry["runs"]]
        return WrittenComparison(
            candidates=tree["candidates"],
            seeds=tree["seeds"],
            curves=_curves(folder / CURVES, methods),
            final={entry["method"]: _estimate(entry["final"]) for entry in tree["methods"]},
            better={(pair["method"], pair["against"]): _estimate(pair) for pair in tree["better"]},
            runs=tuple(runs),
        )


def _curves(path: Path, methods: Sequence[str]) -> dict[str, Estimate]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> Floats:
        return np.array([row[name] for row in rows], dtype=np.float64)

    return {m: Estimate(column(m), column(f"{m}_low"), column(f"{m}_high")) for m in methods}


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    return Estimate(float(entry["value"]), float(entry["low"]), float(entry["high"]))


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {why(error)}") from error
    if not isinstance(tree, dict):
        raise RunError(f"{path} is damaged: expected an object, got {type(tree).__name__}")
    return tree


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Turns whatever does not fit into an error that names the file."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _number(value: float | None, unknown: float = math.nan) -> float:
    return unknown if value is None else float(value)
