"""The verbs as functions, for scripts and notebooks: settings by name, and a progress bar that can be switched off.

Each does what the command of its name does. What they return is described where it is defined: ``rlsearch.runs``,
``rlsearch.studies`` and ``rlsearch.reports``.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rlsearch.cli.progress import can_draw, counting, watching
from rlsearch.common.progress import Events
from rlsearch.errors import FormulaError, InputError
from rlsearch.formula import Formula
from rlsearch.judging.refining import Refinement
from rlsearch.runs import refine as refining
from rlsearch.runs import train as training
from rlsearch.runs.events import AllRunEvents, RunEvents
from rlsearch.runs.folder import Run
from rlsearch.runs.given import ConfigLike, config_if_given, config_of
from rlsearch.runs.train import SearchOutcome
from rlsearch.search.mining.method import MiningSearch
from rlsearch.studies import check as checking
from rlsearch.studies import compare as comparing
from rlsearch.studies import confirm as confirming
from rlsearch.studies import evaluate as evaluation
from rlsearch.studies import transfer as transferring
from rlsearch.studies.check import Check
from rlsearch.studies.comparison import MethodComparison
from rlsearch.studies.evaluate import Comparison
from rlsearch.studies.retrain import Options
from rlsearch.studies.study import Confirmation
from rlsearch.studies.targets import TARGETS


def train(
    config: ConfigLike,
    name: str | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    runs: Path | str = "runs",
    overwrite: bool = False,
    progress: bool | None = None,
    events: RunEvents | Sequence[RunEvents] = (),
    **shortcuts: Any,
) -> SearchOutcome:
    """Trains a controller and returns what it found. The caller's global random numbers stay as they are.

    Args:
        config: A config, its settings as a dict, or the path of its file.
        name: Name of the run folder; by default the config file's, numbered where it is taken.
        settings: Overrides by their path: ``{"controller.ppo.ent_coef": 0.1}``.
        runs: The folder of run folders.
        overwrite: Whether to replace an existing run of that name.
        progress: Whether to show a bar on a terminal or in a notebook, and a line a round elsewhere; by default only
            the bar.
        events: Listeners, which are told how the search goes on; see :class:`~rlsearch.runs.events.RunEvents`.
        **shortcuts: ``rounds``, ``candidates``, ``method`` (of the search), ``seed``, ``device``, ``workers``.

    Raises:
        ConfigError: If the config is wrong.
        RunError: If the run exists.
        StorageError: If the run folder can no longer be written; what was committed is safe.

    Example:
        >>> outcome = train("configs/quickstart.yaml", rounds=40, settings={"language.max_length": 8})
        >>> outcome.leaderboard[0].formula
    """
    loaded = config_of(config, settings, shortcuts)
    stem = Path(config).stem if isinstance(config, str | Path) else None
    with _watching(progress) as bar:
        return training.train(loaded, name, stem=stem, runs=runs, overwrite=overwrite, events=_joined(bar, events))


def mine(config: ConfigLike, name: str | None = None, **more: Any) -> SearchOutcome:
    """Screens every formula of a config's language and trains the cheapest fit ones by successive halving.

    Takes what :func:`train` takes.
    """
    return train(config, name, **more | {"method": MiningSearch.name})


def resume(
    run: Run | Path | str,
    rounds: int | None = None,
    candidates: int | None = None,
    *,
    progress: bool | None = None,
    events: RunEvents | Sequence[RunEvents] = (),
) -> SearchOutcome:
    """Goes on with a run that was stopped, killed, or is to be longer.

    Args:
        run: The run or its folder.
        rounds: A new number of rounds in all.
        candidates: A new number of trained functions in all.
        progress: As for :func:`train`.
        events: As for :func:`train`.

    Raises:
        RunError: If the folder is not a run, is damaged, or in use.
        ConfigError: If the new budget asks for nothing new, or the run's device or reward is not there.
    """
    folder = run.folder if isinstance(run, Run) else run
    with _watching(progress) as bar:
        return training.resume(folder, rounds, candidates, events=_joined(bar, events))


def refine(
    run: Run | Path | str,
    *,
    best: int = 5,
    seeds: int = 3,
    progress: bool | None = None,
    events: Events | None = None,
) -> list[Refinement]:
    """Tunes the constants of a run's best functions; see :func:`rlsearch.runs.refine.refine`.

    Args:
        run: The run or its folder.
        best: How many functions.
        seeds: From how many seeds constants are trained on each proxy.
        progress: As for :func:`train`.
        events: A listener.

    Example:
        >>> for row in refine("runs/quickstart"):
        ...     print(row.before.formula, row.after.formula, row.gain)
    """
    with _counting(progress, events) as told:
        return refining.refine(run, best=best, seeds=seeds, events=told)


def check(
    config: ConfigLike,
    bank: Path | str | None = None,
    *,
    merit: str = "merit",
    higher_is_better: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    events: Events | None = None,
) -> Check:
    """Looks at what a config's proxies cost, and what they can tell, before a search asks them.

    Args:
        config: A config, its settings as a dict, or the path of its file; its reward must have proxies.
        bank: A CSV file of functions whose merit you know: columns ``formula`` and that of merit.
        merit: The name of the latter.
        higher_is_better: Whether a higher merit is a better one; otherwise it is a rank.
        settings: Overrides by their path.
        progress: As for :func:`train`.
        events: A listener.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If the bank cannot be read.
        RewardError: If the reference itself does not train.

    Example:
        >>> found = check("configs/quickstart.yaml")
        >>> found.candidates_an_hour, [(proxy.title, proxy.scale.spread, proxy.linear) for proxy in found.proxies]
    """
    path = None if bank is None else Path(bank)
    with _counting(progress, events) as told:
        return checking.check(
            config_of(config, settings), path, merit=merit, higher_is_better=higher_is_better, events=told
        )


def evaluate(
    formulas: Sequence[Formula | str] = (),
    config: ConfigLike | None = None,
    *,
    run: Run | Path | str | None = None,
    best: int = 5,
    mirrors: bool = False,
    baselines: Sequence[str] | None = None,
    seeds: int = 5,
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    events: Events | None = None,
) -> list[Comparison]:
    """Scores formulas beside the baselines on fresh seeds; see :func:`rlsearch.studies.evaluate.evaluate`.

    With a config, ``settings`` are its overrides, as for :func:`train`.
    """
    loaded = config_if_given(config, settings)
    with _counting(progress, events) as told:
        return evaluation.evaluate(
            _parsed(formulas),
            loaded,
            run=run,
            best=best,
            mirrors=mirrors,
            baselines=baselines,
            seeds=seeds,
            events=told,
        )


def confirm(
    what: Run | Path | str | Sequence[Formula | str],
    config: ConfigLike | None = None,
    *,
    best: int = 10,
    mirrors: bool = False,
    baselines: Sequence[str] | None = None,
    output: Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    options: Options = Options(),
    progress: bool | None = None,
    events: Events | None = None,
) -> Confirmation:
    """Says what can be claimed of a run's best formulas, or of any formulas.

    Args:
        what: A run or its folder, whose files go to its folder ``confirm``; or a list of formulas.
        config: With formulas: the config whose proxies are trained; by default the default panel.
        best: Of a run, how many functions.
        mirrors: Of a run, whether mirror images, such as ``f(x)`` and ``-f(x)``, are all taken; else only the best.
        baselines: Names or formulas; by default nine published ones, or seven if the language is gated.
        output: With formulas: a folder for files and trainings; without it, nothing is kept.
        settings: With a config: its overrides by their path.
        options: How many seeds and learning rates.
        progress: As for :func:`train`.
        events: A listener.

    Raises:
        InputError: If ``config``, ``settings`` or ``output`` is given with a run, ``mirrors`` with formulas, or there
            is nothing to confirm.
    """
    if isinstance(what, str) and _is_formula(what):
        raise _not_a_list("formulas", what)
    with _counting(progress, events) as told:
        if isinstance(what, Run | Path | str):
            if config is not None or settings or output is not None:
                raise InputError(
                    "config, settings and output go with formulas; for a run on other tasks there is transfer()"
                )
            return confirming.confirm(
                what, best=best, mirrors=mirrors, baselines=baselines, options=options, events=told
            )
        if mirrors:
            raise InputError("mirrors goes with a run; all formulas of a list are taken")
        loaded = config_if_given(config, settings)
        folder = None if output is None else Path(output)
        return confirming.confirm_formulas(
            _parsed(what), loaded, baselines=baselines, output=folder, options=options, events=told
        )


def transfer(
    run: Run | Path | str,
    to: Sequence[str] | Mapping[str, ConfigLike] = (),
    *,
    best: int = 10,
    mirrors: bool = False,
    baselines: Sequence[str] | None = None,
    options: Options = Options(),
    progress: bool | None = None,
    events: Events | None = None,
) -> dict[str, Confirmation]:
    """Confirms a run's best formulas on other tasks.

    Args:
        run: The run or its folder.
        to: Names of the tasks that come with rlsearch, or configs by a name of yours; by default all that come with it.
        best: How many functions.
        mirrors: As for :func:`confirm`.
        baselines: Names or formulas; by default nine published ones, or seven if the language is gated.
        options: How many seeds and learning rates.
        progress: As for :func:`train`.
        events: A listener.

    Raises:
        InputError: If a task is unknown.
    """
    if isinstance(to, str):
        raise _not_a_list("tasks", to)
    if isinstance(to, Mapping):
        configs = {name: config_of(config) for name, config in to.items()}
    else:
        unknown = [name for name in to if name not in TARGETS]
        if unknown:
            raise InputError(f"there is no task {unknown[0]!r}; expected some of {', '.join(TARGETS)}")
        configs = {name: TARGETS[name] for name in to or TARGETS}
    with _counting(progress, events) as told:
        return transferring.transfer(
            run, configs, best=best, mirrors=mirrors, baselines=baselines, options=options, events=told
        )


def compare(
    config: ConfigLike,
    methods: Sequence[str] = ("ppo", "random", "evolution"),
    *,
    folder: Path | str,
    seeds: int = 10,
    candidates: int = 2000,
    rewards: Sequence[float] = (),
    options: Options | None = Options(),
    settings: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> MethodComparison | None:
    """Compares search methods at equal budget, from the same seeds; goes on where it was stopped.

    Args:
        config: What is searched.
        methods: Names of search methods.
        folder: For the runs and for what is written.
        seeds: Runs of each method.
        candidates: Functions that each run trains; repeats and unfit ones do not count.
        rewards: For each it is counted how many candidates a run takes to reach it.
        options: How the best function of every run is confirmed; None: not at all.
        settings: Overrides by their path.
        progress: As for :func:`train`.

    Returns:
        The comparison; None if it was interrupted.

    Raises:
        InputError: If the methods are no list, or a method is unknown.
    """
    if isinstance(methods, str):
        raise _not_a_list("methods", methods)
    loaded = config_of(config, settings)
    with _watching(progress) as bar:
        records = comparing.run_methods(
            loaded, methods, folder, seeds=seeds, candidates=candidates, events=_joined(bar, ())
        )
    if records is None:
        return None
    with _counting(progress, None) as told:
        return comparing.conclude(
            loaded, records, folder, candidates=candidates, rewards=rewards, options=options, events=told
        )


def report(what: Run | MethodComparison | Path | str, output: Path | str | None = None) -> Path:
    """Writes one page of HTML that shows what was found; see :func:`rlsearch.reports.page.report`."""
    # Jinja is loaded for this alone.
    from rlsearch.reports.page import report as write_report

    return write_report(what, output)


def _parsed(formulas: Sequence[Formula | str]) -> list[Formula]:
    if isinstance(formulas, str):
        raise _not_a_list("formulas", formulas)
    return [formula if isinstance(formula, Formula) else Formula.parse(formula) for formula in formulas]


def _not_a_list(what: str, text: str) -> InputError:
    return InputError(f"expected a list of {what}, got the text {text!r}")


def _is_formula(text: str) -> bool:
    """Whether a text that may be a run's folder is a formula."""
    # A text as long as some formulas are is no path, and pathlib raises for it.
    if os.path.exists(text):
        return False
    try:
        Formula.parse(text)
    except FormulaError:
        return False
    return True


def _watching(progress: bool | None) -> AbstractContextManager[RunEvents]:
    return watching() if _is_wanted(progress) else nullcontext(RunEvents())


def _counting(progress: bool | None, events: Events | None) -> AbstractContextManager[Events]:
    if events is not None:
        return nullcontext(events)
    return counting() if _is_wanted(progress) else nullcontext(Events())


def _is_wanted(progress: bool | None) -> bool:
    """Whether progress is shown: where nothing is said, only where somebody looks."""
    return can_draw() if progress is None else progress


def _joined(bar: RunEvents, events: RunEvents | Sequence[RunEvents]) -> RunEvents:
    more = [events] if isinstance(events, RunEvents) else list(events)
    return AllRunEvents([bar, *more])
