"""What a config's proxies can tell, before a search asks them: their spread, noise and cost, and their order of a bank.

A bank is a list of functions whose merit is known from elsewhere. A reward that puts them in another order will put
other functions first in a search, too.
"""

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.ranks import rank_correlations
from rlsearch.common.seeds import search_seed
from rlsearch.common.threads import one_thread
from rlsearch.errors import InputError, nearest
from rlsearch.formula import Formula
from rlsearch.proxies.base import Training
from rlsearch.proxies.own.batching import way_of
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.tasks import Task
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.scale import Scale
from rlsearch.rewards.settings import function
from rlsearch.rewards.staged import Evaluation
from rlsearch.rewards.trainable import check_trainable
from rlsearch.runs.build import make_reward, proxies_of, resolve
from rlsearch.runs.config import Config
from rlsearch.runs.events import StopRequests

TOP = 5
"""Favourites of a reward whose mean merit is told."""

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class ProxyCheck:
    """What one proxy of a panel is like.

    Attributes:
        title: Its name in the panel.
        task: Says what its scores are.
        seconds: Of one core or GPU, for one candidate: all its seeds and learning rates.
        way: How members of a population are trained: by the compiled trainer, together, or one by one.
        scale: The reference's score, the spread of the baselines, and the seeds' noise.
        linear: The score of a network with the identity for an activation; None where it diverged.
        reason: Why a user's own network is trained in this way; empty for other proxies.
    """

    title: str
    task: Task
    seconds: float
    way: str
    scale: Scale
    linear: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """How well a reward, or one proxy of it, orders a bank by merit; NaN where it finds all functions alike.

    Attributes:
        title: What puts the functions in order.
        everything: Spearman's correlation with merit over the whole bank.
        low: Lower end of its 95 % interval, from resampled functions.
        high: Upper end.
        better_half: The correlation over the half of the bank with the best merit.
        top_merit: The mean merit of its first few functions. Of several that it finds alike, any may be first.
    """

    title: str
    everything: float
    low: float
    high: float
    better_half: float
    top_merit: float


@dataclass(frozen=True, slots=True)
class BankCheck:
    """How a panel orders a bank.

    Attributes:
        rows: Formula, merit and the reward's result for each function, the highest gain first.
        orders: Of the whole panel first, then of each proxy.
        correlations: Spearman's between the proxies' gains, over the functions that have a score; shape
            ``[proxies, proxies]``.
        chance: The mean merit of a function drawn at random.
        best: The mean merit of the best few.
    """

    rows: list[tuple[str, float, RewardResult]]
    orders: list[Order]
    correlations: NDArray[np.float64]
    chance: float
    best: float


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of :func:`check`.

    Attributes:
        proxies: One per proxy of the panel.
        in_spreads: Whether gains are in spreads of the baselines, or in points of accuracy.
        workers: Processes that a search of this config trains with.
        bank: What became of the bank; None without one.
    """

    proxies: list[ProxyCheck]
    in_spreads: bool
    workers: int
    bank: BankCheck | None

    @property
    def seconds(self) -> float:
        """What a candidate takes on all proxies, of one core or GPU."""
        return sum(proxy.seconds for proxy in self.proxies)

    @property
    def candidates_an_hour(self) -> float:
        """Candidates that all workers train in an hour, if nothing else takes time."""
        return 3600 * self.workers / self.seconds


def check(
    config: Config,
    bank: Path | None = None,
    *,
    merit: str = "merit",
    higher_is_better: bool = False,
    events: Events = Events(),
) -> Check:
    """Trains the references of a config's reward, and the functions of a bank if there is one.

    Args:
        config: Its reward must have proxies.
        bank: A CSV file with a column ``formula`` and one of merit.
        merit: The name of the latter.
        higher_is_better: Whether a higher merit is a better one; otherwise it is a rank.
        events: Told of progress.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If the bank cannot be read, or has a function that a proxy cannot train.
        RewardError: If the reference itself does not train.
        KeyboardInterrupt: If it is stopped.
    """
    functions = read_bank(bank, merit) if bank is not None else []
    check_trainable([entry.formula for entry in functions], proxies_of(config))
    config = resolve(config)
    assert config.workers is not None
    with stop_requests() as check_stop, one_thread():
        told = AllOf([events, StopRequests(check_stop)])
        reward, _ = make_reward(config)
        assert isinstance(reward, PanelReward)
        # The baselines too where gains are in points: how far apart they lie is what a proxy can tell.
        references = _evaluated(reward, [*reward.references, *_other_baselines(reward)], "references", told)
        reward.refer(references)
        checked = [proxy_check(reward, title, references) for title in reward.settings.names]
        if not functions:
            return Check(checked, reward.settings.in_spreads, config.workers, None)
        formulas = [entry.formula for entry in functions]
        results = reward.results(formulas, _evaluated(reward, reward.trainings(formulas), "bank", told))
    found = bank_check(functions, results, reward.settings.names, higher_is_better=higher_is_better)
    return Check(checked, reward.settings.in_spreads, config.workers, found)


@dataclass(frozen=True, slots=True)
class BankEntry:
    """A line of a bank: its text, the function, and its merit."""

    text: str
    formula: Formula
    merit: float


def read_bank(path: Path, merit: str = "merit") -> list[BankEntry]:
    """Functions and their merit from a CSV file with a column ``formula``.

    Args:
        path: The file.
        merit: The name of the column that has the merit.

    Raises:
        InputError: If the file is not there or lacks a column, a line is not a formula of ``x`` and a number, or there
            are too few functions to put in order.
    """
    try:
        # Spreadsheets mark the beginning of what they write.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read: {reason}") from error
    for column in ("formula", merit):
        if column not in columns:
            there = ", ".join(columns) or "nothing"
            raise InputError(f"{path} has no column {column!r}{nearest(column, columns)}; it has {there}")
    bank: dict[str, BankEntry] = {}
    for line, row in rows:
        try:
            entry = _entry((row["formula"] or "").strip(), (row[merit] or "").strip())
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from None
        fingerprint = entry.formula.fingerprint
        if fingerprint in bank:
            raise InputError(f"{path}:{line}: {entry.text} is the same function as {bank[fingerprint].text}")
        bank[fingerprint] = entry
    if len(bank) < 2 * TOP:
        raise InputError(f"{path} has {len(bank)} functions; expected at least {2 * TOP}, to speak of an order")
    if len({entry.merit for entry in bank.values()}) < 2:
        raise InputError(f"{path}: all functions have one merit; expected different ones, to speak of an order")
    return list(bank.values())


def _entry(text: str, merit: str) -> BankEntry:
    formula = function(text)
    try:
        value = float(merit)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"the merit of {text} is {merit!r}; expected a finite number")
    return BankEntry(text, formula, value)


def _other_baselines(reward: PanelReward) -> list[Training]:
    """The trainings of those baselines that no reward is relative to."""
    settings = reward.settings
    seeds = [search_seed(reward.run_seed, i) for i in range(settings.baseline_seeds)]
    others = [formula for formula in settings.scale_functions if formula not in settings.references]
    wanted = []
    for name in reward.proxy_names:
        for formula in others:
            wanted += [Training(formula, name, seed) for seed in seeds]
    return wanted


def _evaluated(reward: PanelReward, wanted: Sequence[Training], what: str, events: Events) -> list[Evaluation]:
    done: list[Evaluation] = []
    for population in reward.evaluate(wanted):
        done += population
        events.on_progress(what, len(done), len(wanted))
    return done


def proxy_check(reward: PanelReward, title: str, references: Sequence[Evaluation]) -> ProxyCheck:
    """What the references of a reward say of one of its proxies.

    Args:
        reward: Knows them already.
        title: The proxy's name in the panel.
        references: Their evaluations.
    """
    names = reward.rates_of(title)
    proxy = reward.proxies[names[0]]
    # The median: the first populations make data and compile, and those that are not full pay for empty places.
    each = statistics.median(e.wall_seconds for e in references if e.training.proxy in names)
    reason = ""
    if isinstance(proxy.settings, OwnProxySettings):
        reason = way_of(proxy.settings, proxy.kernel, proxy.device)
    return ProxyCheck(
        title,
        proxy.settings.task,
        each * len(names) * reward.settings.seeds,
        _way(proxy),
        reward.scale_of(title) if reward.settings.in_spreads else reward.scale_with_baselines(title, references),
        reward.linear_of(title),
        reason,
    )


def _way(proxy: Proxy) -> str:
    if proxy.is_native:
        return "compiled"
    if isinstance(proxy.settings, OwnTrainingSettings):
        return "by itself"
    return "together" if getattr(proxy.settings, "batched", True) else "one by one"


def bank_check(
    bank: Sequence[BankEntry], results: Sequence[RewardResult], names: Sequence[str], *, higher_is_better: bool
) -> BankCheck:
    """How the results of a bank's functions order them.

    A function without a score comes after all others, on every proxy: a search would not take it either.

    Args:
        bank: The functions.
        results: Of each.
        names: Of the proxies.
        higher_is_better: Whether a higher merit is a better one.
    """
    merits = np.array([entry.merit for entry in bank])
    goodness = merits if higher_is_better else -merits
    # Latency is no part of it: merit is not either.
    scores = [result.score if result.status is Status.OK else None for result in results]
    totals = np.array([-math.inf if score is None else score for score in scores])
    columns = [[result.gains.get(name, -math.inf) for result in results] for name in names]
    gains = np.array(columns).T

    orders = [_order("the reward's gain", totals, goodness, merits)]
    if len(names) > 1:
        orders += [_order(name, gains[:, i], goodness, merits) for i, name in enumerate(names)]
    rows = [(bank[i].text, bank[i].merit, results[i]) for i in np.argsort(-totals, kind="stable")]
    correlations = rank_correlations(gains[np.isfinite(totals)])
    best = _merit_of_first(goodness, merits)
    return BankCheck(rows, orders, correlations, float(merits.mean()), best)


def _order(title: str, found: NDArray[np.float64], goodness: NDArray[np.float64], merits: NDArray[np.float64]) -> Order:
    better = np.argsort(-goodness, kind="stable")[: len(goodness) // 2]
    # Functions are what a bank is a sample of. Where a sample is of functions that are alike, it has no order.
    rng = np.random.default_rng(0)
    samples = [rng.integers(len(found), size=len(found)) for _ in range(_RESAMPLES)]
    resampled = np.array([_correlation(found[chosen], goodness[chosen]) for chosen in samples])
    resampled = resampled[~np.isnan(resampled)]
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (math.nan, math.nan)
    return Order(
        title,
        _correlation(found, goodness),
        float(low),
        float(high),
        _correlation(found[better], goodness[better]),
        _merit_of_first(found, merits),
    )


def _merit_of_first(found: NDArray[np.float64], merits: NDArray[np.float64]) -> float:
    """The mean merit of the first few by what was found; where alike ones compete for the last places, their mean."""
    last = np.sort(found)[-TOP]
    before, competing = merits[found > last], merits[found == last]
    return float((before.sum() + (TOP - len(before)) * competing.mean()) / TOP)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(rank_correlations(np.stack([a, b], axis=1))[0, 1])
