"""A quick look: formulas beside the baselines, on a few fresh seeds and the run's own data.

A small ``confirm``: no learning rate is chosen and no data is made anew. What is trained for a run is stored with it.
"""

import logging
import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.seeds import MAX_EVALUATE_SEEDS, fresh_seed
from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, StorageError
from rlsearch.formula import Formula
from rlsearch.formula.named import BASELINES
from rlsearch.judging.archive import Archive
from rlsearch.judging.history import History, Judged
from rlsearch.kernels.latency import Latency, label, measure
from rlsearch.proxies.base import Training
from rlsearch.proxies.tasks import Words
from rlsearch.rewards.base import Status
from rlsearch.runs.build import kernel_of, pool_of, proxies_of, resolve, words_of
from rlsearch.runs.config import Config
from rlsearch.runs.events import StopRequests
from rlsearch.runs.folder import Run, opened
from rlsearch.runs.read import read_history
from rlsearch.studies.retrain import Retraining

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over seeds.

    Attributes:
        mean: Mean score over proxies and seeds; NaN if a training diverged.
        standard_error: Of the mean, over seeds; NaN for fewer than two.
        seeds: Number of seeds.
    """

    mean: float
    standard_error: float
    seeds: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Score":
        """The mean of one score per seed."""
        error = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
        return cls(math.fsum(scores) / len(scores), error, len(scores))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One function beside the others.

    Attributes:
        name: Its name, for a baseline; else empty.
        formula: The function.
        searched: What the search saw of it, on the validation part; None if it did not see it, or saw it on other
            proxies.
        fresh: What fresh seeds say, on the test part.
        latency: Measured, as a ratio to ReLU.
    """

    name: str
    formula: Formula
    searched: Score | None
    fresh: Score
    latency: Latency


def evaluate(
    formulas: Sequence[Formula],
    config: Config | None = None,
    *,
    run: Run | Path | str | None = None,
    best: int = 5,
    seeds: int = 5,
    events: Events = Events(),
) -> list[Comparison]:
    """Scores formulas beside the baselines on seeds that no search uses and on the part that no search sees.

    Args:
        formulas: Any formulas of ``x``.
        config: Whose proxies to train; by default those of ``run``, else the default reward's.
        run: A run whose ``best`` functions are scored too, with what its search saw of every function. Trainings are
            stored in its folder ``evaluate`` and never repeated.
        best: How many of them.
        seeds: Fresh seeds per function.
        events: Told of progress.

    Returns:
        One comparison per function, sorted by fresh score, best first.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If there is nothing to score.
        KeyboardInterrupt: If it is stopped. What was trained for a run is stored.
    """
    if not 1 <= seeds <= MAX_EVALUATE_SEEDS:
        raise InputError(f"expected 1 to {MAX_EVALUATE_SEEDS} seeds, got {seeds}")
    run = None if run is None else opened(run)
    history = read_history(run) if run else History()
    wanted = _wanted(formulas, history, best)
    if config is None:
        config = run.config if run else Config()
    # What the search saw on other proxies says nothing beside scores on these.
    searched = history.known if run and config.proxies == run.config.proxies else {}
    scores, latencies = _measured(list(wanted.values()), resolve(config), run, seeds, events)

    names = {formula.fingerprint: name for name, formula in _baselines()}
    rows = []
    for i, (fingerprint, formula) in enumerate(wanted.items()):
        fresh = Score.of(scores[i].tolist())
        row = Comparison(names.get(fingerprint, ""), formula, _searched(searched, fingerprint), fresh, latencies[i])
        rows.append(row)
    # What diverged comes last.
    return sorted(rows, key=lambda row: -math.inf if math.isnan(row.fresh.mean) else row.fresh.mean, reverse=True)


def _measured(
    formulas: Sequence[Formula], config: Config, run: Run | None, seeds: int, events: Events
) -> tuple[NDArray[np.float64], list[Latency]]:
    """Each formula's mean test score over proxies for every fresh seed, ``[formulas, seeds]``, and its latency."""
    # Before anything is trained: refuses scores of different kinds, and other inputs than x.
    words_of(config)
    proxies, kernel = proxies_of(config), kernel_of(config)
    for formula in formulas:
        kernel.population([formula])

    with stop_requests() as check_stop, one_thread(), _store(run) as archive:
        told = AllOf([events, StopRequests(check_stop)])
        retraining = Retraining(archive, kernel, config.device, pool_of(config), told)
        trainings = []
        for proxy in proxies:
            name = retraining.proxy_name(proxy)
            for formula in formulas:
                trainings += [Training(formula, name, fresh_seed(config.seed, i), "test") for i in range(seeds)]
        # A score of None becomes NaN.
        values = np.array(retraining.scores(trainings, "fresh seeds"), dtype=np.float64)
        check_stop()
        latencies = measure(formulas, kernel, config.device)
        check_stop()
    scores: NDArray[np.float64] = values.reshape(len(proxies), len(formulas), seeds).mean(axis=0)
    return scores, latencies


def what_is_measured(config: Config | None = None, run: Run | Path | str | None = None) -> tuple[Words, str]:
    """What the scores of :func:`evaluate` mean, and which kernel and device latencies hold for.

    Args:
        config: As for :func:`evaluate`.
        run: As for :func:`evaluate`.
    """
    if config is None and run is not None:
        config = opened(run).config
    config = resolve(config or Config())
    return words_of(config), label(kernel_of(config), config.device)


def _wanted(formulas: Sequence[Formula], history: History, best: int) -> dict[str, Formula]:
    """What is scored, by fingerprint: the formulas given, the best of the history, and the baselines."""
    wanted = {formula.fingerprint: formula for formula in formulas}
    for judged in history.found(best):
        wanted.setdefault(judged.formula.fingerprint, judged.formula)
    if not wanted:
        raise InputError("nothing to score: expected a formula, or a run with results")
    for _, formula in _baselines():
        wanted.setdefault(formula.fingerprint, formula)
    return wanted


def _baselines() -> list[tuple[str, Formula]]:
    return [(name, Formula.parse(f"{name}(x)")) for name in BASELINES]


@contextmanager
def _store(run: Run | None) -> Iterator[Archive]:
    """The archive of a run's evaluations, held for this process; without a run one that is not kept."""
    if run is not None and not os.access(run.folder, os.W_OK):
        _LOGGER.warning("%s cannot be written: what is trained now is not kept", run.folder)
        run = None
    if run is None:
        with (
            TemporaryDirectory() as kept_nowhere,
            Archive(Path(kept_nowhere) / "evaluations.sqlite", create=True) as archive,
        ):
            yield archive
        return
    folder = run.folder / "evaluate"
    path = folder / "evaluations.sqlite"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error}") from error
    with Run(folder).lock(), Archive(path, create=not path.exists()) as archive:
        yield archive


def _searched(known: Mapping[str, Judged], fingerprint: str) -> Score | None:
    """What the search saw: the mean over seeds at the highest fidelity that is complete."""
    judged = known.get(fingerprint)
    if judged is None or judged.result.status is not Status.OK or judged.result.score is None:
        return None
    error = judged.result.standard_error
    return Score(judged.result.score, math.nan if error is None else error, judged.seeds)
