import math

import numpy as np
import pytest
from helpers import DIGITS
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rlsearch import Formula
from rlsearch.errors import RewardError
from rlsearch.rewards.scale import Scale, combined
from rlsearch.rewards.settings import RewardSettings
from rlsearch.studies.gains import Gains, in_spreads

NAN = math.nan
FORMULAS = [Formula.parse(text) for text in ("x * x", "relu(x)", "gelu(x)", "tanh(x)")]


def reward(**more):
    """Two proxies, and gains in the spread of three baselines."""
    proxies = [DIGITS, DIGITS | {"widths": [12]}]
    return RewardSettings.check({"proxies": proxies, "baselines": ["relu", "gelu", "tanh"], **more})


# [functions, proxies, seeds]. On the first proxy the baselines' means are 0.5, 0.6 and 0.4: a spread of 0.2, whatever
# the seeds have in common. On the second they are 10, 14 and 12: a spread of 4.
SCORES = np.array(
    [
        [[0.55, 0.75], [20.0, 30.0]],
        [[0.40, 0.60], [9.0, 11.0]],
        [[0.50, 0.70], [13.0, 15.0]],
        [[0.30, 0.50], [10.0, 14.0]],
    ]
)


def test_gains_are_over_the_reference_of_the_same_seed_in_spreads():
    gains = Gains.of(SCORES, FORMULAS, reward())
    np.testing.assert_allclose(gains.spreads, [0.2, 4.0])
    # 0.15 of 0.2; 11 and 19 of 4, which are cut at 3.
    np.testing.assert_allclose(gains.of_proxies[0], [[0.75, 0.75], [2.75, 3.0]])
    np.testing.assert_allclose(gains.of_proxies[1], 0)
    np.testing.assert_allclose(gains.of_proxies[2], [[0.5, 0.5], [1.0, 1.0]])
    np.testing.assert_allclose(gains.of_proxies[3], [[-0.5, -0.5], [0.25, 0.75]])
    np.testing.assert_allclose(gains.combined[0], [1.75, 1.875])


def test_noise_is_that_of_the_differences_to_the_reference():
    # GELU's differences do not vary, Tanh's are 1 and 3 on the second proxy: a variance of 2, and over both of 1.
    np.testing.assert_allclose(Gains.of(SCORES, FORMULAS, reward()).noise, [0, 1], atol=1e-12)
    assert np.isnan(Gains.of(SCORES[:, :, :1], FORMULAS, reward()).noise).all()


@pytest.mark.parametrize("how", ["mean", "worst", "softmin"])
def test_gains_are_combined_as_the_search_does(how):
    gains = Gains.of(SCORES, FORMULAS, reward(combine=how))
    for i, j in np.ndindex(4, 2):
        assert gains.combined[i, j] == combined(gains.of_proxies[i, :, j].tolist(), how)


def test_without_differences_between_seeds_the_unit_is_the_searchs_own():
    scores = SCORES[:, :, :1]
    gains = Gains.of(scores, FORMULAS, reward())
    for proxy in range(2):
        by_name = {name: [scores[i, proxy, 0]] for i, name in enumerate(("relu", "gelu", "tanh"), start=1)}
        scale = Scale.of(by_name["relu"], by_name)
        assert gains.spreads[proxy] == pytest.approx(scale.spread)
        for i in range(4):
            assert gains.of_proxies[i, proxy, 0] == pytest.approx(scale.gain(scores[i, proxy, 0]))


def test_what_diverges_has_no_gain_and_leaves_the_others_theirs():
    scores = SCORES.copy()
    scores[0, 1, 0] = NAN
    for how in ("mean", "worst", "softmin"):
        gains = Gains.of(scores, FORMULAS, reward(combine=how))
        assert np.isnan(gains.of_proxies[0]).tolist() == [[False, False], [True, False]]
        assert np.isnan(gains.combined).tolist() == [[True, False], *[[False, False]] * 3]
        np.testing.assert_array_equal(gains.spreads, Gains.of(SCORES, FORMULAS, reward()).spreads)


def test_a_baseline_that_diverges_is_no_part_of_the_spread():
    scores = SCORES.copy()
    scores[2, 0, 1] = NAN
    gains = Gains.of(scores, FORMULAS, reward())
    # ReLU and Tanh are left on the first proxy.
    np.testing.assert_allclose(gains.spreads, [0.1, 4.0])
    np.testing.assert_allclose(gains.noise, [0, 1], atol=1e-12)
    scores[2:, 0] = NAN
    gains = Gains.of(scores, FORMULAS, reward())
    assert gains.spreads[0] == 0
    np.testing.assert_array_equal(gains.of_proxies[0, 0], [0, 0])  # nothing can be told


def test_a_reference_that_diverges_is_an_error():
    scores = SCORES.copy()
    scores[1, 1, 0] = NAN
    message = r"relu diverges on digits-mlp \(2\) from some seeds, so gains cannot be counted from it; lower the"
    with pytest.raises(RewardError, match=message):
        Gains.of(scores, FORMULAS, reward())


def test_baselines_that_all_diverge_are_an_error():
    scores = SCORES.copy()
    scores[2:, 1, 1] = NAN
    settings = reward(baselines=["gelu", "tanh"])
    with pytest.raises(
        RewardError, match=r"all of the baselines gelu, tanh diverge on digits-mlp \(2\) from some seeds"
    ):
        Gains.of(scores, FORMULAS, settings)


def test_the_reference_need_not_be_a_baseline_and_may_be_a_formula():
    settings = reward(reference="x**2", baselines=["gelu", "tanh"])
    assert settings.scale_functions == (Formula.parse("x**2"), *FORMULAS[2:])
    gains = Gains.of(SCORES, FORMULAS, settings)
    np.testing.assert_allclose(gains.spreads, [0.2, 2.0])
    np.testing.assert_array_equal(gains.of_proxies[0], 0)


def test_each_function_of_the_scale_is_trained_once():
    settings = reward(baselines=["relu", "gelu", "0.5 * x * (1 + erf(0.7071067811865476 * x))", "swish", "silu"])
    assert [str(f) for f in settings.scale_functions] == [
        "relu(x)", str(Formula.parse("gelu(x)")), "x * sigmoid(x)"
    ]  # fmt: skip


@given(
    arrays.arrays(float, (4, 2, 3), elements=st.floats(-1, 1, width=32)),
    st.floats(-10, 10),
    st.floats(0.125, 8),
)
def test_gains_know_no_unit_and_no_difficulty_of_a_data_set(scores, shift, factor):
    """A score in another unit, and a data set that adds the same to all of one seed, change nothing."""
    settings = reward()
    gains = Gains.of(scores, FORMULAS, settings)
    assume((gains.spreads > 1e-3).all())
    assert (np.abs(gains.of_proxies) <= 3).all()
    moved = factor * scores + shift * np.arange(3)
    np.testing.assert_allclose(Gains.of(moved, FORMULAS, settings).of_proxies, gains.of_proxies, atol=1e-6)


def test_a_difference_is_nothing_where_there_is_no_spread():
    found = in_spreads(np.array([[1.0, math.inf, NAN], [1.0, math.inf, NAN]]), np.array([[2.0], [0.0]]))
    np.testing.assert_array_equal(found, [[0.5, math.inf, NAN], [0.0, NAN, NAN]])
