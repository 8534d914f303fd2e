"""What a verb of ``rlsearch bench`` finds out, and its form as JSON."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.metadata import version
from typing import Any, Self

import numpy as np

from rlsearch.common.timing import Times

FORMAT_VERSION = 1
"""Of the JSON; raised with every change that a reader would stumble over."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles over rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Times) -> Self:
        """The spread of one number per round."""
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        return cls(median, low, high)


@dataclass(frozen=True, slots=True)
class Limit:
    """What the machine does at most, as measured beside the rest."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Row:
    """What one way of doing a thing came to.

    Attributes:
        section: What is measured; rows of one section make one table.
        case: On what.
        way: How it is done.
        unit: Of ``value``.
        value: Median and quartiles.
        ratio: How many times as fast as ``plain``, by rounds; None for the ordinary way itself, or where there is none.
        plain: The way that ``ratio`` is to.
        share: Of the machine's limit; None where none was computed.
    """

    section: str
    case: str
    way: str
    unit: str
    value: Spread
    ratio: Spread | None = None
    plain: str | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a verb found out.

    Attributes:
        bench: The verb.
        machine: Name of the processor or GPU.
        kernel: The fastest kernel that this machine has; None where no activation was computed by one.
        clock: What was read.
        rounds: How often everything was timed.
        limits: What the machine does at most.
        rows: What was measured.
    """

    bench: str
    machine: str
    kernel: str | None
    clock: str
    rounds: int
    limits: tuple[Limit, ...]
    rows: tuple[Row, ...]

    @property
    def versions(self) -> dict[str, str]:
        """What was measured with: Python, rlsearch, torch, numpy, and numba where it is installed."""
        found = {"python": platform.python_version(), "rlsearch": version("rlsearch")}
        for name in ("torch", "numpy", "numba"):
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:  # numba is optional
                continue
        return found

    def to_json(self) -> str:
        """Writes the report as JSON: flat rows, with nulls where there is nothing, so that pandas reads them.

        ``{"format": 1, "bench", "machine", "kernel", "threads": 1, "clock", "rounds", "versions": {name: version},
        "limits": [{"name", "value", "unit"}], "rows": [{"section", "case", "way", "unit", "median", "low", "high",
        "ratio", "ratio_low", "ratio_high", "plain", "share"}]}``
        """
        tree = {
            "format": FORMAT_VERSION,
            "bench": self.bench,
            "machine": self.machine,
            "kernel": self.kernel,
            "threads": 1,
            "clock": self.clock,
            "rounds": self.rounds,
            "versions": self.versions,
            "limits": [asdict(limit) for limit in self.limits],
            "rows": [_flat(row) for row in self.rows],
        }
        return json.dumps(tree, indent=1, allow_nan=False)


def _flat(row: Row) -> dict[str, Any]:
    ratio = row.ratio
    return {
        "section": row.section,
        "case": row.case,
        "way": row.way,
        "unit": row.unit,
        "median": row.value.median,
        "low": row.value.low,
        "high": row.value.high,
        "ratio": ratio and ratio.median,
        "ratio_low": ratio and ratio.low,
        "ratio_high": ratio and ratio.high,
        "plain": row.plain,
        "share": row.share,
    }


def cost_rows(
    section: str, case: str, unit: str, costs: Mapping[str, Times], plain: str, limits: Times | None = None
) -> list[Row]:
    """A row per way of what costs time, such as nanoseconds per element.

    Args:
        section: What is measured.
        case: On what.
        unit: Of ``costs``.
        costs: By way, one number per round.
        plain: The way that the others are compared with.
        limits: What it would cost at the machine's limit, in the same rounds.
    """
    return _rows(section, case, unit, costs, {way: 1 / each for way, each in costs.items()}, plain, limits)


def rate_rows(
    section: str, case: str, unit: str, rates: Mapping[str, Times], plain: str | None = None, limit: float | None = None
) -> list[Row]:
    """A row per way of what is done in a second; see :func:`cost_rows`.

    Args:
        section: What is measured.
        case: On what.
        unit: Of ``rates``.
        rates: By way, one number per round.
        plain: The way that the others are compared with, if there is one.
        limit: The rate at the machine's limit.
    """
    return _rows(section, case, unit, rates, rates, plain, None if limit is None else np.float64(1 / limit))


def _rows(
    section: str,
    case: str,
    unit: str,
    values: Mapping[str, Times],
    speeds: Mapping[str, Times],
    plain: str | None,
    cost_at_limit: Times | np.float64 | None,
) -> list[Row]:
    """A row per way; ``speeds`` are what is compared, round by round, and ``values`` are what is shown."""
    rows = []
    for way, speed in speeds.items():
        row = Row(section, case, way, unit, Spread.of(values[way]))
        if plain is not None and way != plain:
            row = replace(row, ratio=Spread.of(speed / speeds[plain]), plain=plain)
        if cost_at_limit is not None:
            row = replace(row, share=float(np.median(speed * cost_at_limit)))
        rows.append(row)
    return rows


def value_rows(section: str, case: str, unit: str, values: Mapping[str, Spread]) -> list[Row]:
    """A row per way of what is compared with nothing."""
    return [Row(section, case, way, unit, value) for way, value in values.items()]
