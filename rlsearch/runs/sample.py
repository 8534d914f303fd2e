"""Sampling the policy that a run has trained."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rlsearch.common.rng import random_numbers_kept
from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, RunError
from rlsearch.formula import Formula
from rlsearch.rewards.base import RewardResult
from rlsearch.runs.build import make_method, method_class
from rlsearch.runs.checkpoint import load_checkpoint
from rlsearch.runs.folder import Run, opened
from rlsearch.runs.read import read_history
from rlsearch.search import SearchMethod


@dataclass(frozen=True, slots=True)
class Sample:
    """A function that the policy wrote.

    Attributes:
        formula: Its first spelling among the samples.
        count: How many of the samples are this function.
        probability: With which the policy writes this spelling.
        result: What the run's archive knows of it, if anything.
    """

    formula: Formula
    count: int
    probability: float
    result: RewardResult | None


def sample(run: Run | Path | str, count: int = 20, *, greedy: bool = False, seed: int = 0) -> list[Sample]:
    """Samples formulas from a run's trained policy; spellings of one function are merged.

    Args:
        run: The run folder.
        count: Formulas to write.
        greedy: Whether to take the likeliest token each time; there is only one such formula.
        seed: Of the sampling.

    Returns:
        The functions, the most frequent first, and of those alike in this the most probable.

    Raises:
        RunError: If the folder is not a run, or has no policy, or its checkpoint is damaged or foreign.
        InputError: If ``count`` is not positive.
    """
    if count < 1:
        raise InputError(f"expected at least one formula to sample, got {count}")
    run = opened(run)
    with one_thread(), random_numbers_kept():
        method = _with_policy(run)
        written = method.sample(1 if greedy else count, greedy=greedy, seed=seed)
        # Spellings of one function are merged, and the first one stands for it.
        counts = Counter(formula.fingerprint for formula in written)
        first = {formula.fingerprint: formula for formula in reversed(written)}
        probabilities = method.probabilities(list(first.values()))

    known = read_history(run).known
    samples = []
    for (fingerprint, formula), probability in zip(first.items(), probabilities, strict=True):
        judged = known.get(fingerprint)
        samples.append(Sample(formula, counts[fingerprint], probability, judged.result if judged else None))
    return sorted(samples, key=lambda sample: (sample.count, sample.probability), reverse=True)


def save_policy(run: Run | Path | str, path: Path | str) -> None:
    """Writes a run's trained policy as a zip file of stable-baselines3, which its ``PPO.load`` reads.

    The loaded model predicts on the observations of an environment of the run's language. Like every such file it
    holds pickled objects: load it only where you trust who made it.

    Args:
        run: The run folder.
        path: A new file.

    Raises:
        RunError: If the folder is not a run, or has no policy, or its checkpoint is damaged or foreign.
        InputError: If the file exists already, or cannot be written.

    Example:
        >>> save_policy("runs/quickstart", "policy.zip")
        >>> model = stable_baselines3.PPO.load("policy.zip")
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists already; it is not overwritten")
    with one_thread(), random_numbers_kept():
        method = _with_policy(opened(run))
        try:
            method.save_policy(path)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _with_policy(run: Run) -> SearchMethod:
    """The search method of a run with its trained policy.

    Raises:
        RunError: If it has none, or the checkpoint is damaged or foreign.
    """
    config = run.config
    state = load_checkpoint(run.checkpoint)
    if not method_class(config).has_policy:
        raise RunError(f"{run.folder} was searched by {config.search.method}, which has no policy to sample")
    method = make_method(config)
    method.restore_policy(state["method"])
    return method
