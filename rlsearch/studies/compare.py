"""Search methods at equal budget: the same reward, the same seeds, the same number of trained candidates."""

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.files import write_text
from rlsearch.common.progress import Events
from rlsearch.controller.methods import METHODS
from rlsearch.errors import ConfigError, InputError, RunError, StorageError, nearest
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.proxies.tasks import Task
from rlsearch.rewards.base import Status
from rlsearch.runs.build import resolve
from rlsearch.runs.config import Config
from rlsearch.runs.events import RunEvents
from rlsearch.runs.folder import Run
from rlsearch.runs.read import read_history
from rlsearch.runs.train import resume, train
from rlsearch.search.settings import SearchSettings
from rlsearch.studies.confirm import confirm_formulas
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
from rlsearch.studies.retrain import Options

_PATIENCE = 50
"""Times the proposals that would do if all of them were new; a method that finds so little new is stopped."""

_TRAINED = (Status.OK, Status.DIVERGED)


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
        scores: For each method, the interquartile mean over runs of the test score of the run's best.
        better: For each ordered pair, the probability that the best of a run of the first has the higher score.
        task: What the scores are.
    """

    scores: dict[str, Estimate]
    better: dict[tuple[str, str], Estimate]
    task: Task


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


Records = dict[str, list[SearchRecord]]
"""The runs of every method."""


def run_methods(
    config: Config,
    methods: Sequence[str],
    folder: Path | str,
    *,
    seeds: int = 10,
    candidates: int = 2000,
    on_run: Callable[[str, int, int], None] = lambda name, number, total: None,
    events: RunEvents = RunEvents(),
) -> Records | None:
    """Runs each method from each seed, as far as that has not been done.

    Args:
        config: What is searched; its method, seed, rounds and candidates are replaced.
        methods: Names of search methods.
        folder: For the runs.
        seeds: Runs of each method; their seeds are ``config.seed`` and those after it.
        candidates: Functions that each run trains; repeats and unfit ones are free.
        on_run: Called before each run with its name, its number from 1 and the number of all.
        events: Told how a run goes on.

    Returns:
        The runs, or None if interrupted.

    Raises:
        InputError: If there is nothing to compare, or a method is unknown.
        ConfigError: If the folder has runs of another config.
        StorageError: If it cannot be written.
    """
    _check(methods, seeds, candidates)
    config = resolve(config)
    # Seed by seed, so that a comparison that is stopped early has whole rows.
    plan = [_config_of(config, method, config.seed + i, candidates) for i in range(seeds) for method in methods]
    records: Records = {method: [] for method in methods}
    for number, planned in enumerate(plan, start=1):
        name = f"{planned.search.method}-{planned.seed}"
        on_run(name, number, len(plan))
        run = _searched(planned, Path(folder) / name, events)
        if run is None:
            return None
        records[planned.search.method].append(_record(run, planned.seed))
    return records


def conclude(
    config: Config,
    records: Records,
    folder: Path | str,
    *,
    candidates: int = 2000,
    rewards: Sequence[float] = (),
    options: Options | None = Options(),
    events: Events = Events(),
) -> MethodComparison | None:
    """Compares the runs, confirms their best functions, and writes what was found.

    Args:
        config: What was searched.
        records: What :func:`run_methods` returned.
        folder: For what is written.
        candidates: The budget of the runs.
        rewards: Rewards whose reaching is counted; by default the final ones of the methods.
        options: How the best function of every run is confirmed; None, or a reward without proxies, for not at all.
        events: Told how the confirmation goes on.

    Returns:
        The comparison, or None if interrupted.

    Raises:
        StorageError: If the folder cannot be written.
    """
    folder, confirmed = Path(folder), None
    if options is not None and config.proxies:
        best = [record.best for runs in records.values() for record in runs]
        outcome = confirm_formulas(best, config, output=folder / "confirm", options=options, events=events)
        if outcome.findings is None:
            return None
        confirmed = _confirmed(outcome.findings, records)
    comparison = _compared(folder, candidates, records, rewards, confirmed)
    _write(comparison)
    return comparison


def _check(methods: Sequence[str], seeds: int, candidates: int) -> None:
    if not methods or len(set(methods)) < len(methods):
        raise InputError(f"expected different methods to compare, got {', '.join(methods) or 'none'}")
    comparable = [name for name, method in METHODS.items() if method.is_comparable]
    for method in methods:
        if method not in comparable:
            expected = f"expected one of {', '.join(comparable)}{nearest(method, comparable)}"
            raise InputError(f"unknown search method {method!r}; {expected}")
    if seeds < 2:
        raise InputError(f"expected at least 2 seeds, got {seeds}: one run says nothing about a method")
    if candidates < 1:
        raise InputError(f"expected at least 1 candidate, got {candidates}")


def _config_of(config: Config, method: str, seed: int, candidates: int) -> Config:
    rounds = -(-candidates // config.search.formulas_per_round) * _PATIENCE
    changed = {"method": method, "candidates": candidates, "rounds": rounds}
    return config.check(config.model_dump() | {"search": config.search.model_dump() | changed, "seed": seed})


def _searched(config: Config, folder: Path, events: RunEvents) -> Run | None:
    """The finished run of a config, done now as far as it is not done yet; None if interrupted."""
    # The archive is the last thing that is made of a new run.
    if not Run(folder).archive.exists():
        outcome = train(config, folder.name, runs=folder.parent, overwrite=True, events=events)
        return outcome.run if outcome.finished else None
    run = Run.open(folder)
    _check_same(run, config)
    if run.config.search == config.search and _is_spent(run, config.search):
        return run
    outcome = resume(folder, config.search.rounds, config.search.candidates, events=events)
    return outcome.run if outcome.finished else None


def _is_spent(run: Run, budget: SearchSettings) -> bool:
    with Archive(run.archive, read_only=True) as archive:
        return archive.candidates() >= (budget.candidates or 0) or archive.rounds() >= budget.rounds


def _check_same(run: Run, config: Config) -> None:
    """Raises a ConfigError if the run's config is another in what decides its results, or its budget was larger."""
    read = METHODS[config.search.method].section
    free = ["search.rounds", "search.candidates", "workers", "logging."]
    free += [f"{method.section}." for method in METHODS.values() if method.section not in (None, read)]
    then, now = (_flat(c.model_dump(mode="json")) for c in (run.config, config))
    # A key that was removed, such as an argument of a reward, is a difference like any other.
    for key in {**then, **now}:
        if key.startswith(tuple(free)):
            continue
        if key not in then or key not in now or then[key] != now[key]:
            raise ConfigError(
                f"{run.folder} was made {_said(then, key)}, and now it is {_said(now, key)}; choose another --name for "
                "another comparison"
            )
    budget = run.config.search.candidates or 0
    if budget > (config.search.candidates or 0):
        raise ConfigError(
            f"{run.folder} was made with {budget} candidates, and rescored by what came after the first "
            f"{config.search.candidates}; expected at least {budget}, or another --name"
        )


def _said(config: dict[str, Any], key: str) -> str:
    return f"with {key} = {config[key]}" if key in config else f"without {key}"


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a tree of settings by their paths; a group without any is a leaf, too."""
    if not isinstance(tree, dict) or not tree:
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{path}.{key}".strip("."))
    return leaves


def _record(run: Run, seed: int) -> SearchRecord:
    history = read_history(run)
    found = [judged for judged in history.known.values() if not judged.is_reference]
    trained = [judged for judged in found if judged.result.status in _TRAINED][: run.config.search.candidates]
    best = max((j for j in trained if j.result.status is Status.OK), key=lambda judged: judged.rank, default=None)
    if best is None:
        raise RunError(f"no candidate of {run.folder} has a score")
    with Archive(run.archive, read_only=True) as archive:
        proposals, trainings = archive.proposals(before_round=archive.rounds()), archive.trainings()
    unfit = sum(judged.result.status is Status.UNFIT for judged in found)
    return SearchRecord(seed, tuple(j.result.value for j in trained), proposals, unfit, trainings, best.formula)


def _compared(
    folder: Path,
    candidates: int,
    records: Records,
    rewards: Sequence[float],
    confirmed: Confirmed | None,
) -> MethodComparison:
    curves = {
        method: np.stack([best_so_far(record.rewards, candidates) for record in runs])
        for method, runs in records.items()
    }
    ends = {method: curve[:, -1] for method, curve in curves.items()}
    areas = {method: curve.mean(axis=1) for method, curve in curves.items()}
    wanted = sorted(rewards or (float(interquartile_mean(end)) for end in ends.values()))
    summaries = [
        MethodSummary(
            method,
            estimate(curve),
            estimate(ends[method]),
            estimate(areas[method]),
            float(np.mean([len(record.rewards) for record in records[method]])),
            float(np.mean([record.proposals for record in records[method]])),
            float(np.mean([record.unfit for record in records[method]])),
            float(np.mean([record.trainings for record in records[method]])),
            {reward: candidates_to_reach(curve, reward) for reward in wanted},
            records[method],
        )
        for method, curve in curves.items()
    ]
    seeds = len(next(iter(records.values())))
    return MethodComparison(folder, candidates, seeds, summaries, _pairs(ends), _pairs(areas), confirmed)


def _pairs(scores: dict[str, NDArray[np.float64]]) -> dict[tuple[str, str], Estimate]:
    return {(a, b): probability_of_improvement(scores[a], scores[b]) for a in scores for b in scores if a != b}


def _confirmed(findings: Findings, records: Records) -> Confirmed:
    """What fresh seeds say of each run's best; a best that diverges there counts as the worst there is."""
    score: dict[str, float] = {}
    for finding in (*findings.formulas, *findings.baselines):
        fingerprint = Formula.parse(finding.formula).fingerprint
        score[fingerprint] = findings.task.worst if finding.diverged else finding.mean
    scores = {m: np.array([score[record.best.fingerprint] for record in runs]) for m, runs in records.items()}
    return Confirmed({method: estimate(values) for method, values in scores.items()}, _pairs(scores), findings.task)


def _write(comparison: MethodComparison) -> None:
    """Writes ``compare.json``, ``compare.csv`` and the figure, in TensorBoard too."""
    from torch.utils.tensorboard import SummaryWriter

    folder = comparison.folder
    figure = methods_figure({m.method: m.curve for m in comparison.methods}, comparison.seeds)
    try:
        write_text(folder / "compare.json", json.dumps(_fields(comparison), indent=1, allow_nan=False) + "\n")
        with (folder / "compare.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            ends = ("", "_low", "_high")
            writer.writerow(["candidates", *(f"{m.method}{end}" for m in comparison.methods for end in ends)])
            columns = [c for m in comparison.methods for c in (m.curve.value, m.curve.low, m.curve.high)]
            writer.writerows([i, *row] for i, row in enumerate(np.stack(columns, axis=1).tolist(), start=1))
        figure.savefig(folder / "compare.png", dpi=150)
        with closing(SummaryWriter(log_dir=str(folder))) as board:
            board.add_figure("compare/best_so_far", figure, comparison.candidates, close=False)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error


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
        "confirmed_better": pairs(confirmed.better) if confirmed else None,
    }
