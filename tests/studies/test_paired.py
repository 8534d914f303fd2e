import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlsearch.studies.paired import holm, paired_differences, pareto_front, sign_flip_p, simultaneous_intervals

p_values = arrays(float, st.integers(1, 30), elements=st.floats(0, 1))


def rows(*values):
    return np.array(values, dtype=float)


def test_the_mean_difference_is_function_minus_baseline_seed_by_seed():
    scores = rows([0.5, 0.6, 0.7], [0.5, 0.5, 0.5])
    baselines = rows([0.4, 0.5, 0.9], [0.5, 0.5, 0.5])
    d = paired_differences(scores, baselines)
    # 0.1 + 0.1 - 0.2, 0 + 0.1 + 0.2; 0.1 + 0 - 0.4, 0; each over three.
    np.testing.assert_allclose(d.mean, [[0.0, 0.1], [-0.1, 0.0]], atol=1e-12)
    assert d.mean.shape == d.low.shape == d.high.shape == d.p.shape == (2, 2)
    assert d.confidence == 0.95


def test_the_exact_p_value_is_that_of_going_through_all_signs_by_hand():
    differences = rows([0.3, 0.1, -0.05, 0.2, 0.15])
    observed = differences.mean()
    means = [np.mean(np.array(signs) * differences[0]) for signs in itertools.product([1, -1], repeat=5)]
    # By hand: all five plus, the third minus (observed), is beaten or met by {all plus, observed} of 32 patterns.
    at_least = sum(mean >= observed - 1e-12 for mean in means)
    assert at_least == 2
    assert sign_flip_p(differences) == pytest.approx(2 * 2 / 32)


def test_the_smallest_exact_p_value_is_two_in_two_to_the_seeds():
    for seeds in (2, 5, 10):
        assert sign_flip_p(rows(np.linspace(1, 2, seeds))) == pytest.approx(2 / 2**seeds)


def test_a_random_permutation_test_counts_what_was_observed():
    differences = rows(np.linspace(1, 2, 20))  # no random signs reach it: 2 (0 + 1) / (99 + 1)
    assert sign_flip_p(differences, permutations=99) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        # Sorted 0.01, 0.02, 0.04; times 3, 2 and 1.
        ([0.04, 0.01, 0.02], [0.04, 0.03, 0.04]),
        # Sorted 0.01, 0.02, 0.021; times 3, 2 and 1 is 0.03, 0.04 and 0.021, which may not fall below 0.04.
        ([0.021, 0.02, 0.01], [0.04, 0.04, 0.03]),
        # Two equal ones: 4 * 0.01, then 3 * 0.01, which may not fall below it; 2 * 0.3; 1 * 0.9.
        ([0.01, 0.3, 0.01, 0.9], [0.04, 0.6, 0.04, 0.9]),
        # 2 * 0.7 is cut at 1, and nothing falls below it.
        ([0.8, 0.7], [1.0, 1.0]),
        ([0.3], [0.3]),
        ([], []),
    ],
)
def test_holm_by_hand(p, corrected):
    np.testing.assert_allclose(holm(np.array(p, dtype=float)), corrected)


def test_holm_as_statsmodels_has_it():
    """Uniform numbers from numpy's generator of seed 0, corrected by statsmodels 0.15."""
    p = np.array([0.6369616873214543, 0.2697867137638703, 0.04097352393619469, 0.016527635528529094])
    np.testing.assert_allclose(
        holm(p), [0.6369616873214543, 0.5395734275277406, 0.12292057180858407, 0.06611054211411638]
    )


@given(p_values)
def test_holm_keeps_the_order_and_makes_nothing_more_significant(p):
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    np.testing.assert_allclose(corrected.min(), min(len(p) * p.min(), 1))


@given(p_values, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_the_tests(p, random):
    shuffled = list(range(len(p)))
    random.shuffle(shuffled)
    np.testing.assert_array_equal(holm(p[shuffled]), holm(p)[shuffled])


def test_comparing_corrects_over_all_pairs():
    random = np.random.default_rng(1)
    scores, baselines = random.normal(0.6, 0.01, (3, 8)), random.normal(0.59, 0.01, (2, 8))
    pairs = (scores[:, None] - baselines).reshape(6, 8)
    alone = np.array([sign_flip_p(pair[None])[0] for pair in pairs])
    np.testing.assert_allclose(paired_differences(scores, baselines).p.ravel(), holm(alone))
    np.testing.assert_allclose(paired_differences(scores, baselines).p.min(), min(6 * alone.min(), 1))


def test_one_pair_has_the_bootstrap_t_interval():
    differences = rows([0.1, 0.4, 0.2, 0.5, 0.3, 0.6, 0.2])
    low, high = simultaneous_intervals(differences, 0.9, 4000, seed=3)
    draws = np.random.default_rng(3).integers(0, 7, (4000, 7))
    mean, error = differences.mean(), differences.std(ddof=1) / math.sqrt(7)
    drawn = differences[0][draws]
    with np.errstate(divide="ignore"):
        t = np.abs(drawn.mean(axis=1) - mean) / (drawn.std(axis=1, ddof=1) / math.sqrt(7))
    half = np.sort(t)[math.ceil(0.9 * 4001) - 1] * error
    assert (low[0], high[0]) == (pytest.approx(mean - half), pytest.approx(mean + half))


def test_more_pairs_make_every_interval_wider():
    random = np.random.default_rng(0)
    differences = random.normal(0, 1, (40, 20))
    one = simultaneous_intervals(differences[:1])
    all_of_them = simultaneous_intervals(differences)
    assert all_of_them[1][0] - all_of_them[0][0] > 1.3 * (one[1][0] - one[0][0])


@pytest.mark.parametrize(("seeds", "n_rows"), [(20, 15), (10, 6)])
def test_the_intervals_hold_all_at_once_as_often_as_they_say(seeds, n_rows):
    """400 families of correlated rows whose true mean is 0: 95 % hold, give or take 3 binomial deviations of 1.1 %.

    With few seeds the bootstrap-t is wide rather than wrong, so there is no upper limit.
    """
    held = 0
    for family in range(400):
        random = np.random.default_rng(family)
        differences = random.standard_normal((n_rows, seeds)) + random.standard_normal(seeds)
        low, high = simultaneous_intervals(differences, 0.95, 1000, seed=family)
        held += bool(((low <= 0) & (high >= 0)).all())
    assert held / 400 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)
    assert held < 400


def test_intervals_of_separate_pairs_would_not_hold_all_at_once():
    """What the simultaneous intervals are for: 15 separate ones of 95 % fail together in far more families."""
    held = 0
    for family in range(200):
        differences = np.random.default_rng(family).standard_normal((15, 20))
        ends = [simultaneous_intervals(row[None], 0.95, 400, seed=family) for row in differences]
        held += all(low[0] <= 0 <= high[0] for low, high in ends)
    assert held / 200 < 0.8


def test_a_true_null_is_rejected_in_at_most_one_family_of_twenty():
    """With 400 families, at most 5 % and 3 binomial deviations of 1.1 %."""
    random = np.random.default_rng(0)
    families = random.standard_normal((400, 6, 10)) + random.standard_normal((400, 1, 10))
    p = sign_flip_p(families.reshape(-1, 10)).reshape(400, 6)
    wrong = sum(holm(family).min() < 0.05 for family in p)
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.95 * 0.05 / 400)


def test_a_function_that_equals_a_baseline_differs_by_nothing():
    scores = np.random.default_rng(0).random((2, 6))
    d = paired_differences(scores, scores[:1])
    assert (d.mean[0, 0], d.low[0, 0], d.high[0, 0], d.p[0, 0]) == (0.0, 0.0, 0.0, 1.0)
    assert not d.better[0, 0]
    assert not d.worse[0, 0]
    assert d.low[1, 0] < d.mean[1, 0] < d.high[1, 0]


def test_nothing_but_equal_functions():
    scores = np.full((1, 5), 0.25)
    d = paired_differences(scores, scores)
    assert (d.mean, d.low, d.high, d.p) == (0.0, 0.0, 0.0, 1.0)


def test_equal_differences_have_no_width_and_the_test_decides():
    scores = rows([0.3] * 6, [0.3, 0.31, 0.32, 0.33, 0.34, 0.35])
    d = paired_differences(scores, rows([0.1] * 6))
    assert d.low[0, 0] == pytest.approx(0.2)
    assert d.high[0, 0] == pytest.approx(0.2)
    assert d.p[0, 0] == pytest.approx(2 * 2 / 64)  # Holm's factor of two
    few = paired_differences(scores[:1, :4], rows([0.1] * 4))
    assert few.low[0, 0] > 0
    assert not few.better[0, 0]  # p is 2 / 16


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_too_few_seeds_give_no_interval_and_no_winner(seeds):
    d = paired_differences(np.random.default_rng(0).random((2, seeds)) + 5, np.random.default_rng(1).random((1, seeds)))
    assert np.isneginf(d.low).all()
    assert np.isposinf(d.high).all()
    assert not d.better.any()


@pytest.mark.parametrize("equal", [15, 17, 19])
def test_a_row_of_which_most_differences_are_equal_leaves_the_others_as_they_are(equal):
    """Of 20 draws, 0.85 ** 20 = 4 % miss all three seeds that differ; with 5 differing it is 0.3 %, and bearable."""
    healthy = 0.02 + 0.005 * np.random.default_rng(0).standard_normal((10, 20))
    constant = rows([0.0] * equal + [1e-4 * i for i in range(1, 21 - equal)])
    alone, together = simultaneous_intervals(healthy), simultaneous_intervals(np.concatenate([healthy, constant]))
    if equal > 15:
        np.testing.assert_array_equal(alone[0], together[0][:10])
        np.testing.assert_array_equal(alone[1], together[1][:10])
    assert np.isfinite(together[0][:10]).all()
    assert np.isinf(together[0][10]) == np.isinf(together[1][10]) == (equal > 15)


def test_better_and_worse_need_interval_and_test():
    random = np.random.default_rng(0)
    baseline = random.normal(0.5, 0.01, (1, 20))
    scores = baseline + random.normal(0, 0.005, (3, 20)) + rows([0.05], [0.0], [-0.05])
    d = paired_differences(scores, baseline)
    assert d.better.ravel().tolist() == [True, False, False]
    assert d.worse.ravel().tolist() == [False, False, True]
    assert not (d.better & (d.p >= 0.05)).any()


def test_no_functions_or_no_baselines_compare_to_nothing():
    scores = np.random.default_rng(0).random((3, 5))
    assert paired_differences(scores[:0], scores).mean.shape == (0, 3)
    assert paired_differences(scores, scores[:0]).p.shape == (3, 0)


def test_a_comparison_depends_on_its_seed_alone():
    random = np.random.default_rng(5)
    scores, baselines = random.random((3, 18)), random.random((2, 18))
    first, again, other = (paired_differences(scores, baselines, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.low, again.low)
    np.testing.assert_array_equal(first.p, again.p)
    assert (first.low != other.low).any()


def test_the_pareto_front_by_hand():
    latency = rows(1.0, 2.0, 2.0, 3.0, 0.5, 1.0)
    score = rows(0.5, 0.7, 0.6, 0.7, math.nan, 0.5)
    # The second dominates the third and the fourth; the equal first and last dominate each other not at all.
    assert pareto_front(latency, score).tolist() == [True, True, False, False, False, True]
