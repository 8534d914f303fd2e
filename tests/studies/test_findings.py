import math
import re

import pytest
from helpers_findings import AT_AN_END, BETWEEN, NATS, baseline, finding, findings_of, noisy, typical

from rlsearch.studies.findings import p_text


def test_a_finding_knows_its_mean_and_spread():
    found = finding("x", [0.1, 0.2, 0.6])
    # The deviations are -0.2, -0.1 and 0.3: variance 0.14 / 2, standard error sqrt(0.07 / 3).
    assert found.mean == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(math.sqrt(0.07 / 3))
    assert found.diverged == 0


def test_a_diverged_training_leaves_no_mean():
    found = finding("x", [0.1, math.nan, math.nan])
    assert found.diverged == 2
    assert math.isnan(found.mean)
    assert math.isnan(found.standard_error)


def test_the_best_supported_comes_first_and_the_diverged_last():
    found = typical()
    assert [f.formula for f in found.formulas] == ["x * atan(x)", "x * x", "exp(x)"]
    assert [f.name for f in found.baselines] == ["gelu", "relu"]
    assert [f.formula for f in found.compared] == ["x * atan(x)", "x * x"]
    assert found.differences.mean.shape == (2, 2)
    for i, formula in enumerate(found.compared):
        for j, other in enumerate(found.compared_with):
            assert found.differences.mean[i, j] == pytest.approx(formula.mean - other.mean)


def test_support_is_against_the_hardest_baseline_and_not_the_mean():
    """A steady function whose lower bound is higher goes before one with a higher mean and a wide interval."""
    base = noisy(0.5, 0)
    steady, wild = finding("steady", base + noisy(0.05, 1, spread=0.002)), finding("wild", noisy(0.57, 2, spread=0.1))
    found = findings_of([wild, steady], [baseline("relu", base)])
    assert wild.mean > steady.mean
    assert [f.formula for f in found.formulas] == ["steady", "wild"]


def test_what_each_formula_beats():
    found = typical()
    assert [b.name for b in found.beaten(0)] == ["gelu", "relu"]
    assert [b.name for b in found.beaten(1)] == ["relu"]


def test_what_each_formula_loses_to():
    base = noisy(0.5, 0)
    found = findings_of([finding("x", base - 0.1)], [baseline("relu", base), baseline("gelu", base - 0.2)])
    assert [b.name for b in found.lost_to(0)] == ["relu"]
    assert [b.name for b in found.beaten(0)] == ["gelu"]


def test_the_verdict_on_the_strongest_baseline_is_one_of_the_verdicts():
    found = typical()
    assert "GELU" in found.verdict_on_strongest
    assert found.verdict_on_strongest in found.verdicts
    nothing = findings_of([finding("x", [math.nan] * 20)], [baseline("relu", noisy(0.4, 1))])
    assert nothing.verdict_on_strongest == "nothing could be compared"


def test_the_front_is_over_formulas_and_baselines():
    found = typical()
    # x * x is faster than all; x * atan(x) is best; GELU is slower and worse; ReLU is slower and worse than x * x.
    assert found.front.tolist() == [True, True, False, False, False]


def test_the_verdict_on_a_baseline_that_is_beaten():
    verdict = next(text for text in typical().verdicts if "GELU" in text)
    assert re.fullmatch(
        r"`x \* atan\(x\)` beats GELU \(\+5\.\d points, 95 % interval [34]\.\d to [56]\.\d, "
        r"p < 0\.001 after correction\) at 0\.90 of its latency",
        verdict,
    )


def test_the_verdict_says_how_many_others_there_are_and_is_named_by_the_best_supported():
    verdict = next(text for text in typical().verdicts if "ReLU" in text)
    assert verdict.startswith("`x * atan(x)` beats ReLU (+15.")
    assert verdict.endswith(" at 1.8 times its latency; so does 1 other")
    three = findings_of([finding(f"f{i}", noisy(0.6 + i / 100, i)) for i in range(3)], [baseline("relu", noisy(0.5))])
    assert three.verdicts == [three.verdicts[0]]
    assert three.verdicts[0].startswith("`f2` beats ReLU ")
    assert three.verdicts[0].endswith("; so do 2 others")


def test_the_clearest_verdict_comes_first():
    assert [re.search("ReLU|GELU", text).group() for text in typical().verdicts[:2]] == ["ReLU", "GELU"]


def test_the_verdict_where_nothing_wins():
    base = noisy(0.5, 0)
    found = findings_of([finding("x * x", base + noisy(-0.02, 1))], [baseline("silu", base)], source="of those given")
    (verdict,) = found.verdicts
    assert verdict.startswith("no formula of those given beats SiLU; nearest: `x * x` (-2.")
    assert verdict.endswith(" after correction)")
    assert findings_of([finding("x", base)], [baseline("silu", base)]).verdicts == [
        "no formula of this run beats SiLU; nearest: `x` (+0.0 points, 95 % interval 0.0 to 0.0, "
        "p = 1.00 after correction)"
    ]


def test_verdicts_are_in_the_unit_of_the_task():
    """Minus cross-entropies: the higher score is the lower loss, and is said to be."""
    base = noisy(-1.5, 0)
    found = findings_of(
        [finding("x * x", base + noisy(0.0123, 1, spread=0.001))],
        [baseline("relu", base), baseline("gelu", base + 0.5)],
        words=NATS,
    )
    beaten, missed = found.verdicts[:2]
    assert re.fullmatch(
        r"`x \* x` beats ReLU \(\+0\.01\d nats lower, 95 % interval 0\.01\d to 0\.01\d, p < 0\.001 after "
        r"correction\) at 1\.0 times its latency",
        beaten,
    )
    assert missed.startswith(
        "no formula of this run beats GELU; nearest: `x * x` (-0.488 nats lower, 95 % interval -0."
    )


def test_what_was_beaten_comes_first_however_wide_the_interval():
    """ReLU is beaten by little; GELU is not decided, though what it might be beaten by is much."""
    base = noisy(0.5, 0)
    score = base + noisy(0.01, 1, spread=0.001)
    found = findings_of([finding("x", score)], [baseline("relu", base), baseline("gelu", score + noisy(0, 2) - 0.001)])
    assert [re.search("ReLU|GELU", text).group() for text in found.verdicts[:2]] == ["ReLU", "GELU"]


def test_what_diverged_gets_no_verdict():
    found = typical()
    assert found.verdicts[-1] == "`exp(x)` diverged from 1 of 20 seeds; nothing is claimed of it"
    diverged = [math.nan] * 20
    found = findings_of([finding("x", noisy(0.5))], [baseline("relu", noisy(0.4, 1)), baseline("gelu", diverged)])
    assert [f.name for f in found.baselines] == ["relu", "gelu"]
    assert not any("GELU" in text for text in found.verdicts[:-1])
    assert found.verdicts[-1] == "GELU diverged from 20 of 20 seeds; nothing is claimed of it"


@pytest.mark.parametrize("which", ["formulas", "baselines"])
def test_nothing_is_left_to_compare(which):
    diverged, fine = [math.nan] * 20, noisy(0.5)
    found = findings_of(
        [finding("x", diverged if which == "formulas" else fine)],
        [baseline("relu", diverged if which == "baselines" else fine)],
    )
    assert found.verdicts[-1] == "nothing could be compared"
    assert len(found.verdicts) == 2
    assert not any("beats" in text for text in found.verdicts)


def test_too_few_seeds_are_named_with_the_number_that_would_do():
    found = findings_of([finding("x", noisy(0.9, 0, 3))], [baseline("relu", noisy(0.1, 1, 3))])
    assert "3 seeds are too few for an interval" in found.verdicts[0]
    # One pair: p is 2 / 2**S, and below 0.05 from S = 6 on.
    assert found.verdicts[1] == (
        "3 seeds cannot show a difference among 1 comparisons, however large it is; it takes at least 6"
    )
    for seeds, says in ((5, True), (6, False)):
        found = findings_of([finding("x", noisy(0.9, 0, seeds))], [baseline("relu", noisy(0.1, 1, seeds))])
        assert any("cannot show" in text for text in found.verdicts) is says
        assert found.differences.better[0, 0] == (not says)


def test_a_rate_at_the_end_of_those_tried_is_reported():
    found = findings_of(
        [finding("x", noisy(0.6), rates=(BETWEEN, AT_AN_END))],
        [baseline("relu", noisy(0.5, 1)), baseline("gelu", noisy(0.5, 2), rates=(AT_AN_END,))],
    )
    assert found.verdicts[-1] == (
        "x, GELU: best at the lowest or the highest learning rate, even after more were tried; others may be better"
    )


def test_latencies_of_a_busy_machine_are_reported():
    found = findings_of([finding("x", noisy(0.6), spread=(0.8, 1.3))], [baseline("relu", noisy(0.5, 1))])
    assert found.verdicts[-1] == (
        "latencies are rough, because the machine was busy: that of x has quartiles 0.80 and 1.30; the same command "
        "measures them again"
    )
    # And no sentence is built on them.
    assert found.verdict_on_strongest.startswith("`x` beats ReLU (")
    assert found.verdict_on_strongest.endswith(" after correction)")


def test_p_values_in_words():
    assert [p_text(p) for p in (0.0002, 0.0014, 0.0502, 0.31, 1.0)] == [
        "p < 0.001", "p = 0.001", "p = 0.050", "p = 0.31", "p = 1.00"
    ]  # fmt: skip
