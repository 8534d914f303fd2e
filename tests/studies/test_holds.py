import numpy as np
from helpers_findings import baseline, finding, findings_of, noisy

from rlsearch.studies.holds import where_they_hold


def test_where_formulas_win_and_lose():
    base = noisy(0.5, 0)
    baselines = [baseline("relu", base), baseline("gelu", base + 0.1)]
    better, middling, worse = base + noisy(0.2, 1), base + noisy(0.05, 2), base + noisy(-0.1, 3)

    def of(**scores):
        return findings_of([finding(name, values) for name, values in scores.items()], baselines)

    found = {"a": of(p=better, q=middling, r=worse), "b": of(p=better, q=worse, r=np.full(20, np.nan))}
    assert where_they_hold(found) == [
        "`p` beats every baseline on a, every baseline on b",
        "`q` beats 1 of 2 on a, none on b; loses to 1 of 2 on a, every baseline on b",
        "`r` beats none on a, nothing on b (it diverged there); loses to every baseline on a",
    ]
    found["c"] = of(p=np.full(20, np.nan), q=worse, r=middling)
    assert where_they_hold(found)[:2] == [
        "`p` beats every baseline on a, every baseline on b, nothing on c (it diverged there)",
        "`r` beats none on a, nothing on b (it diverged there), 1 of 2 on c; loses to every baseline on a, 1 of 2 on c",
    ]


def test_where_nothing_is_sure_nothing_is_listed():
    base = noisy(0.5, 0)
    undecided = base + noisy(0, 4)
    found = {"a": findings_of([finding("x", undecided)], [baseline("relu", base)])}
    assert where_they_hold(found) == [
        "no formula is better or worse than any baseline anywhere, as far as the evidence goes"
    ]


def test_where_every_baseline_diverged_nothing_is_won():
    base = noisy(0.5, 0)
    fine = findings_of([finding("x", base + 0.1)], [baseline("relu", base)])
    none = findings_of([finding("x", base)], [baseline("relu", np.full(20, np.nan))])
    assert where_they_hold({"a": fine, "d": none}) == [
        "`x` beats every baseline on a, nothing on d (every baseline diverged there)"
    ]
