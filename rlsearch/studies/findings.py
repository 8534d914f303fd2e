"""What was found of each function, put together: ranked, compared with every baseline, and said in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlsearch.kernels.latency import Latency
from rlsearch.proxies.tasks import CLASSIFICATION, Words
from rlsearch.studies.paired import Bools, Differences, Floats, paired_differences, pareto_front
from rlsearch.studies.rates import ChosenRate

MIN_SEEDS_FOR_INTERVAL = 5
"""With fewer, too many resamples draw one seed throughout."""

NOTHING_COMPARED = "nothing could be compared"


@dataclass(frozen=True, eq=False, slots=True)
class Finding:
    """One function, trained from fresh seeds on fresh data.

    Attributes:
        name: Of a baseline: a name such as ``"gelu"``, or its formula; else empty.
        title: How a text calls it: ``"GELU"``, or the formula.
        formula: The function.
        scores: On the test part, one per seed: of one proxy, or gains combined over a panel; NaN where a training
            diverged.
        searched: What the search saw of it; None if it did not see it.
        rates: The learning rates that it was trained at, one per proxy.
        drops: How much lower its score is at the next lower learning rate that was tried, and at the next higher one,
            by validation; over a panel in spreads, a mean over its proxies. NaN where none was tried; infinite where it
            diverged.
        latency: Measured, as a ratio to ReLU.
        latency_low: First quartile of the measurement.
        latency_high: Third quartile.
        gain: What it gains over the reference on one proxy of a panel, in spreads; NaN elsewhere.
        outside: The part of its mean score that is from inputs outside the range of training; NaN where there is none.
    """

    name: str
    title: str
    formula: str
    scores: Floats
    searched: float | None
    rates: tuple[ChosenRate, ...]
    drops: tuple[float, float]
    latency: float
    latency_low: float
    latency_high: float
    gain: float = math.nan
    outside: float = math.nan

    @property
    def at_an_end(self) -> bool:
        """Whether a learning rate is the lowest or the highest that was tried, so that another might suit better."""
        return any(chosen.is_at_an_end for chosen in self.rates)

    @property
    def has_rough_latency(self) -> bool:
        """Whether the machine did something else while its latency was measured."""
        return Latency(self.latency, self.latency_low, self.latency_high).is_rough

    @property
    def diverged(self) -> int:
        """Number of seeds from which a training diverged."""
        return int(np.isnan(self.scores).sum())

    @property
    def mean(self) -> float:
        """Mean score; NaN if a training diverged."""
        return float(self.scores.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN if a training diverged."""
        return float(self.scores.std(ddof=1) / math.sqrt(len(self.scores)))


@dataclass(frozen=True, eq=False)
class Findings:
    """Formulas beside baselines.

    Attributes:
        formulas: The best-supported first: sorted by their lower bound against the strongest baseline. Those that
            diverged come last.
        baselines: Sorted by score, best first; those that diverged last.
        differences: Of every formula and every baseline that did not diverge, in these orders.
        seeds: Number of seeds.
        latency_label: What the latencies were measured on.
        source: Where the formulas come from, as a text goes on after "no formula ": ``"of this run"``.
        caveats: What else a reader has to know.
        words: What the scores are, and how their differences are said.
        proxy: The proxy of a panel that the scores are of; empty for all of them together.
        spread: Of the baselines there, in the unit of the score; NaN where gains are not counted in it.
    """

    formulas: tuple[Finding, ...]
    baselines: tuple[Finding, ...]
    differences: Differences
    seeds: int
    latency_label: str
    source: str
    caveats: tuple[str, ...] = ()
    words: Words = CLASSIFICATION
    proxy: str = ""
    spread: float = math.nan

    @classmethod
    def of(
        cls,
        formulas: Sequence[Finding],
        baselines: Sequence[Finding],
        *,
        latency_label: str,
        source: str = "of this run",
        caveats: tuple[str, ...] = (),
        confidence: float = 0.95,
        words: Words = CLASSIFICATION,
        proxy: str = "",
        spread: float = math.nan,
    ) -> "Findings":
        """Compares ``formulas`` with ``baselines``, all of them trained from the same seeds."""
        sound, diverged = _told_apart(formulas)
        sound_baselines, diverged_baselines = _told_apart(baselines)
        sound_baselines.sort(key=lambda f: f.mean, reverse=True)

        # The lower bound against the strongest baseline; where there is no bound, the mean decides.
        seeds = len(baselines[0].scores)
        measured = paired_differences(_scores(sound, seeds), _scores(sound_baselines, seeds), confidence=confidence)
        bounds = measured.low.min(axis=1, initial=math.inf)
        order = sorted(range(len(sound)), key=lambda i: (bounds[i], sound[i].mean), reverse=True)
        return cls(
            formulas=(*(sound[i] for i in order), *diverged),
            baselines=(*sound_baselines, *diverged_baselines),
            differences=measured.of_functions(order),
            seeds=seeds,
            latency_label=latency_label,
            source=source,
            caveats=caveats,
            words=words,
            proxy=proxy,
            spread=spread,
        )

    @cached_property
    def compared(self) -> tuple[Finding, ...]:
        """The formulas that were compared: the rows of ``differences``."""
        return tuple(f for f in self.formulas if not f.diverged)

    @cached_property
    def compared_with(self) -> tuple[Finding, ...]:
        """The baselines that were compared with: the columns of ``differences``."""
        return tuple(f for f in self.baselines if not f.diverged)

    @cached_property
    def front(self) -> Bools:
        """Which of ``(*formulas, *baselines)`` no other one beats in score without costing more time."""
        shown = (*self.formulas, *self.baselines)
        return pareto_front(np.array([f.latency for f in shown]), np.array([f.mean for f in shown]))

    def beaten(self, row: int) -> list[Finding]:
        """The baselines that ``compared[row]`` beats."""
        return [b for b, better in zip(self.compared_with, self.differences.better[row], strict=True) if better]

    def lost_to(self, row: int) -> list[Finding]:
        """The baselines that beat ``compared[row]``."""
        return [b for b, worse in zip(self.compared_with, self.differences.worse[row], strict=True) if worse]

    @property
    def verdict_on_strongest(self) -> str:
        """The sentence on the baseline with the highest score."""
        return self._verdict(0) if self.compared and self.compared_with else NOTHING_COMPARED

    @property
    def verdicts(self) -> list[str]:
        """One sentence per baseline, the best-supported formula first; and what the sentences do not hold for."""
        columns = list(range(len(self.compared_with))) if self.compared else []
        columns.sort(key=self._clearness, reverse=True)
        return [self._verdict(column) for column in columns] + self._reservations()

    def _clearness(self, column: int) -> tuple[bool, float]:
        """Sorts baselines: those that were beaten above the others, each by how far the evidence goes."""
        is_beaten = bool(self.differences.better[:, column].any())
        return is_beaten, float(self.differences.low[self._strongest(column), column])

    def _strongest(self, column: int) -> int:
        """The row of the formula that beats a baseline most surely, or comes nearest to beating it."""
        d = self.differences
        better = np.flatnonzero(d.better[:, column]).tolist()
        return max(better or range(len(self.compared)), key=lambda row: (d.low[row, column], d.mean[row, column]))

    def _verdict(self, column: int) -> str:
        d, baseline, row = self.differences, self.compared_with[column], self._strongest(column)
        formula = self.compared[row]
        evidence = (
            f"{self.words.in_words(d.mean[row, column])}, {self._interval(row, column)}, "
            f"{p_text(d.p[row, column])} after correction"
        )
        n_better = int(d.better[:, column].sum())
        if not n_better:
            return f"no formula {self.source} beats {baseline.title}; nearest: `{formula.formula}` ({evidence})"
        verdict = f"`{formula.formula}` beats {baseline.title} ({evidence})"
        # Nothing is said of a time that was not measured well.
        if not (formula.has_rough_latency or baseline.has_rough_latency):
            verdict += f" at {_times(formula.latency / baseline.latency)} its latency"
        return verdict + _so_do(n_better - 1)

    def _interval(self, row: int, column: int) -> str:
        low, high = self.differences.low[row, column], self.differences.high[row, column]
        if not math.isinf(low):
            ends = f"{self.words.number(low)} to {self.words.number(high)}"
            return f"{self.differences.confidence * 100:.3g} % interval {ends}"
        if self.seeds < MIN_SEEDS_FOR_INTERVAL:
            return f"{self.seeds} seeds are too few for an interval"
        return "no interval, for most seeds give the same difference"

    def _reservations(self) -> list[str]:
        """What a reader has to know besides: caveats, and whatever the sentences do not hold for."""
        lines = list(self.caveats)
        for finding in (*self.formulas, *self.baselines):
            if finding.diverged:
                title = finding.title if finding.name else f"`{finding.formula}`"
                lines.append(
                    f"{title} diverged from {finding.diverged} of {self.seeds} seeds; nothing is claimed of it"
                )
        lines += self._too_few_seeds()
        at_an_end = [f.title for f in (*self.compared, *self.compared_with) if f.at_an_end]
        if at_an_end:
            lines.append(
                f"{', '.join(at_an_end)}: best at the lowest or the highest learning rate, even after more were "
                "tried; others may be better"
            )
        lines += self._rough_latencies()
        return lines

    def _too_few_seeds(self) -> list[str]:
        pairs = len(self.compared) * len(self.compared_with)
        if not pairs:
            return [NOTHING_COMPARED]

        # The smallest p-value that flipping signs can give is two patterns of 2**seeds; Holm multiplies it by pairs.
        error_rate = 1 - self.differences.confidence
        if 2 ** (1 - self.seeds) * pairs < error_rate:
            return []
        needed = math.floor(1 + math.log2(pairs / error_rate)) + 1
        return [
            f"{self.seeds} seeds cannot show a difference among {pairs} comparisons, however large it is; "
            f"it takes at least {needed}"
        ]

    def _rough_latencies(self) -> list[str]:
        rough = max((*self.formulas, *self.baselines), key=lambda f: f.latency_high / f.latency_low)
        if not rough.has_rough_latency:
            return []
        return [
            f"latencies are rough, because the machine was busy: that of {rough.title} has quartiles "
            f"{rough.latency_low:.2f} and {rough.latency_high:.2f}; the same command measures them again"
        ]


def p_text(p: float) -> str:
    """``"p = 0.012"``, with fewer decimals where p is large."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} of" if ratio < 1 else f"{ratio:.1f} times"


def _so_do(others: int) -> str:
    if others == 0:
        return ""
    if others == 1:
        return "; so does 1 other"
    return f"; so do {others} others"


def _told_apart(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Those that never diverged, and the others, the least often diverged first."""
    sound = [f for f in findings if not f.diverged]
    return sound, sorted((f for f in findings if f.diverged), key=lambda f: f.diverged)


def _scores(findings: Sequence[Finding], seeds: int) -> Floats:
    return np.array([f.scores for f in findings], dtype=np.float64).reshape(-1, seeds)
