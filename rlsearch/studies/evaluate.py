"""A quick look: formulas beside the baselines, on a few fresh seeds and the run's own data.

A small ``confirm``: no learning rate is chosen and no data is made anew. What is trained for a run is stored with it.
"""

import logging
import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.seeds import MAX_EVALUATE_SEEDS, fresh_seed
from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, StorageError, why
from rlsearch.formula import Formula
from rlsearch.formula.named import BASELINES
from rlsearch.formula.simplify import simplified
from rlsearch.judging.archive import Archive
from rlsearch.judging.history import History, Judged
from rlsearch.judging.mirrors import best_groups
from rlsearch.kernels.latency import Latency, label, measure
from rlsearch.proxies.base import Training
from rlsearch.proxies.tasks import Words
from rlsearch.rewards.base import Status
from rlsearch.rewards.settings import RewardSettings
from rlsearch.rewards.trainable import check_trainable
from rlsearch.runs.build import kernel_of, pool_of, proxies_of, resolve
from rlsearch.runs.config import Config
from rlsearch.runs.events import StopRequests
from rlsearch.runs.folder import Run, opened
from rlsearch.runs.read import read_history
from rlsearch.studies.functions import Function, baselines_of, usual_baselines
from rlsearch.studies.gains import Gains, is_panel, searched_score, words_of_scores
from rlsearch.studies.paired import Floats
from rlsearch.studies.retrain import Retraining

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over seeds.

    Attributes:
        mean: Mean score over seeds; NaN if a training diverged.
        standard_error: Of the mean, over seeds; NaN for fewer than two.
        seeds: Number of seeds.
    """

    mean: float
    standard_error: float
    seeds: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Score":
        """The mean of one score per seed."""
        mean, error = math.fsum(scores) / len(scores), math.nan
        if len(scores) > 1 and not math.isnan(mean):
            error = statistics.stdev(scores) / math.sqrt(len(scores))
        return cls(mean, error, len(scores))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One function beside the others.

    Attributes:
        name: Its name, for a baseline; else empty.
        formula: The function.
        searched: What the search saw of it, on the validation part; None if it did not see it, or if its reward was
            another one.
        fresh: What fresh seeds say, on the test part: the score on the single proxy, or the gain on a panel.
        latency: Measured, as a ratio to ReLU.
        proxies: Of a panel, the score on each of its proxies, in the proxy's own unit.
    """

    name: str
    formula: Formula
    searched: Score | None
    fresh: Score
    latency: Latency
    proxies: Mapping[str, Score] = field(default_factory=dict)

    def __repr__(self) -> str:
        score = f"{self.fresh.mean:.4f} from {self.fresh.seeds} fresh seeds"
        return f"<{self.name or self.formula}: {score}, {self.latency.ratio:.2f} of ReLU's time>"


def evaluate(
    formulas: Sequence[Formula],
    config: Config | None = None,
    *,
    run: Run | Path | str | None = None,
    best: int = 5,
    mirrors: bool = False,
    baselines: Sequence[str] | None = None,
    seeds: int = 5,
    events: Events = Events(),
) -> list[Comparison]:
    """Scores formulas beside the baselines on seeds that no search uses and on the part that no search sees.

    On a panel the score is the gain, in spreads of the reward's baselines, which are trained for it whatever is shown.

    Args:
        formulas: Any formulas that the proxies can train.
        config: The config whose proxies are trained; by default those of ``run``, else the default reward's.
        run: A run whose ``best`` functions are scored too, with what its search saw of every function. Trainings are
            stored in its folder ``evaluate`` and never repeated.
        best: How many of them.
        mirrors: Whether mirror images count each by itself; else the best one stands for them.
        baselines: Names or formulas; by default :data:`~rlsearch.formula.named.BASELINES`, or those of gated units.
        seeds: Fresh seeds per function.
        events: Told of progress.

    Returns:
        One comparison per function, sorted by fresh score, best first.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If there is nothing to score, or a proxy cannot train a function.
        RewardError: If the reward's reference diverges, and gains cannot be counted.
        KeyboardInterrupt: If it is stopped. What was trained for a run is stored.
    """
    if not 1 <= seeds <= MAX_EVALUATE_SEEDS:
        raise InputError(f"expected 1 to {MAX_EVALUATE_SEEDS} seeds, got {seeds}")
    run = None if run is None else opened(run)
    history = read_history(run) if run else History()
    if config is None:
        config = run.config if run else Config()
    named = baselines_of(usual_baselines(config, BASELINES) if baselines is None else baselines)
    wanted = _wanted(formulas, history, best, mirrors, named)
    # What the search saw by another reward says nothing beside these scores.
    searched = history.known if run and _scores_alike(config, run.config) else {}
    measured = _measured(list(wanted.values()), resolve(config), run, seeds, events)

    names = {baseline.formula.fingerprint: baseline.name for baseline in named}
    rows = []
    for i, (fingerprint, formula) in enumerate(wanted.items()):
        row = Comparison(
            names.get(fingerprint, ""),
            formula,
            _searched(searched, fingerprint, config),
            Score.of(measured.total[i].tolist()),
            measured.latencies[i],
            {name: Score.of(scores[i].tolist()) for name, scores in measured.on_proxies.items()},
        )
        rows.append(row)
    # What diverged comes last.
    return sorted(rows, key=lambda row: -math.inf if math.isnan(row.fresh.mean) else row.fresh.mean, reverse=True)


def _scores_alike(one: Config, other: Config) -> bool:
    """Whether the scores of functions mean the same by both: the same proxies, and gains in the same unit."""
    ours, theirs = one.proxy_reward, other.proxy_reward
    if ours is None or theirs is None or ours.proxies != theirs.proxies:
        return False
    unit = ("reference", "baselines", "combine")
    return not is_panel(ours) or all(getattr(ours, name) == getattr(theirs, name) for name in unit)


@dataclass(frozen=True, eq=False, slots=True)
class _Measured:
    """Scores and latencies of functions.

    Attributes:
        total: The score on the single proxy, or the gain on a panel, ``[functions, seeds]``.
        on_proxies: Of a panel, the score on each proxy, ``[functions, seeds]``.
        latencies: One per function.
    """

    total: Floats
    on_proxies: Mapping[str, Floats]
    latencies: Sequence[Latency]


def _measured(formulas: Sequence[Formula], config: Config, run: Run | None, seeds: int, events: Events) -> _Measured:
    """Each formula's test scores on every proxy for every fresh seed, and its latency."""
    proxies_of(config)
    reward, kernel = config.proxy_reward, kernel_of(config)
    assert reward is not None, "the config has proxies"
    fingerprints = {formula.fingerprint for formula in formulas}
    unit = reward.scale_functions if is_panel(reward) else ()
    trained = [*formulas, *(formula for formula in unit if formula.fingerprint not in fingerprints)]
    check_trainable(trained, config.proxies)

    with stop_requests() as check_stop, one_thread(), _store(run) as archive:
        told = AllOf([events, StopRequests(check_stop)])
        retraining = Retraining(archive, kernel, config.device, pool_of(config), told, reward.time_limit)
        scores = _scores(trained, reward, config.seed, seeds, retraining)
        check_stop()
        latencies = measure(formulas, kernel, config.device)
        check_stop()
    if not is_panel(reward):
        return _Measured(scores[:, 0], {}, latencies)
    gains = Gains.of(scores, trained, reward)
    on_proxies = {name: scores[:, i] for i, name in enumerate(reward.names)}
    return _Measured(gains.combined, on_proxies, latencies)


def _scores(
    formulas: Sequence[Formula], reward: RewardSettings, run_seed: int, seeds: int, retraining: Retraining
) -> Floats:
    """The test scores, ``[formulas, proxies, seeds]``; NaN where a training diverged.

    Of a proxy with several learning rates those of the best one for each formula, as in the search.
    """
    trainings: list[Training] = []
    places: list[int] = []
    for place, proxy in enumerate(reward.proxies):
        for at_one_rate in proxy.at_each_rate():
            name = retraining.proxy_name(at_one_rate)
            places.append(place)
            for formula in formulas:
                trainings += [Training(formula, name, fresh_seed(run_seed, i), "test") for i in range(seeds)]
    # A score of None becomes NaN.
    values = np.array(retraining.scores(trainings, "fresh seeds"), dtype=np.float64)
    by_rate = values.reshape(len(places), len(formulas), seeds)

    best = np.full((len(formulas), len(reward.proxies), seeds), np.nan)
    for place, of_rate in zip(places, by_rate, strict=True):
        present = best[:, place].mean(axis=1)
        is_better = np.isnan(present) | (of_rate.mean(axis=1) > present)
        best[is_better, place] = of_rate[is_better]
    return best


@dataclass(frozen=True, slots=True)
class Measure:
    """What the figures of :func:`evaluate` mean.

    Attributes:
        words: Of the scores.
        proxies: Of a panel, those of the scores on each proxy.
        latency_label: Which kernel and device latencies hold for.
    """

    words: Words
    proxies: Mapping[str, Words]
    latency_label: str


def what_is_measured(config: Config | None = None, run: Run | Path | str | None = None) -> Measure:
    """What the figures of :func:`evaluate` mean.

    Args:
        config: As for :func:`evaluate`.
        run: As for :func:`evaluate`.
    """
    if config is None and run is not None:
        config = opened(run).config
    config = resolve(config or Config())
    proxies_of(config)
    reward = config.proxy_reward
    assert reward is not None, "the config has proxies"
    proxies: dict[str, Words] = {}
    if is_panel(reward):
        proxies = {name: proxy.task for name, proxy in zip(reward.names, reward.proxies, strict=True)}
    measured_on = label(kernel_of(config), config.device, gated=config.language.is_gated)
    return Measure(words_of_scores(reward), proxies, measured_on)


def _wanted(
    formulas: Sequence[Formula], history: History, best: int, mirrors: bool, baselines: Sequence[Function]
) -> dict[str, Formula]:
    """What is scored, by fingerprint: the formulas given, the best of the history, and the baselines."""
    wanted = {formula.fingerprint: formula for formula in formulas}
    of_run = history.found(best) if mirrors else [group.best for group in best_groups(history.found, best)]
    for judged in of_run:
        wanted.setdefault(judged.formula.fingerprint, simplified(judged.formula))
    if not wanted:
        raise InputError("nothing to score: expected a formula, or a run with results")
    for baseline in baselines:
        wanted.setdefault(baseline.formula.fingerprint, baseline.formula)
    return wanted


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
        raise StorageError(f"{folder} cannot be made: {why(error)}") from error
    with Run(folder).lock(), Archive(path, create=not path.exists()) as archive:
        yield archive


def _searched(known: Mapping[str, Judged], fingerprint: str, config: Config) -> Score | None:
    """What the search saw: the mean over seeds at the highest fidelity that is complete."""
    judged, reward = known.get(fingerprint), config.proxy_reward
    if judged is None or reward is None or judged.result.status is not Status.OK:
        return None
    score, error = searched_score(judged.result, reward)
    return None if score is None else Score(score, math.nan if error is None else error, judged.seeds)
