"""A comparison of search methods as a value: computed from their runs, and written to files."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.files import write_text
from rlsearch.errors import StorageError, why
from rlsearch.formula import Formula
from rlsearch.proxies.tasks import Words
from rlsearch.studies.figures import methods_figure
from rlsearch.studies.findings import Findings
from rlsearch.studies.methods import (
    Estimate,
    best_so_far,
    candidates_to_reach,
    estimate,
    interquartile_mean,
    probability_of_improvement,
)


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """One finished run of a comparison.

    Attributes:
        seed: Its seed.
        rewards: Of the trained candidates in the order of their training, as the run knows them at its end.
        proposals: Formulas proposed, repeats included.
        unfit: Functions that were screened out before training.
        trainings: Trainings done, rescoring included.
        best: Its best function.
    """

    seed: int
    rewards: tuple[float, ...]
    proposals: int
    unfit: int
    trainings: int
    best: Formula


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """What a method achieved, over its runs; every estimate is an interquartile mean with its interval.

    Attributes:
        method: Its name.
        curve: Best reward after each number of trained candidates, shape ``[candidates]``.
        final: The curve's end.
        area: Mean height of the curve: how good and how early.
        trained: Mean number of trained candidates per run: fewer than asked for where a method ran out of new ones.
        proposals: Mean number of proposals per run.
        unfit: Mean number of unfit functions per run.
        trainings: Mean number of trainings per run, rescoring included.
        reached: For each wanted reward, how many candidates each run took to it, or None.
        records: Its runs.
    """

    method: str
    curve: Estimate
    final: Estimate
    area: Estimate
    trained: float
    proposals: float
    unfit: float
    trainings: float
    reached: dict[float, list[int | None]]
    records: list[SearchRecord]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The best functions of all runs, on fresh seeds and data.

    Attributes:
        scores: For each method, the interquartile mean over runs of the test score of the run's best: on the single
            proxy, or its gain on a panel.
        better: For each ordered pair, the probability that the best of a run of the first has the higher score.
        words: What the scores are.
    """

    scores: dict[str, Estimate]
    better: dict[tuple[str, str], Estimate]
    words: Words

    @classmethod
    def of(cls, findings: Findings, records: "Records") -> "Confirmed":
        """Gives each run what was found of its best; a best that diverges there counts as the worst there is."""
        score: dict[str, float] = {}
        for finding in (*findings.formulas, *findings.baselines):
            fingerprint = Formula.parse(finding.formula).fingerprint
            score[fingerprint] = findings.words.worst if finding.diverged else finding.mean
        of_runs = {m: np.array([score[record.best.fingerprint] for record in runs]) for m, runs in records.items()}
        scores = {method: estimate(values) for method, values in of_runs.items()}
        return cls(scores, _pairs(of_runs), findings.words)


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """A comparison of methods.

    Attributes:
        folder: Where its runs lie.
        candidates: Trained candidates of every run.
        seeds: Runs of every method.
        methods: The summaries, in the order asked for.
        better: For each ordered pair, the probability that a run of the first ends with a higher reward than one of
            the second.
        sooner: The same for the area under the curve.
        confirmed: What fresh seeds say of the runs' best functions, if they were confirmed.
    """

    folder: Path
    candidates: int
    seeds: int
    methods: list[MethodSummary]
    better: dict[tuple[str, str], Estimate]
    sooner: dict[tuple[str, str], Estimate]
    confirmed: Confirmed | None

    @classmethod
    def of(
        cls, records: "Records", folder: Path, candidates: int, rewards: Sequence[float], confirmed: Confirmed | None
    ) -> "MethodComparison":
        """Compares the runs of all methods.

        Args:
            records: The runs.
            folder: Where they lie.
            candidates: The budget of each.
            rewards: For each it is counted how many candidates a run takes to reach it; if empty, the methods' final
                ones.
            confirmed: What fresh seeds say of the runs' best functions, if they were confirmed.
        """
        curves = {
            method: np.stack([best_so_far(record.rewards, candidates) for record in runs])
            for method, runs in records.items()
        }
        ends = {method: curve[:, -1] for method, curve in curves.items()}
        areas = {method: curve.mean(axis=1) for method, curve in curves.items()}
        wanted = sorted(rewards or (float(interquartile_mean(end)) for end in ends.values()))
        summaries = [_summary(method, curve, wanted, records[method]) for method, curve in curves.items()]
        seeds = len(next(iter(records.values())))
        return cls(folder, candidates, seeds, summaries, _pairs(ends), _pairs(areas), confirmed)


Records = dict[str, list[SearchRecord]]
"""The runs of every method."""


def _summary(
    method: str, curve: NDArray[np.float64], wanted: Sequence[float], records: list[SearchRecord]
) -> MethodSummary:
    """What a method achieved; ``curve`` is the best reward so far of each of its runs, ``[runs, candidates]``."""
    return MethodSummary(
        method=method,
        curve=estimate(curve),
        final=estimate(curve[:, -1]),
        area=estimate(curve.mean(axis=1)),
        trained=_mean(len(record.rewards) for record in records),
        proposals=_mean(record.proposals for record in records),
        unfit=_mean(record.unfit for record in records),
        trainings=_mean(record.trainings for record in records),
        reached={reward: candidates_to_reach(curve, reward) for reward in wanted},
        records=records,
    )


def _mean(counts: Iterable[int]) -> float:
    return float(np.mean(list(counts)))


def _pairs(scores: Mapping[str, NDArray[np.float64]]) -> dict[tuple[str, str], Estimate]:
    """For each ordered pair of methods, the probability that the first has the higher score."""
    return {(a, b): probability_of_improvement(scores[a], scores[b]) for a, b in permutations(scores, 2)}


def write_comparison(comparison: MethodComparison) -> None:
    """Writes ``compare.json``, ``compare.csv`` and the figure, in TensorBoard too.

    Raises:
        StorageError: If the comparison's folder cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    folder = comparison.folder
    figure = methods_figure({m.method: m.curve for m in comparison.methods}, comparison.seeds)
    try:
        write_text(folder / "compare.json", json.dumps(_fields(comparison), indent=1, allow_nan=False) + "\n")
        _write_curves(comparison.methods, folder / "compare.csv")
        figure.savefig(folder / "compare.png", dpi=150)
        with closing(SummaryWriter(log_dir=str(folder))) as board:
            board.add_figure("compare/best_so_far", figure, comparison.candidates, close=False)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {why(error)}") from error


def _write_curves(methods: Sequence[MethodSummary], path: Path) -> None:
    """Writes a CSV line per number of trained candidates, with every method's best reward and its interval."""
    names: list[str] = ["candidates"]
    columns: list[NDArray[np.float64]] = []
    for summary in methods:
        names += [summary.method, f"{summary.method}_low", f"{summary.method}_high"]
        columns += [summary.curve.value, summary.curve.low, summary.curve.high]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([i, *row] for i, row in enumerate(np.stack(columns, axis=1).tolist(), start=1))


def _fields(comparison: MethodComparison) -> dict[str, Any]:
    def numbers(e: Estimate) -> dict[str, float]:
        return {"value": float(e.value), "low": float(e.low), "high": float(e.high)}

    def pairs(estimates: dict[tuple[str, str], Estimate]) -> list[dict[str, Any]]:
        return [{"method": a, "against": b, **numbers(e)} for (a, b), e in estimates.items()]

    confirmed = comparison.confirmed
    return {
        "candidates": comparison.candidates,
        "seeds": comparison.seeds,
        "methods": [
            {
                "method": m.method,
                "final": numbers(m.final),
                "area": numbers(m.area),
                "trained": m.trained,
                "proposals": m.proposals,
                "unfit": m.unfit,
                "trainings": m.trainings,
                "reached": [{"reward": reward, "candidates": counts} for reward, counts in m.reached.items()],
                "runs": [{**asdict(record), "best": str(record.best)} for record in m.records],
                "confirmed": numbers(confirmed.scores[m.method]) if confirmed else None,
            }
            for m in comparison.methods
        ],
        "better": pairs(comparison.better),
        "sooner": pairs(comparison.sooner),
        "confirmed_score": confirmed.words.score if confirmed else None,
        "confirmed_better": pairs(confirmed.better) if confirmed else None,
    }
