"""Effective speed-up: how many times the compute a baseline would need for the score that a function has.

A difference of some hundredths of a nat says little to whoever pays for compute. So the baseline is trained at several
budgets, each with its own schedule and its own best learning rate, and what it needs for a function's score is read off
that curve (see :mod:`rlsearch.studies.learning_curve`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, RewardError
from rlsearch.judging.archive import Archive
from rlsearch.kernels.latency import MAX_STEADY_QUARTILE_RATIO, label
from rlsearch.proxies.settings import ProxySettings, TrainingSettings
from rlsearch.proxies.tasks import Words
from rlsearch.runs.build import kernel_of, pool_of
from rlsearch.runs.config import Config
from rlsearch.runs.events import StopRequests
from rlsearch.studies.functions import Function
from rlsearch.studies.learning_curve import SpeedUps, speed_ups
from rlsearch.studies.paired import Floats
from rlsearch.studies.rates import ChosenRate, chosen_rates
from rlsearch.studies.retrain import Options, Retraining, final_scores
from rlsearch.studies.step_times import step_times
from rlsearch.studies.subjects import Given, Subject, subject
from rlsearch.studies.written import write_json

BUDGETS = (1 / 4, 1 / 2, 1.0)
"""Of the baseline, as shares of the proxy's epochs."""

FEWEST_SEEDS = 5
"""With fewer, bootstrap intervals are surely too narrow."""


@dataclass(frozen=True, eq=False, slots=True)
class Point:
    """The baseline at one budget.

    Attributes:
        budget: As a share of the proxy's epochs.
        epochs: Passes over the training part.
        examples: Of the training part; None for a network of a user's own, which says it itself.
        rate: The learning rate that suits the baseline there.
        scores: On the test part, shape ``[seeds]``.
    """

    budget: float
    epochs: int
    examples: int | None
    rate: ChosenRate
    scores: Floats

    def __str__(self) -> str:
        """Such as ``"a half of the budget"``."""
        return f"{Fraction(self.budget).limit_denominator(1000)} of the budget"


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """A function beside the baseline's curve.

    Attributes:
        title: The formula.
        rate: The learning rate that suits it.
        scores: At the whole budget, on the test part, shape ``[seeds]``; NaN where a training diverged.
        found: What the curve says; None if a training diverged.
    """

    title: str
    rate: ChosenRate
    scores: Floats
    found: SpeedUps | None


@dataclass(frozen=True, eq=False, slots=True)
class Speedup:
    """The outcome of :func:`speedup`.

    Attributes:
        baseline: The title of the baseline.
        points: Its curve, the smallest budget first.
        functions: The highest score first.
        words: Of the scores.
        proxy: The name of the proxy.
        measured_on: Kernel and device that times of steps hold for.
        caveats: What weakens all of it.
        folder: Where the file is; None if none was wanted.
        trained: Trainings done now, not counting those that were stored before.
    """

    baseline: str
    points: tuple[Point, ...]
    functions: tuple[Compared, ...]
    words: Words
    proxy: str
    measured_on: str
    caveats: tuple[str, ...] = ()
    folder: Path | None = None
    trained: int = 0

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each function, and then the caveats."""
        return [*(self._verdict(function) for function in self.functions), *self.caveats]

    def _verdict(self, function: Compared) -> str:
        if function.found is None:
            diverged = int(np.isnan(function.scores).sum())
            return f"`{function.title}` diverged from {diverged} of {len(function.scores)} seeds; nothing is said of it"
        steps, time = function.found.at_equal_steps, function.found.at_equal_time
        sentence = (
            f"`{function.title}`: {self.words.in_words(function.found.difference.value)}; for its score "
            f"{self.baseline} needs {steps.value} x the steps (95 % interval {steps.low} to "
            f"{steps.high}) and {time.value} x the time ({time.low} to {time.high})"
        )
        if not time.is_ahead and not time.is_behind:
            return f"{sentence}, which is not told from 1"
        return sentence


def speedup(
    what: Given,
    config: Config | None = None,
    *,
    proxy: str | None = None,
    baseline: str = "gelu",
    budgets: Sequence[float] = BUDGETS,
    best: int = 10,
    mirrors: bool = False,
    output: Path | None = None,
    options: Options = Options(),
    events: Events = Events(),
) -> Speedup | None:
    """Says how many times the steps and the time a baseline needs for the scores of other functions.

    Args:
        what: A run, whose best functions are taken, or formulas; see :func:`~rlsearch.studies.subjects.subject`.
        config: Of formulas: the config that has the proxy.
        proxy: The name of the proxy, which may be left out where the config has but one.
        baseline: A name or a formula.
        budgets: Of the baseline, as shares of the proxy's epochs. The whole is always among them.
        best: Of a run, how many functions.
        mirrors: Of a run, whether mirror images count each by itself.
        output: Of formulas: the folder of ``speedup.json`` and of the trainings; without it, nothing is kept.
        options: How much is trained. All budgets share the seeds.
        events: Told of progress.

    Returns:
        What was found; None if it was interrupted, and then what was trained is stored.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If a budget cannot be had, there is nothing to compare, or as ``subject`` says.
        RewardError: If the baseline diverges.
        StorageError: If the folder cannot be written.
    """
    about = subject(what, config, proxy=proxy, baselines=[baseline], best=best, mirrors=mirrors, output=output)
    with about as given:
        at_each = at_budgets(given.proxy, budgets)
        if len(given.functions) < 2:
            raise InputError(f"there is nothing to compare with {given.functions[-1].title}; expected another function")
        return _studied(given, at_each, options, events)


def at_budgets(proxy: TrainingSettings, budgets: Sequence[float]) -> dict[float, TrainingSettings]:
    """The proxy trained for each budget, ascending, the last of them the whole.

    Raises:
        InputError: If a budget is no share, cannot be had, or there is none but the whole.
    """
    shares = sorted({*budgets, 1.0})
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong or len(shares) < 2:
        got = f"{wrong[0]:g}" if wrong else "none but the whole"
        raise InputError(f"expected budgets that are shares of the epochs, such as 1/4, 1/2 and 1; got {got}")
    found = {}
    for share in shares:
        found[share] = proxy.check(proxy.model_dump() | _share_of(proxy, share))
    return found


def _share_of(proxy: TrainingSettings, share: float) -> dict[str, int]:
    """What a proxy is trained with for a share of its budget: fewer epochs, or where that is none, fewer examples.

    Raises:
        InputError: If neither can be had.
    """
    epochs = round(share * proxy.epochs)
    if epochs and math.isclose(epochs, share * proxy.epochs):
        return {"epochs": epochs}
    if isinstance(proxy, ProxySettings):
        batches = round(share * (proxy.sizes[0] // proxy.batch_size))
        if batches:
            return {"train_size": batches * proxy.batch_size}
    raise InputError(
        f"a budget of {Fraction(share).limit_denominator(1000)} of {proxy.epochs} epochs is {share * proxy.epochs:g} "
        "epochs; expected a whole number, or a proxy of rlsearch with more batches in an epoch; take other budgets"
    )


def _studied(
    given: Subject, at_each: dict[float, TrainingSettings], options: Options, events: Events
) -> Speedup | None:
    *functions, baseline = given.functions
    config, kernel = given.config, kernel_of(given.config)
    path = given.folder / "evaluations.sqlite"
    try:
        with stop_requests() as stop, one_thread(), Archive(path, create=not path.exists()) as archive:
            told = AllOf([events, StopRequests(stop)])
            retraining = Retraining(archive, kernel, config.device, pool_of(config), told)
            points = []
            for share, proxy in at_each.items():
                # At the whole budget all functions are trained, so that they share populations.
                wanted = given.functions if share == 1 else [baseline]
                rates, scores = _trained(wanted, proxy, config, options, retraining)
                examples = proxy.sizes[0] if isinstance(proxy, ProxySettings) else None
                points.append(Point(share, proxy.epochs, examples, rates[-1], scores[-1]))
            _check_points(baseline, points)
            events.on_progress("time of steps", 0, len(functions))
            times = step_times([f.formula for f in functions], baseline.formula, given.proxy, kernel, config.device)
            events.on_progress("time of steps", len(functions), len(functions))
            stop()
    except KeyboardInterrupt:
        return None
    compared = _compared(functions, rates, scores, points, times)
    found = Speedup(
        baseline=baseline.title,
        points=tuple(points),
        functions=tuple(sorted(compared, key=_mean, reverse=True)),
        words=given.proxy.task,
        proxy=given.name,
        measured_on=label(kernel, config.device),
        caveats=_caveats(given.proxy, points, compared, times, baseline.title),
        folder=given.folder if given.is_kept else None,
        trained=retraining.trained,
    )
    write_json(given.folder / "speedup.json", _tree(found), config, [given.proxy], options)
    return found


def _mean(function: Compared) -> float:
    """By which functions are put in order; those that diverged come last."""
    return -math.inf if function.found is None else float(function.scores.mean())


def _trained(
    functions: Sequence[Function],
    proxy: TrainingSettings,
    config: Config,
    options: Options,
    retraining: Retraining,
) -> tuple[list[ChosenRate], Floats]:
    """The learning rate of each function, and its scores there, shape ``[functions, seeds]``."""
    formulas = [function.formula for function in functions]
    chosen = chosen_rates(formulas, proxy, config.seed, options, retraining)
    pairs = [(proxy, [each.rate for each in chosen])]
    return chosen, final_scores(formulas, pairs, config.seed, options.seeds, retraining).scores[:, 0]


def _check_points(baseline: Function, points: Sequence[Point]) -> None:
    for point in points:
        diverged = int(np.isnan(point.scores).sum())
        if diverged:
            raise RewardError(
                f"{baseline.title} diverges from {diverged} of {len(point.scores)} seeds at {point}, so it "
                "has no curve; lower the learning_rate, or take another baseline"
            )


def _compared(
    functions: Sequence[Function], rates: Sequence[ChosenRate], scores: Floats, points: Sequence[Point], times: Floats
) -> list[Compared]:
    budgets = np.array([point.budget for point in points])
    curve = np.array([point.scores for point in points])
    compared = []
    for place, function in enumerate(functions):
        own = scores[place]
        found = None if np.isnan(own).any() else speed_ups(budgets, curve, own, times[place])
        compared.append(Compared(function.title, rates[place], own, found))
    return compared


def _caveats(
    proxy: TrainingSettings, points: Sequence[Point], compared: Sequence[Compared], times: Floats, baseline: str
) -> tuple[str, ...]:
    caveats = [proxy.caveat] if proxy.caveat else []
    means = [float(point.scores.mean()) for point in points]
    if means != sorted(set(means)):
        caveats.append(f"{baseline} does not gain by every budget, so its curve says little of speed-ups")
    seeds = len(points[0].scores)
    if seeds < FEWEST_SEEDS:
        caveats.append(f"{seeds} seeds: the intervals are too narrow; it takes {FEWEST_SEEDS} or more")
    low, high = np.quantile(times, (0.25, 0.75), axis=1)
    if (high > MAX_STEADY_QUARTILE_RATIO * low).any():
        caveats.append("the machine was busy: times of steps are rough; the same command measures them again")
    at_ends = [each.title for each in compared if each.rate.is_at_an_end]
    at_ends += [f"{baseline} at {point}" for point in points if point.rate.is_at_an_end]
    if at_ends:
        caveats.append(f"the best learning rate lies at an end of those tried: {', '.join(at_ends)}")
    return tuple(caveats)


def _tree(found: Speedup) -> dict[str, Any]:
    """What was found, as JSON."""
    points = [
        {
            "budget": p.budget,
            "epochs": p.epochs,
            "examples": p.examples,
            "learning_rate": p.rate.rate,
            "scores": p.scores.tolist(),
        }
        for p in found.points
    ]
    return {
        "proxy": found.proxy,
        "score": found.words.score,
        "measured_on": found.measured_on,
        "baseline": {"function": found.baseline, "curve": points},
        "functions": [_function(each) for each in found.functions],
        "verdicts": found.verdicts,
    }


def _function(each: Compared) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "function": each.title,
        "learning_rate": each.rate.rate,
        "scores": [None if math.isnan(score) else score for score in each.scores.tolist()],
    }
    if each.found is None:
        return tree
    for name in ("difference", "step_time"):
        estimate = getattr(each.found, name)
        tree[name] = {end: getattr(estimate, end) for end in ("value", "low", "high")}
    for name in ("at_equal_steps", "at_equal_time"):
        factors = {end: getattr(getattr(each.found, name), end) for end in ("value", "low", "high")}
        tree[name] = {end: {"number": factor.number, "limit": factor.limit} for end, factor in factors.items()}
    return tree
