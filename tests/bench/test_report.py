import json
from importlib import metadata

import numpy as np
import pytest

from rlsearch import __version__
from rlsearch.bench.report import Limit, Report, Row, Spread, cost_rows, rate_rows, value_rows

COSTS = {"fast": np.array([1.0, 2.0, 4.0]), "plain": np.array([3.0, 4.0, 4.0])}


def test_quartiles():
    assert Spread.of(np.array([5.0, 1.0, 2.0, 3.0, 4.0])) == Spread(3.0, 2.0, 4.0)
    assert Spread.of(np.array([7.0])) == Spread(7.0, 7.0, 7.0)


def test_a_cost_that_is_lower_is_so_many_times_as_fast():
    fast, plain = cost_rows("s", "c", "ns", COSTS, "plain", limits=np.array([0.5, 0.5, 1.0]))
    assert fast.value == Spread(2.0, 1.5, 3.0)
    assert fast.ratio == Spread(2.0, 1.5, 2.5)  # of 3, 2 and 1: round by round, not of the medians
    assert (fast.plain, fast.share) == ("plain", 0.25)  # of 1/2, 1/4 and 1/4
    assert (plain.ratio, plain.plain, plain.share) == (None, None, pytest.approx(1 / 6))  # of 1/6, 1/8 and 1/4
    assert (fast.section, fast.case, fast.way, fast.unit) == ("s", "c", "fast", "ns")


def test_a_rate_that_is_higher_is_so_many_times_as_fast():
    rates = {way: 1 / costs for way, costs in COSTS.items()}
    fast, plain = rate_rows("s", "c", "/s", rates, "plain", limit=2.0)
    assert fast.ratio == Spread(2.0, 1.5, 2.5)
    assert fast.value == Spread(0.5, 0.375, 0.75)
    assert (fast.share, plain.share) == (0.25, 0.125)


def test_without_a_plain_way_or_a_limit_nothing_is_compared():
    (row,) = rate_rows("s", "c", "/s", {"only": COSTS["fast"]})
    assert (row.ratio, row.plain, row.share) == (None, None, None)
    (row,) = value_rows("s", "c", "%", {"only": Spread(1.0, 1.0, 1.0)})
    assert (row.ratio, row.plain, row.share) == (None, None, None)


def report(**more):
    rows = (
        Row("speed", "relu(x)", "fast", "ns", Spread(2.0, 1.5, 3.0), Spread(2.0, 1.5, 2.5), "plain", 0.25),
        Row("speed", "relu(x)", "plain", "ns", Spread(4.0, 3.5, 4.0)),
    )
    fields = {"kernel": "numba", "limits": (Limit("copies", 24.5, "GB/s"),), "rows": rows} | more
    return Report("kernels", "cpu (X)", clock="process time", rounds=3, **fields)


def test_json_reads_back():
    read = json.loads(report().to_json())
    assert read.pop("versions") == report().versions
    assert read == {
        "format": 1,
        "bench": "kernels",
        "machine": "cpu (X)",
        "kernel": "numba",
        "threads": 1,
        "clock": "process time",
        "rounds": 3,
        "limits": [{"name": "copies", "value": 24.5, "unit": "GB/s"}],
        "rows": [
            {
                "section": "speed", "case": "relu(x)", "way": "fast", "unit": "ns", "median": 2.0, "low": 1.5,
                "high": 3.0, "ratio": 2.0, "ratio_low": 1.5, "ratio_high": 2.5, "plain": "plain", "share": 0.25,
            },
            {
                "section": "speed", "case": "relu(x)", "way": "plain", "unit": "ns", "median": 4.0, "low": 3.5,
                "high": 4.0, "ratio": None, "ratio_low": None, "ratio_high": None, "plain": None, "share": None,
            },
        ],
    }  # fmt: skip
    assert json.loads(report(kernel=None).to_json())["kernel"] is None


def test_versions(monkeypatch):
    assert report().versions["rlsearch"] == __version__
    assert report().versions["torch"] == metadata.version("torch")
    version = metadata.version

    def without_numba(name):
        if name == "numba":
            raise metadata.PackageNotFoundError
        return version(name)

    monkeypatch.setattr(metadata, "version", without_numba)
    assert list(report().versions) == ["python", "rlsearch", "torch", "numpy"]
