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


def test_runs_that_agree_have_an_interval_of_no_width():
    found = estimate(np.full((5, 3), 0.25))
    for part in (found.value, found.low, found.high):
        assert part.tolist() == [0.25] * 3


def test_probability_of_improvement():
    """Of the nine pairs of {1, 2, 3} and {0, 2, 2}: 1 wins one; 2 wins one and ties two; 3 wins three: 6 of 9."""
    x, y = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0])
    found, other = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert found.value == pytest.approx(6 / 9)
    assert found.value + other.value == pytest.approx(1)
    assert 0 <= found.low < found.value < found.high <= 1
    apart = probability_of_improvement(x + 10, y)
    assert (apart.value, apart.low, apart.high) == (1, 1, 1)


def test_candidates_to_reach_counts_from_one():
    assert candidates_to_reach(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.5]]), 1.0) == [2, None]
