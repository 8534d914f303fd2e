import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from strategies import FIXED

from rlsearch.common.ranks import rank_correlations


def columns(*values):
    return np.array(values, dtype=float).T


def test_correlations_by_hand():
    """Ranks 1 2 3 4 and 2 1 4 3 have a correlation of 1 - 6 * (4 * 1) / (4 * 15) = 0.6."""
    found = rank_correlations(columns([0.1, 0.2, 10, 11], [5, 4, 7, 6], [-1, -2, -3, -4]))
    assert found == pytest.approx(np.array([[1, 0.6, -1], [0.6, 1, -0.6], [-1, -0.6, 1]]))


def test_equal_numbers_have_their_middle_rank():
    """Ranks 1 2.5 2.5 4 and 1 2 3 4: the covariance is 1.5 of variances 1.5 and 5 / 3, so 3 / sqrt(10)."""
    found = rank_correlations(columns([0, 3, 3, 9], [1, 2, 3, 4]))
    assert found[0, 1] == pytest.approx(3 / math.sqrt(10))


def test_infinities_are_the_smallest_and_the_largest():
    found = rank_correlations(columns([-math.inf, -math.inf, 0, math.inf], [1, 1, 2, 3]))
    assert found[0, 1] == pytest.approx(1)


def test_what_is_constant_has_no_order():
    found = rank_correlations(columns([1, 2, 3], [5, 5, 5]))
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[[0, 1, 1], [1, 0, 1]]).all()
    assert rank_correlations(columns([1, 2, 3])).shape == (1, 1)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_have_no_order(rows):
    assert np.isnan(rank_correlations(np.zeros((rows, 2)))).all()


@settings(FIXED, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1)), min_size=3, max_size=20))
def test_equals_scipy(pairs):
    values = np.array(pairs, dtype=float)
    if len(set(values[:, 0])) > 1 and len(set(values[:, 1])) > 1:
        assert rank_correlations(values)[0, 1] == pytest.approx(stats.spearmanr(values).statistic)
