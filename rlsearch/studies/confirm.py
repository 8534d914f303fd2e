"""Confirming what a search found: its best formulas beside strong baselines, on fresh seeds and fresh data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlsearch.common.progress import Events
from rlsearch.errors import InputError
from rlsearch.formula import Formula
from rlsearch.formula.named import CONFIRMED_AGAINST
from rlsearch.runs.config import Config
from rlsearch.runs.folder import Run, opened
from rlsearch.studies.functions import Function, baselines_of, beside_baselines, functions_of, usual_baselines
from rlsearch.studies.retrain import Options
from rlsearch.studies.study import Confirmation, study, with_proxies
from rlsearch.studies.subjects import held_folder


def confirm(
    run: Run | Path | str,
    *,
    best: int = 10,
    mirrors: bool = False,
    baselines: Sequence[str] | None = None,
    options: Options = Options(),
    events: Events = Events(),
) -> Confirmation:
    """Confirms the best functions of a run on its own proxies; files go to its folder ``confirm``.

    Args:
        run: The run folder; nobody else may be writing to it.
        best: How many functions, baselines not counted.
        mirrors: Whether mirror images, such as ``f(x)`` and ``-f(x)``, are all taken; else only the best of them.
        baselines: Names or formulas; by default those of ``rlsearch.formula.named``. All pairs of function and baseline
            are taken together, so the more there are, the more each comparison must show.
        options: How much is trained.
        events: Told of progress.

    Raises:
        ConfigError: If the run's reward has no proxies.
        InputError: If there is nothing to confirm, or a proxy cannot train a function.
        RunError: If the folder is not a run, is in use, or has no formula with a score.
        RewardError: If the reward's reference diverges, and gains cannot be counted.
    """
    run = opened(run)
    config = with_proxies(run.config)
    named = _baselines(baselines, config)
    with functions_of(run, best, named, mirrors=mirrors) as functions:
        return study(functions, config, run.folder / "confirm", run, options, events, "of this run")


def confirm_formulas(
    formulas: Sequence[Formula],
    config: Config | None = None,
    *,
    baselines: Sequence[str] | None = None,
    output: Path | None = None,
    options: Options = Options(),
    events: Events = Events(),
) -> Confirmation:
    """Confirms any formulas that the config's proxies can train.

    Args:
        formulas: Spellings of one function are merged.
        config: The config whose proxies are trained; by default those of the default reward.
        baselines: As for :func:`confirm`.
        output: The folder for files and trainings; without it, nothing is kept.
        options: How much is trained.
        events: Told of progress.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If a proxy cannot train a formula or a baseline, or there is none.
        RewardError: If the reward's reference diverges, and gains cannot be counted.
        StorageError: If the folder cannot be written.
    """
    config = with_proxies(config or Config())
    functions = beside_baselines({f.fingerprint: f for f in reversed(formulas)}, {}, _baselines(baselines, config))
    if not formulas:
        raise InputError("nothing to confirm: expected a formula, or a run with results")
    with held_folder(output) as folder:
        outcome = study(functions, config, folder, None, options, events, "of those given")
    return outcome if output else replace(outcome, folder=None)


def _baselines(asked: Sequence[str] | None, config: Config) -> list[Function]:
    return baselines_of(usual_baselines(config, CONFIRMED_AGAINST) if asked is None else asked)
