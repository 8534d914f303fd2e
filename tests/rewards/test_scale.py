import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED

from rlsearch.rewards.scale import MOST_SPREADS, Scale, combined

GAINS = st.lists(st.floats(-MOST_SPREADS, MOST_SPREADS), min_size=1, max_size=6)
WAYS = ("mean", "worst", "softmin")
SCORES = st.lists(st.floats(-1, 1).map(lambda score: round(score, 3)), min_size=1, max_size=4)


def test_a_scale_by_hand():
    """Means 0.55, 0.75 and 0.45; variances 0.005, 0.0002 and 0."""
    scale = Scale.of((0.5, 0.6), {"relu": (0.5, 0.6), "gelu": (0.74, 0.76), "tanh": (0.45, 0.45)})
    assert scale.reference == pytest.approx(0.55)
    assert scale.spread == pytest.approx(0.30)
    assert scale.noise == pytest.approx(math.sqrt(0.0052 / 3))
    assert scale.gain(0.70) == pytest.approx(0.5)  # half of what separates the best from the worst
    assert scale.gain(0.52) == pytest.approx(-0.1)
    assert scale.gain(0.55) == 0.0


def test_gains_are_cut_on_both_sides():
    scale = Scale(reference=0.5, spread=0.1, noise=0.01)
    assert scale.gain(0.79) == pytest.approx(2.9)
    assert [scale.gain(score) for score in (0.81, 1e9, math.inf)] == [3.0] * 3
    assert [scale.gain(score) for score in (0.19, -1e9, -math.inf)] == [-3.0] * 3


def test_a_spread_is_never_below_the_noise():
    """Means 0.50 and 0.55; both variances are 0.02."""
    scale = Scale.of((0.4, 0.6), {"a": (0.4, 0.6), "b": (0.45, 0.65)})
    assert scale.noise == pytest.approx(math.sqrt(0.02))
    assert scale.spread == scale.noise


def test_the_reference_need_not_be_a_baseline():
    scale = Scale.of((0.9, 0.7), {"a": (0.1, 0.1), "b": (0.3, 0.3)})
    assert (scale.reference, scale.spread) == (pytest.approx(0.8), pytest.approx(0.2))


def test_a_baseline_that_diverged_is_left_out():
    baselines = {"a": (0.1, 0.2), "b": (0.5, 0.5)}
    assert Scale.of((0.3,), {**baselines, "c": ()}) == Scale.of((0.3,), baselines)


def test_from_one_seed_there_is_no_noise():
    assert Scale.of((0.3,), {"a": (0.1,), "b": (0.5,)}) == Scale(0.3, 0.4, 0.0)
    # One seed of two diverged: the other baseline alone says what noise is.
    assert Scale.of((0.3,), {"a": (0.1,), "b": (0.5, 0.7)}).noise == pytest.approx(math.sqrt(0.02))


def test_without_any_spread_nothing_is_gained():
    scale = Scale.of((0.5,), {"a": (0.5,), "b": (0.5,)})
    assert scale.spread == 0.0
    assert [scale.gain(score) for score in (0.0, 0.5, 1.0)] == [0.0] * 3


@settings(FIXED, max_examples=200)
@given(SCORES, st.lists(SCORES, min_size=2, max_size=4), st.floats(0.1, 100), st.floats(-5, 5), st.floats(-1, 1))
def test_the_unit_of_the_scores_does_not_matter(reference, baselines, factor, shift, score):
    """Points, nats and digits give one gain."""

    def changed(scores):
        return [factor * value + shift for value in scores]

    named = {str(i): scores for i, scores in enumerate(baselines)}
    scale = Scale.of(reference, named)
    other = Scale.of(changed(reference), {name: changed(scores) for name, scores in named.items()})
    if scale.spread > 1e-3:
        assert other.gain(*changed([score])) == pytest.approx(scale.gain(score), abs=1e-6)
    assert scale.gain(score) <= scale.gain(score + 0.01)


def test_gains_combined_by_hand():
    """The softmin of 1 and -1 is -log((exp(-1) + exp(1)) / 2) = -log(cosh 1) = -0.4338."""
    gains = (1.0, -1.0)
    assert combined(gains, "mean") == 0.0
    assert combined(gains, "worst") == -1.0
    assert combined(gains, "softmin") == pytest.approx(-math.log(math.cosh(1)))
    assert combined(gains, "softmin") == pytest.approx(-0.4338, abs=5e-5)


@pytest.mark.parametrize("how", WAYS)
def test_one_gain_alone_is_itself(how):
    assert combined([0.3], how) == pytest.approx(0.3, abs=1e-15)
    assert combined([-2.0] * 4, how) == pytest.approx(-2.0, abs=1e-15)


@settings(FIXED, max_examples=300)
@given(GAINS)
def test_the_softmin_lies_between_the_worst_and_the_mean(gains):
    worst, soft, mean = (combined(gains, how) for how in ("worst", "softmin", "mean"))
    assert worst - 1e-12 <= soft <= mean + 1e-12


@settings(FIXED, max_examples=300)
@given(GAINS, st.integers(0, 5), st.floats(0, 2), st.randoms(use_true_random=False))
def test_a_higher_gain_is_never_worse_and_the_order_does_not_matter(gains, place, more, random):
    higher = list(gains)
    higher[place % len(gains)] += more
    mixed = random.sample(gains, len(gains))
    for how in WAYS:
        assert combined(higher, how) >= combined(gains, how) - 1e-12
        assert combined(mixed, how) == pytest.approx(combined(gains, how), abs=1e-12)
