"""Search methods at equal budget: the same reward, the same seeds, the same number of trained candidates."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlsearch.common.progress import Events
from rlsearch.controller.methods import METHODS
from rlsearch.errors import ConfigError, InputError, RunError, nearest
from rlsearch.formula.simplify import simplified
from rlsearch.judging.archive import Archive
from rlsearch.rewards.base import Status
from rlsearch.runs.build import resolve
from rlsearch.runs.config import Config
from rlsearch.runs.events import RunEvents
from rlsearch.runs.folder import Run
from rlsearch.runs.read import read_history
from rlsearch.runs.train import resume, train
from rlsearch.search.settings import SearchSettings
from rlsearch.studies.comparison import Confirmed, MethodComparison, Records, SearchRecord, write_comparison
from rlsearch.studies.confirm import confirm_formulas
from rlsearch.studies.retrain import Options

_MAX_PROPOSALS_PER_CANDIDATE = 50
"""Where so few proposals are new, the method is stopped before its budget is used up."""


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
        candidates: Functions that each run trains; repeats and unfit ones do not count.
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
    # Seed by seed, so that a comparison that is stopped early has runs of every method.
    plan = []
    for seed in range(config.seed, config.seed + seeds):
        plan += [_config_of(config, method, seed, candidates) for method in methods]
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
        rewards: For each it is counted how many candidates a run takes to reach it; by default the methods' final ones.
        options: How the best function of every run is confirmed; None, or a reward without proxies, for not at all.
        events: Told how the confirmation goes on.

    Returns:
        The comparison, or None if interrupted.

    Raises:
        StorageError: If the folder cannot be written.
    """
    folder, confirmed = Path(folder), None
    if options is not None and config.proxies:
        best = []
        for runs in records.values():
            best += [simplified(record.best) for record in runs]
        outcome = confirm_formulas(best, config, output=folder / "confirm", options=options, events=events)
        if outcome.findings is None:
            return None
        confirmed = Confirmed.of(outcome.findings, records)
    comparison = MethodComparison.of(records, folder, candidates, rewards, confirmed)
    write_comparison(comparison)
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
    rounds = math.ceil(candidates / config.search.formulas_per_round) * _MAX_PROPOSALS_PER_CANDIDATE
    changed = {"method": method, "candidates": candidates, "rounds": rounds}
    return config.check(config.model_dump() | {"search": config.search.model_dump() | changed, "seed": seed})


def _searched(config: Config, folder: Path, events: RunEvents) -> Run | None:
    """The finished run of a config, done now as far as it is not done yet; None if interrupted."""
    # Of a new run the archive is made last: without one, the run has not begun.
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
    # What may differ: the budget, what has no effect on results, and the sections of other methods.
    own_section = METHODS[config.search.method].section
    free = ["search.rounds", "search.candidates", "workers", "logging."]
    free += [f"{method.section}." for method in METHODS.values() if method.section not in (None, own_section)]

    # A key that was removed, such as an argument of a reward, is a difference like any other; so is 1 for true.
    then, now = _leaves(run.config.model_dump(mode="json")), _leaves(config.model_dump(mode="json"))
    for key in {**then, **now}:
        if key.startswith(tuple(free)):
            continue
        if key not in then or key not in now or json.dumps(then[key]) != json.dumps(now[key]):
            raise ConfigError(
                f"{run.folder} was made {_said(then, key)}, and now it is {_said(now, key)}; choose another --name for "
                "another comparison"
            )

    # The first so many of a longer run are not what a shorter run has: later rounds have rescored some of them.
    budget = run.config.search.candidates or 0
    if budget > (config.search.candidates or 0):
        raise ConfigError(
            f"{run.folder} was made with {budget} candidates, and rescored by what came after the first "
            f"{config.search.candidates}; expected at least {budget}, or another --name"
        )


def _said(config: dict[str, Any], key: str) -> str:
    return f"with {key} = {config[key]}" if key in config else f"without {key}"


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of a tree of settings by their paths; an empty group is a leaf, too."""
    if not isinstance(tree, dict) or not tree:
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _leaves(value, f"{path}.{key}".strip("."))
    return leaves


def _record(run: Run, seed: int) -> SearchRecord:
    """What a finished run has achieved.

    Raises:
        RunError: If none of its candidates has a score.
    """
    history = read_history(run)
    found = [judged for judged in history.known.values() if not judged.is_reference]
    trained = [judged for judged in found if judged.result.status.is_trained][: run.config.search.candidates]
    scored = [judged for judged in trained if judged.result.status is Status.OK]
    best = max(scored, key=lambda judged: judged.rank, default=None)
    if best is None:
        raise RunError(f"no candidate of {run.folder} has a score")
    with Archive(run.archive, read_only=True) as archive:
        proposals, trainings = archive.proposals(before_round=archive.rounds()), archive.trainings()
    unfit = sum(judged.result.status is Status.UNFIT for judged in found)
    return SearchRecord(seed, tuple(j.result.value for j in trained), proposals, unfit, trainings, best.formula)
