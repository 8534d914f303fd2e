import itertools

import numpy as np
import pytest

from rlsearch.studies.methods import (
    best_so_far,
    candidates_to_reach,
    estimate,
    interquartile_mean,
    probability_of_improvement,
)


def test_the_best_so_far_rises_and_its_end_is_held():
    assert best_so_far([1.0, 0.0, 3.0, 2.0], 6).tolist() == [1, 1, 3, 3, 3, 3]
    assert best_so_far([1.0, 0.0, 3.0], 2).tolist() == [1, 1]
    with pytest.raises(ValueError, match="at least one value"):
        best_so_far([], 3)


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    assert interquartile_mean(np.array([-100.0, 1.0, 2.0, 900.0])) == 1.5


@pytest.mark.parametrize("runs", [2, 5])
def test_runs_that_agree_have_an_interval_of_no_width(runs):
    found = estimate(np.full((runs, 3), 0.25))
    for part in (found.value, found.low, found.high):
        assert part.tolist() == [0.25] * 3
    found = estimate(np.full(runs, 0.25))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_two_runs_reach_from_one_to_the_other():
    """A resample is one of both runs twice, or each once: its mean is 1, 2 or 3, in 1, 2 and 1 cases of four."""
    found = estimate(np.array([1.0, 3.0]))
    assert (found.value, found.low, found.high) == (2.0, 1.0, 3.0)


def test_the_percentiles_are_those_of_all_resamples():
    """Three runs have 27 equally likely resamples; with nothing cut off three, their means are gone through."""
    runs = np.array([0.0, 1.0, 5.0])
    means = [np.mean(drawn) for drawn in itertools.product(runs, repeat=3)]
    found = estimate(runs)
    assert (found.low, found.high) == tuple(np.quantile(means, [0.025, 0.975], method="inverted_cdf"))


def test_a_curve_is_drawn_as_a_whole_and_its_points_are_estimated_one_by_one():
    curves = np.sort(np.random.default_rng(0).random((10, 40)), axis=1)
    found, alone = estimate(curves), estimate(curves[:, 7])
    assert found.value.shape == found.low.shape == found.high.shape == (40,)
    assert (found.value[7], found.low[7], found.high[7]) == (alone.value, alone.low, alone.high)
    assert (np.diff(found.low) >= 0).all()  # each resample rises, so its percentiles do


def test_an_estimate_depends_on_its_seed_alone():
    runs, others = np.random.default_rng(0).random((2, 10))
    for function, samples in ((estimate, (runs,)), (probability_of_improvement, (runs, others))):
        assert function(*samples) == function(*samples)
        assert function(*samples) != function(*samples, seed=1)


def test_probability_of_improvement():
    """Of the nine pairs of {1, 2, 3} and {0, 2, 2}: 1 wins one; 2 wins one and ties two; 3 wins three: 6 of 9."""
    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0])
    found, other = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert found.value == pytest.approx(6 / 9)
    assert found.value + other.value == pytest.approx(1)
    assert 0 <= found.low < found.value < found.high <= 1
    apart = probability_of_improvement(x + 10, y)
    assert (apart.value, apart.low, apart.high) == (1, 1, 1)
    even = probability_of_improvement(np.full(3, 0.5), np.full(2, 0.5))
    assert (even.value, even.low, even.high) == (0.5, 0.5, 0.5)


def test_candidates_to_reach_counts_from_one():
    assert candidates_to_reach(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.5]]), 1.0) == [2, None]
