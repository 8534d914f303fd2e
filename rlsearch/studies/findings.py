"""What was found of each function, put together: ranked, compared with every baseline, and said in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlsearch.studies.paired import Bools, Differences, Floats, paired_differences, pareto_front

_STEADY = 1.5  # quartiles of a latency lie nearer together than this on a machine that does nothing else


@dataclass(frozen=True, eq=False, slots=True)
class Finding:
    """One function, trained from fresh seeds on fresh data.

    Attributes:
        name: A baseline's name, such as ``"gelu"``; else empty.
        title: How a text calls it: ``"GELU"``, or the formula.
        formula: The function.
        scores: Accuracy on the test part per seed, mean over proxies; NaN where a training diverged.
        searched: What the search saw of it; None if it did not see it.
        learning_rates: Chosen, one per proxy.
        at_an_end: Whether one of them is the lowest or the highest that was tried, so that another might suit better.
        latency: Measured, as a ratio to ReLU.
        latency_low: First quartile of the measurement.
        latency_high: Third quartile.
    """

    name: str
    title: str
    formula: str
    scores: Floats
    searched: float | None
    learning_rates: tuple[float, ...]
    at_an_end: bool
    latency: float
    latency_low: float
    latency_high: float

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
        formulas: The best-supported first: sorted by how sure it is that they beat the baseline hardest for them.
            Those that diverged come last.
        baselines: Sorted by score, best first; those that diverged last.
        differences: Of every formula and every baseline that did not diverge, in these orders.
        seeds: Number of seeds.
        latency_label: What the latencies were measured on.
        source: Where the formulas come from, as a text goes on after "no formula ": ``"of this run"``.
        caveats: What else a reader has to know.
    """

    formulas: tuple[Finding, ...]
    baselines: tuple[Finding, ...]
    differences: Differences
    seeds: int
    latency_label: str
    source: str
    caveats: tuple[str, ...] = ()

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
    ) -> "Findings":
        """Compares ``formulas`` with ``baselines``, all of them trained from the same seeds."""
        baselines = sorted(baselines, key=lambda f: (f.diverged, -f.mean if not f.diverged else 0.0))
        sound = [f for f in formulas if not f.diverged]
        seeds = len(baselines[0].scores)
        measured = _compared(sound, baselines, seeds, confidence)
        order = sorted(range(len(sound)), key=lambda i: _support(measured, i, sound[i].mean), reverse=True)
        differences = measured.of_functions(order)
        ranked = [sound[i] for i in order] + sorted((f for f in formulas if f.diverged), key=lambda f: f.diverged)
        return cls(tuple(ranked), tuple(baselines), differences, seeds, latency_label, source, caveats)

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
        """Returns the baselines that ``compared[row]`` beats."""
        return [b for b, better in zip(self.compared_with, self.differences.better[row], strict=True) if better]

    @property
    def verdicts(self) -> list[str]:
        """One sentence per baseline, the best-supported formula first; and what the sentences do not hold for."""
        sentences = [self._verdict(column) for column in range(len(self.compared_with))] if self.compared else []
        named = sorted(sentences, key=lambda sentence: -sentence[0])
        return [text for _, text in named] + self._reservations()

    def _verdict(self, column: int) -> tuple[float, str]:
        """Returns how far the evidence goes, and the sentence."""
        d, baseline = self.differences, self.compared_with[column]
        better = d.better[:, column]
        rows = np.flatnonzero(better).tolist() if better.any() else range(len(self.compared))
        row = max(rows, key=lambda i: (d.low[i, column], d.mean[i, column]))
        found = self.compared[row]
        evidence = (
            f"{points(d.mean[row, column], sign=True)} points, {self._interval(row, column)}, "
            f"{p_text(d.p[row, column])} after correction"
        )
        support = float(d.low[row, column])
        if not better.any():
            return support, f"no formula {self.source} beats {baseline.title}; nearest: `{found.formula}` ({evidence})"
        others = int(better.sum()) - 1
        also = f"; so do{'es' * (others == 1)} {others} other{'s' * (others > 1)}" if others else ""
        return support + 1e3, (
            f"`{found.formula}` beats {baseline.title} ({evidence}) at "
            f"{_times(found.latency / baseline.latency)} its latency{also}"
        )

    def _interval(self, row: int, column: int) -> str:
        low, high = self.differences.low[row, column], self.differences.high[row, column]
        if math.isinf(low):
            few = f"{self.seeds} seeds are too few for an interval"
            return few if self.seeds < 5 else "no interval, for most seeds give the same difference"
        return f"{self.differences.confidence * 100:.3g} % interval {points(low)} to {points(high)}"

    def _reservations(self) -> list[str]:
        lines = list(self.caveats)
        for finding in (*self.formulas, *self.baselines):
            if finding.diverged:
                title = finding.title if finding.name else f"`{finding.formula}`"
                lines.append(f"{title} diverged from {finding.diverged} of {self.seeds} seeds; it gets no verdict")
        pairs = len(self.compared) * len(self.compared_with)
        if not pairs:
            lines.append("nothing could be compared")
        elif 2 ** (1 - self.seeds) * pairs >= 1 - self.differences.confidence:
            needed = math.floor(1 + math.log2(pairs / (1 - self.differences.confidence))) + 1
            lines.append(
                f"{self.seeds} seeds cannot show a difference among {pairs} comparisons, however large it is; "
                f"it takes at least {needed}"
            )
        at_an_end = [f.title for f in (*self.compared, *self.compared_with) if f.at_an_end]
        if at_an_end:
            lines.append(
                f"{', '.join(at_an_end)}: best at the lowest or the highest learning rate tried; others may be better"
            )
        rough = max((*self.formulas, *self.baselines), key=lambda f: f.latency_high / f.latency_low)
        if rough.latency_high / rough.latency_low > _STEADY:
            lines.append(
                f"latencies are rough, for the machine was busy: that of {rough.title} has quartiles "
                f"{rough.latency_low:.2f} and {rough.latency_high:.2f}; remove latencies.json to have them measured "
                "again"
            )
        return lines


def where_they_hold(findings: Mapping[str, Findings]) -> list[str]:
    """Returns one sentence per formula: on which configs it beats how many baselines; the most widely good first.

    Args:
        findings: Of the same formulas, by the config's name.
    """
    beaten: dict[str, dict[str, int]] = {}
    for name, found in findings.items():
        for row, formula in enumerate(found.compared):
            beaten.setdefault(formula.formula, {})[name] = len(found.beaten(row))
    sentences = []
    for text, counts in sorted(beaten.items(), key=lambda item: -sum(item[1].values())):
        if any(counts.values()):
            parts = [_how_many(counts.get(name), len(found.compared_with), name) for name, found in findings.items()]
            sentences.append(f"`{text}` beats {', '.join(parts)}")
    return sentences or ["no formula beats any baseline on any config"]


def _how_many(count: int | None, of: int, name: str) -> str:
    if count is None:
        return f"nothing on {name} (it diverged there)"
    if not of:
        return f"nothing on {name} (every baseline diverged there)"
    amount = {0: "none", of: "every baseline"}.get(count, f"{count} of {of}")
    return f"{amount} on {name}"


def points(difference: float, *, sign: bool = False) -> str:
    """Returns a difference of accuracies in percentage points; with a second decimal where one would be none."""
    decimals = 1 if abs(100 * difference) >= 0.1 else 2
    rounded = round(100 * difference, decimals) + 0.0  # no minus before a zero
    return format(rounded, f"{'+' if sign else ''}.{decimals if rounded else 1}f")


def p_text(p: float) -> str:
    """Returns ``"p = 0.012"``."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f} of" if ratio < 1 else f"{ratio:.1f} times"


def _compared(formulas: Sequence[Finding], baselines: Sequence[Finding], seeds: int, confidence: float) -> Differences:
    def scores(findings: Sequence[Finding]) -> Floats:
        return np.array([f.scores for f in findings], dtype=np.float64).reshape(-1, seeds)

    return paired_differences(scores(formulas), scores([b for b in baselines if not b.diverged]), confidence=confidence)


def _support(differences: Differences, row: int, mean: float) -> tuple[float, float]:
    """Sorts by the lower bound against the hardest baseline; where there is no bound, by score."""
    return float(differences.low[row].min(initial=math.inf)), mean
