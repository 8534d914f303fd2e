"""What one does with a run: sample its policy, read its leaderboard, score formulas again, export them."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, RunError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge, Judged
from rlsearch.kernels import kernel_named
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.accuracy import ProxyReward
from rlsearch.rewards.base import RewardResult, StagedReward
from rlsearch.runs.build import fidelities, make_judge, make_method, method_class, plain_reward, run_config
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.config import Config, TargetSettings
from rlsearch.runs.folder import Run


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
    run = opened(run)
    config = run_config(run)
    state = load_checkpoint(run.checkpoint)
    if not method_class(config).has_policy:
        raise RunError(f"{run.folder} was searched by {config.search.method}, which has no policy to sample")
    with one_thread(), _random_numbers_kept():
        method = make_method(config)
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
        raise RunError(f"the run {opened(run).folder} has no formula with a score yet")
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


def opened(run: Run | Path | str) -> Run:
    """Returns a run, given itself or its folder."""
    return run if isinstance(run, Run) else Run.open(Path(run))


def read_judge(run: Run | Path | str) -> Judge | None:
    """Returns a judge that knows a run's whole rounds and judges nothing; None before the baseline is complete.

    Of a round under way nothing is known: some of its functions may have been trained on some of the proxies.

    Raises:
        RunError: If the folder is not a run.
    """
    run = opened(run)
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
