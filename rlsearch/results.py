"""What one does with a run: sample its policy, read its leaderboard, score formulas again, export them."""

import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from rlsearch.assembly import fidelities, make_judge, make_method, plain_reward, resolve, run_config
from rlsearch.config import Config, TargetSettings
from rlsearch.controller.ppo import PPOSearch
from rlsearch.errors import ConfigError, InputError, RunError
from rlsearch.formula import Formula
from rlsearch.formula.named import BASELINES
from rlsearch.judging import Judge, Judged
from rlsearch.kernels import kernel_named
from rlsearch.proxies.base import Member
from rlsearch.proxies.proxy import Proxy
from rlsearch.rewards.latency import Latency, LatencyCosts, label, measure
from rlsearch.rewards.protocol import RewardResult, StagedReward, Status
from rlsearch.rewards.proxy import ProxyReward, fresh_seed
from rlsearch.rewards.settings import RewardSettings
from rlsearch.storage import Archive, Run
from rlsearch.storage.checkpoint import load_checkpoint
from rlsearch.threads import one_thread


@dataclass(frozen=True, slots=True)
class Sample:
    """A function that the policy wrote.

    Attributes:
        formula: Its first spelling among the samples.
        count: How many of the samples are this function.
        result: What the run's archive knows of it, if anything.
    """

    formula: Formula
    count: int
    result: RewardResult | None


def sample(run: Run | Path | str, count: int = 20, *, greedy: bool = False, seed: int = 0) -> list[Sample]:
    """Samples formulas from a run's trained policy; spellings of one function are merged.

    Args:
        run: The run folder.
        count: Formulas to write.
        greedy: Whether to take the likeliest token each time; there is only one such formula.
        seed: Of the sampling.

    Returns:
        The functions, the most frequent first.

    Raises:
        RunError: If the folder is not a run, or has no policy, or its checkpoint is damaged or foreign.
        InputError: If ``count`` is not positive.
    """
    if count < 1:
        raise InputError(f"expected at least one formula to sample, got {count}")
    run = _opened(run)
    config = run_config(run)
    state = load_checkpoint(run.checkpoint)
    if config.search.method != "ppo":
        raise RunError(f"{run.folder} was searched by {config.search.method}, which has no policy to sample")
    with one_thread(), _random_numbers_kept():
        method = make_method(config)
        assert isinstance(method, PPOSearch)
        method.restore_policy(state["method"])
        written = method.sample(1 if greedy else count, greedy=greedy, seed=seed)
    counts = Counter(formula.fingerprint for formula in written)
    known = _known(run)
    first = {formula.fingerprint: formula for formula in reversed(written)}
    return [
        Sample(first[fingerprint], n, known[fingerprint].result if fingerprint in known else None)
        for fingerprint, n in counts.most_common()
    ]


def top(run: Run | Path | str, count: int = 10) -> list[Judged]:
    """Returns the best functions of a run, best first; it may still be going on.

    Raises:
        RunError: If the folder is not a run.
        InputError: If ``count`` is not positive.
    """
    if count < 1:
        raise InputError(f"expected at least one function to show, got {count}")
    judge = read_judge(run)
    return judge.leaderboard(count) if judge else []


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
        run = _opened(run)
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
        config = run_config(_opened(run))
    config = resolve(config or Config())
    return label(kernel_named(config.kernel, config.device), config.device)


def export(formula: Formula, form: Literal["torch", "latex"] = "torch") -> str:
    """Returns a formula as standalone source of a torch module, or as LaTeX."""
    return formula.source() if form == "torch" else formula.latex() + "\n"


def best_formula(run: Run | Path | str) -> Formula:
    """Returns the best formula of a run.

    Raises:
        RunError: If the run has none yet.
    """
    board = top(run, 1)
    if not board:
        raise RunError(f"the run {_opened(run).folder} has no formula with a score yet")
    return board[0].formula


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Puts the global random numbers back, all of which stable-baselines3 seeds."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else Run.open(Path(run))


def read_judge(run: Run | Path | str) -> Judge | None:
    """Returns a judge that knows a run's whole rounds and judges nothing; None before the baseline is complete.

    Of a round under way nothing is known: some of its functions may have been trained on some of the proxies.

    Raises:
        RunError: If the folder is not a run.
    """
    run = _opened(run)
    config = run_config(run)
    with Archive(run.archive, read_only=True) as archive:
        reward = _reading_reward(run, config)
        stored = {(e.request.protocol, e.request.seed) for number, e in archive.evaluations() if number == -1}
        if any((r.protocol, r.seed) not in stored for r in reward.references):
            return None
        return make_judge(config, reward, archive, first_round=archive.rounds())


def _reading_reward(run: Run, config: Config) -> StagedReward:
    """Returns the run's reward for arithmetic on stored results; nothing of the user's code is loaded."""
    if isinstance(config.reward, TargetSettings):
        return plain_reward(config.reward, None)
    costs = LatencyCosts.load(run.latency_costs)
    return ProxyReward(
        config.reward,
        costs,
        kernel_named(config.kernel, config.device),
        config.device,
        config.seed,
        status_values=config.status_values,
        fidelities=fidelities(config),
    )


def _known(run: Run) -> dict[str, Judged]:
    judge = read_judge(run)
    return judge.known if judge else {}


def _searched(judged: Judged | None, judge: Judge | None) -> Score | None:
    """Returns what counts of the scores that a search saw: not those of shorter trainings than the last."""
    if judged is None or judge is None or judged.result.status is not Status.OK:
        return None
    reward = judge.reward
    counted = reward.counted(judged.evaluations) if isinstance(reward, ProxyReward) else reward.protocols
    by_seed: dict[int, list[float]] = {}
    for evaluation in judged.evaluations:
        if evaluation.score is not None and evaluation.request.protocol in counted:
            by_seed.setdefault(evaluation.request.seed, []).append(evaluation.score)
    return Score.of([math.fsum(s) / len(s) for s in by_seed.values()]) if by_seed else None


def _fresh_scores(formulas: Sequence[Formula], reward: RewardSettings, config: Config, seeds: int) -> list[Score]:
    members = [Member(f, fresh_seed(config.seed, i)) for f in formulas for i in range(seeds)]
    per_proxy = []
    for settings in reward.proxies:
        proxy = Proxy(settings, kernel_named(config.kernel, config.device), config.device, config.workers or 1)
        scores = [math.nan if s is None else s for part in proxy.train(members, "test") for s in part]
        per_proxy.append(np.array(scores).reshape(len(formulas), seeds))
    return [Score.of(row.tolist()) for row in np.mean(per_proxy, axis=0)]
