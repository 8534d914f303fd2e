"""Confirming what a search found: its best formulas beside strong baselines, on fresh seeds and fresh data.

The best of thousands is partly luck, and a baseline at somebody else's learning rate is a weak one. So every function,
baselines included, gets the best of several learning rates, chosen on data of its own, and is then trained from many
seeds, each with new weights, a new order of examples and a new data set. Every training is stored and never repeated.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rlsearch.common.files import write_text
from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events, Prefixed
from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, RunError, StorageError
from rlsearch.formula import Formula
from rlsearch.formula.named import CONFIRMED_AGAINST, TITLES
from rlsearch.judging.archive import Archive
from rlsearch.kernels import Kernel
from rlsearch.kernels.latency import Latency, label, measure
from rlsearch.proxies.settings import TrainingSettings
from rlsearch.runs.build import kernel_of, pool_of, resolve, words_of
from rlsearch.runs.config import Config
from rlsearch.runs.events import StopRequests
from rlsearch.runs.folder import Run, opened
from rlsearch.runs.read import read_history
from rlsearch.studies.figures import forest_figure, pareto_figure
from rlsearch.studies.files import to_csv, to_json
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.retrain import Options, Retraining, chosen_rates, final_scores


@dataclass(frozen=True, eq=False, slots=True)
class Confirmation:
    """How a confirmation ended.

    Attributes:
        findings: None where it was interrupted; what was trained until then is stored.
        folder: Where the files are; None if none were wanted.
        trained: Trainings done now, not counting those that were stored before.
    """

    findings: Findings | None
    folder: Path | None
    trained: int


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    formula: Formula
    searched: float | None


def confirm(
    run: Run | Path | str,
    *,
    best: int = 10,
    options: Options = Options(),
    events: Events = Events(),
) -> Confirmation:
    """Confirms the best functions of a run on its own proxies; files go to its folder ``confirm``.

    Args:
        run: The run folder; nobody else may be writing to it.
        best: How many functions, baselines not counted.
        options: How much is trained.
        events: Told of progress.

    Raises:
        ConfigError: If the run's reward has no proxies.
        InputError: If there is nothing to confirm.
        RunError: If the folder is not a run, is in use, or has no formula with a score.
    """
    run = opened(run)
    config = _with_proxies(run.config)
    with _functions_of(run, best) as functions:
        return _study(functions, config, run.folder / "confirm", run, options, events, "of this run")


def transfer(
    run: Run | Path | str,
    configs: Mapping[str, Config],
    *,
    best: int = 10,
    options: Options = Options(),
    events: Events = Events(),
) -> dict[str, Confirmation]:
    """Confirms the best functions of a run on the proxies of other configs; files go to ``transfer-NAME`` in the run.

    Args:
        run: The run folder; nobody else may be writing to it.
        configs: By name.
        best: How many functions, baselines not counted.
        options: How much is trained.
        events: Told of progress.

    Returns:
        The outcomes by name; an interrupted one is the last.

    Raises:
        ConfigError: If a config's reward has no proxies.
        InputError: If there is nothing to confirm.
        RunError: If the folder is not a run, is in use, or has no formula with a score.
    """
    run = opened(run)
    ready = {name: _with_proxies(config) for name, config in configs.items()}
    outcomes: dict[str, Confirmation] = {}
    with _functions_of(run, best) as found:
        # What the search saw was on other proxies.
        functions = [replace(function, searched=None) for function in found]
        for name, config in ready.items():
            folder = run.folder / f"transfer-{name}"
            told = Prefixed(f"{name}: ", events)
            outcomes[name] = _study(functions, config, folder, run, options, told, "of this run")
            if outcomes[name].findings is None:
                break
    return outcomes


def confirm_formulas(
    formulas: Sequence[Formula],
    config: Config | None = None,
    *,
    output: Path | None = None,
    options: Options = Options(),
    events: Events = Events(),
) -> Confirmation:
    """Confirms any formulas of ``x``.

    Args:
        formulas: Spellings of one function are merged.
        config: Whose proxies to train; by default those of the default reward.
        output: The folder for files and trainings; without it, nothing is kept.
        options: How much is trained.
        events: Told of progress.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If a formula has another input than ``x``, or there is none.
        StorageError: If the folder cannot be written.
    """
    config = _with_proxies(config or Config())
    functions = _beside_baselines({f.fingerprint: f for f in reversed(formulas)}, {})
    if not formulas:
        raise InputError("nothing to confirm: expected a formula, or a run with results")
    # Trainings go to the folder that was asked for, held against other processes, or to one that is not kept.
    with ExitStack() as stack:
        if output is None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
        else:
            folder = output
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{folder} cannot be made: {error}") from error
            stack.enter_context(Run(folder).lock())
        outcome = _study(functions, config, folder, None, options, events, "of those given")
    return outcome if output else Confirmation(outcome.findings, None, outcome.trained)


def _with_proxies(config: Config) -> Config:
    config = resolve(config)
    words_of(config)
    return config


@contextmanager
def _functions_of(run: Run, best: int) -> Iterator[list[_Function]]:
    """Yields a run's best functions and the baselines, and keeps others from writing to the run."""
    if best < 1:
        raise InputError(f"expected at least one function to confirm, got {best}")
    with run.lock():
        history = read_history(run)
        names = {formula.fingerprint for _, formula in _baselines()}
        board = history.leaderboard(best + len(names))
        chosen = [judged.formula for judged in board if judged.formula.fingerprint not in names][:best]
        if not chosen:
            raise RunError(f"the run {run.folder} has no formula with a score yet")
        # The scores of a reward of the user's own are of another kind.
        known = {f: judged.result.score for f, judged in history.known.items()} if run.config.proxies else {}
        yield _beside_baselines({formula.fingerprint: formula for formula in chosen}, known)


def _beside_baselines(formulas: Mapping[str, Formula], searched: Mapping[str, float | None]) -> list[_Function]:
    """Formulas and baselines; a formula that is a baseline is listed as that baseline."""
    baselines = {formula.fingerprint: (name, formula) for name, formula in _baselines()}
    found = [_Function("", f, searched.get(key)) for key, f in formulas.items() if key not in baselines]
    return found + [_Function(name, f, searched.get(key)) for key, (name, f) in baselines.items()]


def _baselines() -> list[tuple[str, Formula]]:
    return [(name, Formula.parse(f"{name}(x)")) for name in CONFIRMED_AGAINST]


def _study(
    functions: Sequence[_Function],
    config: Config,
    folder: Path,
    run: Run | None,
    options: Options,
    events: Events,
    source: str,
) -> Confirmation:
    """Trains the functions, compares them, and writes what was found."""
    kernel = kernel_of(config)
    formulas = [function.formula for function in functions]
    # Refuses other inputs than x before anything is trained.
    for formula in formulas:
        kernel.population([formula])
    retraining: Retraining | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "evaluations.sqlite"
        with stop_requests() as stop, one_thread(), Archive(path, create=not path.exists()) as archive:
            told = AllOf([events, StopRequests(stop)])
            retraining = Retraining(archive, kernel, config.device, pool_of(config), told)
            chosen = [
                (proxy, chosen_rates(formulas, proxy, config.seed, options, retraining)) for proxy in config.proxies
            ]
            scores = final_scores(formulas, chosen, config.seed, options.seeds, retraining)
            latencies = _latencies(formulas, kernel, config.device, folder / "latencies.json", events)
            stop()
    except KeyboardInterrupt:
        return Confirmation(None, folder, retraining.trained if retraining else 0)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
    found = []
    for i, function in enumerate(functions):
        rates_of_one = [(proxy.learning_rate, rates[i]) for proxy, rates in chosen]
        found.append(_finding(function, scores[i], rates_of_one, options, latencies[i]))
    findings = Findings.of(
        [f for f in found if not f.name],
        [f for f in found if f.name],
        latency_label=label(kernel, config.device),
        source=source,
        caveats=_caveats(config.proxies),
        words=words_of(config),
    )
    _write(findings, folder, run, config, options)
    return Confirmation(findings, folder, retraining.trained)


def _caveats(proxies: Sequence[TrainingSettings]) -> tuple[str, ...]:
    """Warnings about proxies whose data cannot be generated anew."""
    return tuple(sorted({caveat for proxy in proxies if (caveat := proxy.caveat)}))


def _finding(
    function: _Function,
    scores: NDArray[np.float64],
    rates: Sequence[tuple[float, float]],
    options: Options,
    latency: Latency,
) -> Finding:
    """What was found of a function; ``rates`` are each proxy's own learning rate and the one chosen."""
    # Whether the best rate is the lowest or highest that was tried, so that one beyond might be better.
    ends = min(options.rates), max(options.rates)
    at_an_end = len(set(ends)) > 1 and any(rate in (own * ends[0], own * ends[1]) for own, rate in rates)
    text = str(function.formula)
    return Finding(
        name=function.name,
        title=TITLES.get(function.name, text),
        formula=text,
        scores=scores,
        searched=function.searched,
        learning_rates=tuple(rate for _, rate in rates),
        at_an_end=at_an_end,
        latency=latency.ratio,
        latency_low=latency.low,
        latency_high=latency.high,
    )


def _latencies(formulas: Sequence[Formula], kernel: Kernel, device: str, store: Path, events: Events) -> list[Latency]:
    """What was measured before and kept in ``store``, or is measured now."""
    measured_on = label(kernel, device)
    known: dict[str, Latency] = {}
    # Where the file is missing or damaged, everything is measured anew.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(store.read_text(encoding="utf-8"))
        if kept["label"] == measured_on:
            known = {text: Latency(**fields) for text, fields in kept["functions"].items()}
    missing = [formula for formula in formulas if str(formula) not in known]
    if missing:
        events.on_progress("latency", 0, len(missing))
        known |= dict(zip(map(str, missing), measure(missing, kernel, device), strict=True))
        functions = {text: asdict(latency) for text, latency in known.items()}
        write_text(store, json.dumps({"label": measured_on, "functions": functions}, indent=1) + "\n")
        events.on_progress("latency", len(missing), len(missing))
    return [known[str(formula)] for formula in formulas]


def _write(findings: Findings, folder: Path, run: Run | None, config: Config, options: Options) -> None:
    """Writes what follows from the trainings; files of an earlier confirmation are replaced."""
    more = {
        "rlsearch": version("rlsearch"),
        "source": findings.source,
        "options": asdict(options),
        "config_seed": config.seed,
        "proxies": [proxy.model_dump(mode="json") for proxy in config.proxies],
    }
    figures = {"forest": forest_figure(findings), "pareto": pareto_figure(findings)}
    try:
        write_text(folder / "confirm.json", to_json(findings, more))
        write_text(folder / "confirm.csv", to_csv(findings))
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=150)
        if run is not None:
            _show_in_tensorboard(findings, figures, folder.name, run)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error


def _show_in_tensorboard(findings: Findings, figures: Mapping[str, Figure], tag: str, run: Run) -> None:
    from torch.utils.tensorboard import SummaryWriter

    # The x-axis of everything else there.
    with Archive(run.archive, read_only=True) as archive:
        step = archive.proposals(before_round=archive.rounds())
    with closing(SummaryWriter(log_dir=str(run.folder))) as writer:
        writer.add_text(f"{tag}/verdicts", "\n".join(f"- {verdict}" for verdict in findings.verdicts), step)
        for name, figure in figures.items():
            writer.add_figure(f"{tag}/{name}", figure, step, close=False)
