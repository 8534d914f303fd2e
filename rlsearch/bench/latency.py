"""Latency: what known functions cost as each kernel sees it, and how far kernels and the cost model agree."""

from collections.abc import Mapping, Sequence

from rlsearch.bench.formulas import KNOWN, random_formulas
from rlsearch.bench.kernels import available_kernels
from rlsearch.bench.report import Report, Row, Spread, value_rows
from rlsearch.common.progress import Events
from rlsearch.formula import Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.kernels.latency import Latency, calibrate, machine, measure, timer_of
from rlsearch.search.surrogate import rank_correlation

UNIT = "ratio to ReLU"


def bench_latency(
    device: str,
    formulas: Mapping[str, Formula] = KNOWN,
    ranked: int = 40,
    rounds: int = 15,
    events: Events = Events(),
) -> Report:
    """Measures latency as a ratio to ReLU by the fastest kernel, the torch kernel and plain autograd.

    Args:
        device: Where.
        formulas: What is measured, by the name to show.
        ranked: Random formulas over which rank correlations are taken.
        rounds: How often everything is timed.
        events: Told of progress.
    """
    kernels = available_kernels(device)
    chosen = list(formulas.values())
    drawn = random_formulas(ranked, LanguageSettings(), fit=True)
    latencies: dict[str, dict[str, Spread]] = {text: {} for text in formulas}
    estimates: dict[str, dict[str, Spread]] = {text: {} for text in formulas}
    correlations: dict[str, dict[str, float]] = {}
    measured: dict[str, list[float]] = {}
    for done, (name, kernel) in enumerate(kernels.items(), start=1):
        costs = calibrate(kernel, device)
        for text, latency in zip(formulas, measure(chosen, kernel, device, rounds=rounds), strict=True):
            latencies[text][name] = Spread(latency.ratio, latency.low, latency.high)
        for text, formula in formulas.items():
            estimates[text][name] = _exactly(costs.ratio(formula))

        # How well the cost model, and a second measurement, keep the order of random formulas.
        measured[name] = _ratios(measure(drawn, kernel, device, rounds=rounds))
        again = _ratios(measure(drawn, kernel, device, rounds=rounds))
        estimated = [costs.ratio(formula) for formula in drawn]
        correlations[name] = {
            "estimate and measurement": rank_correlation(estimated, measured[name]),
            "two measurements": rank_correlation(measured[name], again),
        }
        events.on_progress("kernels", done, len(kernels))
    rows: list[Row] = []
    for section, found in (("latency", latencies), ("cost model", estimates)):
        for text, each in found.items():
            rows += value_rows(section, text, UNIT, each)
    rows += _agreement(correlations, measured, ranked)
    clock = timer_of(device).name
    return Report("latency", machine(device), next(iter(kernels)), clock, rounds, (), tuple(rows))


def _ratios(latencies: Sequence[Latency]) -> list[float]:
    return [latency.ratio for latency in latencies]


def _agreement(
    correlations: Mapping[str, Mapping[str, float]], measured: Mapping[str, list[float]], count: int
) -> list[Row]:
    """Rank correlations within each kernel, and of each kernel with each."""
    section, unit = f"order of {count} random formulas", "Spearman's rank correlation"
    rows = []
    for case in next(iter(correlations.values())):
        rows += value_rows(section, case, unit, {name: _exactly(own[case]) for name, own in correlations.items()})
    for name, ratios in measured.items():
        each = {other: _exactly(rank_correlation(ratios, theirs)) for other, theirs in measured.items()}
        rows += value_rows(section, f"with the {name} measurement", unit, each)
    return rows


def _exactly(value: float) -> Spread:
    return Spread(value, value, value)
