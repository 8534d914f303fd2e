"""A quick look: formulas beside the baselines on a few fresh seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlsearch.common.seeds import fresh_seed
from rlsearch.errors import ConfigError, InputError
from rlsearch.formula import Formula
from rlsearch.formula.named import BASELINES
from rlsearch.judging.judge import Judge, Judged
from rlsearch.kernels import kernel_named
from rlsearch.kernels.latency import Latency, label, measure
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.rewards.accuracy import AccuracyReward
from rlsearch.rewards.base import Status
from rlsearch.rewards.settings import RewardSettings
from rlsearch.runs.build import resolve, run_config
from rlsearch.runs.config import Config, TargetSettings
from rlsearch.runs.folder import Run
from rlsearch.runs.read import opened, read_judge


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over seeds.

    Attributes:
        mean: Mean accuracy over proxies and seeds; NaN if a training diverged.
        standard_error: Of the mean, over seeds; NaN for fewer than two.
        seeds: Number of seeds.
    """

    mean: float
    standard_error: float
    seeds: int

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Score":
        """Returns the mean of one score per seed."""
        error = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
        return cls(math.fsum(scores) / len(scores), error, len(scores))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One function beside the others.

    Attributes:
        name: Its name, for a baseline; else empty.
        formula: The function.
        searched: What the search saw of it, on the validation part; None if it did not see it.
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
) -> list[Comparison]:
    """Scores formulas beside the baselines on seeds that no search uses and on the part that no search sees.

    Args:
        formulas: Any formulas of ``x``.
        config: Whose proxies to train; by default those of ``run``, else the default reward's.
        run: A run whose ``best`` functions are scored too, with what its search saw of every function.
        best: How many of them.
        seeds: Fresh seeds per function.

    Returns:
        One comparison per function, sorted by fresh score, best first.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If there is nothing to score.
    """
    if not 1 <= seeds <= 1000:
        raise InputError(f"expected 1 to 1000 seeds, got {seeds}")
    known: dict[str, Judged] = {}
    judge: Judge | None = None
    wanted = {formula.fingerprint: ("", formula) for formula in formulas}
    if run is not None:
        run = opened(run)
        own = run_config(run)
        judge = read_judge(run)
        known = judge.known if judge else {}
        for judged in judge.leaderboard(best) if judge else []:
            wanted.setdefault(judged.formula.fingerprint, ("", judged.formula))
        config = config or own
    if not wanted:
        raise InputError("nothing to score: expected a formula, or a run with results")
    for name in BASELINES:
        formula = Formula.parse(f"{name}(x)")
        wanted[formula.fingerprint] = (name, wanted.get(formula.fingerprint, ("", formula))[1])
    config = resolve(config or Config())
    if isinstance(config.reward, TargetSettings):
        raise ConfigError(f"the reward {config.reward.target} has no proxies to train; give a config that has some")
    chosen = [formula for _, formula in wanted.values()]
    scores = _fresh_scores(chosen, config.reward, config, seeds)
    latencies = measure(chosen, kernel_named(config.kernel, config.device), config.device)
    rows = [
        Comparison(name, formula, _searched(known.get(fingerprint), judge), score, latency)
        for (fingerprint, (name, formula)), score, latency in zip(wanted.items(), scores, latencies, strict=True)
    ]
    return sorted(rows, key=lambda row: -math.inf if math.isnan(row.fresh.mean) else row.fresh.mean, reverse=True)


def latency_label(config: Config | None = None, run: Run | Path | str | None = None) -> str:
    """Returns which kernel and device :func:`evaluate` measures latencies on, given this config and run."""
    if config is None and run is not None:
        config = run_config(opened(run))
    config = resolve(config or Config())
    return label(kernel_named(config.kernel, config.device), config.device)


def _searched(judged: Judged | None, judge: Judge | None) -> Score | None:
    """Returns what counts of the scores that a search saw: not those of shorter trainings than the last."""
    if judged is None or judge is None or judged.result.status is not Status.OK:
        return None
    reward = judge.reward
    counted = reward.counted(judged.evaluations) if isinstance(reward, AccuracyReward) else reward.proxy_names
    by_seed: dict[int, list[float]] = {}
    for evaluation in judged.evaluations:
        if evaluation.score is not None and evaluation.training.proxy in counted:
            by_seed.setdefault(evaluation.training.seed, []).append(evaluation.score)
    return Score.of([math.fsum(s) / len(s) for s in by_seed.values()]) if by_seed else None


def _fresh_scores(formulas: Sequence[Formula], reward: RewardSettings, config: Config, seeds: int) -> list[Score]:
    members = [Training(f, "p", fresh_seed(config.seed, i)) for f in formulas for i in range(seeds)]
    per_proxy = []
    for settings in reward.proxies:
        proxy = Proxy(settings, kernel_named(config.kernel, config.device), config.device, config.workers or 1)
        scores = [math.nan if s is None else s for part in proxy.train(members, "test") for s in part]
        per_proxy.append(np.array(scores).reshape(len(formulas), seeds))
    return [Score.of(row.tolist()) for row in np.mean(per_proxy, axis=0)]
