"""What a config's proxies can tell, before a search asks them: their spread, noise and cost, and their order of a bank.

A bank is a list of functions whose merit is known from elsewhere. A reward that puts them in another order will put
other functions first in a search, too.
"""

import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.threads import one_thread
from rlsearch.errors import FormulaError, InputError, nearest
from rlsearch.formula import Formula
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.tasks import Task
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.scale import Scale
from rlsearch.rewards.settings import function
from rlsearch.rewards.staged import Evaluation
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
    """

    title: str
    task: Task
    seconds: float
    way: str
    scale: Scale
    linear: float | None


@dataclass(frozen=True, slots=True)
class Order:
    """How well a reward, or one proxy of it, orders a bank by merit.

    Attributes:
        title: What puts the functions in order.
        everything: Spearman's correlation with merit over the whole bank.
        low: Lower end of its 95 % interval, from resampled functions.
        high: Upper end.
        better_half: The correlation over the half of the bank with the best merit.
        top_merit: The mean merit of its first few functions.
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
        chance: The mean merit of a function drawn at random.
        best: The mean merit of the best few.
    """

    rows: list[tuple[str, float, RewardResult]]
    orders: list[Order]
    chance: float
    best: float


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of :func:`check`.

    Attributes:
        proxies: One per proxy of the panel.
        in_spreads: Whether gains are in spreads of the baselines, or in points of accuracy.
        workers: Processes that a search of this config trains with.
        correlations: Spearman's between the proxies' gains over the functions of the bank, ``[proxies, proxies]``;
            None without a bank.
        bank: What became of the bank; None without one.
    """

    proxies: list[ProxyCheck]
    in_spreads: bool
    workers: int
    correlations: NDArray[np.float64] | None
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
        InputError: If the bank cannot be read.
        RewardError: If the reference itself does not train.
        KeyboardInterrupt: If it is stopped.
    """
    proxies_of(config)
    functions = read_bank(bank, merit) if bank is not None else []
    config = resolve(config)
    assert config.workers is not None
    with stop_requests() as check_stop, one_thread():
        told = AllOf([events, StopRequests(check_stop)])
        reward, _ = make_reward(config)
        assert isinstance(reward, PanelReward)
        references = _evaluated(reward, reward.references, "references", told)
        reward.refer(references)
        checked = [_proxy_check(reward, title, references) for title in reward.settings.names]
        if not functions:
            return Check(checked, reward.settings.in_spreads, config.workers, None, None)
        results = _judged(reward, [entry.formula for entry in functions], told)
    gains = _gains(results, reward.settings.names)
    found = _bank_check(functions, results, gains, higher_is_better)
    columns = gains.T
    correlations = np.array([[_spearman(a, b) for b in columns] for a in columns])
    return Check(checked, reward.settings.in_spreads, config.workers, correlations, found)


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
        InputError: If the file is not there, lacks a column, or a line is not a formula of ``x`` and a number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    for column in ("formula", merit):
        if column not in columns:
            there = ", ".join(columns) or "nothing"
            raise InputError(f"{path} has no column {column!r}{nearest(column, columns)}; it has {there}")
    bank: dict[str, BankEntry] = {}
    for line, row in enumerate(rows, start=2):
        try:
            text = (row["formula"] or "").strip()
            formula, value = function(text), float(row[merit] or "")
        except (FormulaError, ValueError) as error:
            raise InputError(f"{path}:{line}: {error}") from None
        if not math.isfinite(value):
            raise InputError(f"{path}:{line}: the merit is {value}; expected a finite number")
        if formula.fingerprint in bank:
            raise InputError(f"{path}:{line}: {text} is the same function as {bank[formula.fingerprint].text}")
        bank[formula.fingerprint] = BankEntry(text, formula, value)
    if len(bank) < 2 * TOP:
        raise InputError(f"{path} has {len(bank)} functions; expected at least {2 * TOP}, to speak of an order")
    return list(bank.values())


def _evaluated(reward: PanelReward, wanted: Sequence[Training], what: str, events: Events) -> list[Evaluation]:
    done: list[Evaluation] = []
    for population in reward.evaluate(wanted):
        done += population
        events.on_progress(what, len(done), len(wanted))
    return done


def _judged(reward: PanelReward, formulas: Sequence[Formula], events: Events) -> list[RewardResult]:
    by_formula: dict[Formula, list[Evaluation]] = defaultdict(list)
    for evaluation in _evaluated(reward, reward.trainings(formulas), "bank", events):
        by_formula[evaluation.training.formula].append(evaluation)
    return [reward.combine(formula, by_formula[formula]) for formula in formulas]


def _proxy_check(reward: PanelReward, title: str, references: Sequence[Evaluation]) -> ProxyCheck:
    names = reward.rates_of(title)
    of_proxy = [evaluation for evaluation in references if evaluation.training.proxy in names]
    linear = [e.score for e in of_proxy if e.training.formula == Formula.parse("x") and e.score is not None]
    proxy = reward.proxies[names[0]]
    each = statistics.fmean(evaluation.wall_seconds for evaluation in of_proxy)
    return ProxyCheck(
        title,
        proxy.settings.task,
        each * len(names) * reward.settings.seeds,
        _way(proxy),
        reward.scale_of(title),
        max(linear, default=None),
    )


def _way(proxy: Proxy) -> str:
    if proxy.is_native:
        return "compiled"
    return "together" if getattr(proxy.settings, "batched", True) else "one by one"


def _gains(results: Sequence[RewardResult], names: Sequence[str]) -> NDArray[np.float64]:
    """Gains ``[functions, proxies]``; where a function has no score, lower than any."""
    rows = [[result.gains.get(name, -math.inf) for name in names] for result in results]
    return np.array(rows, dtype=np.float64)


def _bank_check(
    bank: Sequence[BankEntry],
    results: Sequence[RewardResult],
    gains: NDArray[np.float64],
    higher_is_better: bool,
) -> BankCheck:
    merits = np.array([entry.merit for entry in bank])
    goodness = merits if higher_is_better else -merits
    scores = [result.score if result.status is Status.OK else None for result in results]
    # Latency is no part of it: merit is not either.
    totals = np.array([-math.inf if score is None else score for score in scores])
    orders = [_order("the reward's gain", totals, goodness, merits)]
    titles = next((list(result.gains) for result in results if result.gains), [])
    if len(titles) > 1:
        orders += [_order(title, gains[:, i], goodness, merits) for i, title in enumerate(titles)]
    rows = [(bank[i].text, bank[i].merit, results[i]) for i in np.argsort(-totals, kind="stable")]
    best = merits[np.argsort(-goodness, kind="stable")[:TOP]]
    return BankCheck(rows, orders, float(merits.mean()), float(best.mean()))


def _order(title: str, found: NDArray[np.float64], goodness: NDArray[np.float64], merits: NDArray[np.float64]) -> Order:
    better = np.argsort(-goodness, kind="stable")[: len(goodness) // 2]
    # Functions are what a bank is a sample of.
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(len(found), size=len(found))
        resampled.append(_spearman(found[chosen], goodness[chosen]))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    top = np.argsort(-found, kind="stable")[:TOP]
    return Order(
        title,
        _spearman(found, goodness),
        float(low),
        float(high),
        _spearman(found[better], goodness[better]),
        float(merits[top].mean()),
    )


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The rank correlation; NaN where one side is constant."""
    if len(set(a.tolist())) < 2 or len(set(b.tolist())) < 2:
        return math.nan
    from scipy import stats

    ranks = (stats.rankdata(each) for each in (a, b))
    return float(np.corrcoef(*ranks)[0, 1])
