import math

import pytest
from helpers import DIGITS
from helpers_proxies import trained_scores

from rlsearch import Formula
from rlsearch.common.pool import make_pool
from rlsearch.common.seeds import fresh_seed
from rlsearch.judging.archive import Archive
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.studies.rates import MAX_WIDENINGS, ChosenRate, chosen_rates
from rlsearch.studies.retrain import Options, Retraining

NAN = math.nan
PROXY = ProxySettings.check(DIGITS | {"learning_rate": 0.01})
FORMULAS = [Formula.parse(text) for text in ("relu(x)", "x * x", "tanh(x)")]


class Made:
    """In the place of a retraining: the score of a formula at a learning rate is what a function says."""

    device = "cpu"

    def __init__(self, score):
        self.score = score
        self.rates = {}
        self.asked = []

    def proxy_name(self, settings):
        assert settings.learning_rates == ()
        self.rates[str(settings.learning_rate)] = settings.learning_rate
        return str(settings.learning_rate)

    def scores(self, wanted, what):
        self.asked.append((what, [(str(t.formula), round(self.rates[t.proxy], 9), t.seed) for t in wanted]))
        return [self.score(str(t.formula), self.rates[t.proxy]) for t in wanted]


def chosen(score, proxy=PROXY, formulas=FORMULAS, **options):
    made = Made(score)
    return chosen_rates(formulas, proxy, 0, Options(selection_seeds=1, **options), made), made


def peak(best):
    """Scores that fall on both sides of the best rate, by one for each factor of ten."""
    return lambda formula, rate: -abs(math.log10(rate / best))


def test_a_best_rate_between_others_is_taken_and_both_neighbours_are_known():
    found, made = chosen(peak(0.01))
    assert [each.rate for each in found] == [0.01] * 3
    assert [what for what, _ in made.asked] == ["choosing rates"]
    assert not any(each.is_at_an_end for each in found)
    # A third and three times the rate: log10(3) lower.
    assert found[0].drops == pytest.approx((math.log10(3), math.log10(3)))
    assert [rate for rate, _ in found[0].tried] == pytest.approx([0.01 / 3, 0.01, 0.03])


@pytest.mark.parametrize(("best", "widenings"), [(0.03, 1), (0.09, 2), (0.81, 4), (0.01 / 3, 1), (0.01 / 27, 3)])
def test_an_end_is_widened_until_the_best_lies_within(best, widenings):
    found, made = chosen(peak(best), formulas=FORMULAS[:1])
    assert [what for what, _ in made.asked] == ["choosing rates"] + ["widening rates"] * min(widenings, MAX_WIDENINGS)
    (each,) = found
    if widenings <= MAX_WIDENINGS:
        assert each.rate == pytest.approx(best)
        assert not each.is_at_an_end
        assert each.drops == pytest.approx((math.log10(3), math.log10(3)))
    else:
        # 0.03 times 27: as high as it goes, and the note remains.
        assert each.rate == pytest.approx(0.81)
        assert each.is_at_an_end
        assert each.drops[0] == pytest.approx(math.log10(3))
        assert math.isnan(each.drops[1])


def test_only_the_functions_that_want_it_are_widened_and_each_on_its_side():
    best = {"relu(x)": 0.09, "x * x": 0.001, "tanh(x)": 0.01}
    found, made = chosen(lambda formula, rate: peak(best[formula])(formula, rate))
    assert len(made.asked[0][1]) == 9
    first, second = made.asked[1][1], made.asked[2][1]
    assert [(text, rate) for text, rate, _ in first] == [("relu(x)", 0.09), ("x * x", round(0.01 / 9, 9))]
    assert [(text, rate) for text, rate, _ in second] == [("relu(x)", 0.27), ("x * x", round(0.01 / 27, 9))]
    assert [each.rate for each in found] == pytest.approx([0.09, 0.01 / 9, 0.01])
    assert {len(each.tried) for each in found} == {5, 3}


def test_the_rates_of_a_proxy_go_before_factors():
    proxy = PROXY.check(PROXY.model_dump() | {"learning_rates": (0.02, 0.1, 0.5)})
    found, made = chosen(peak(0.1), proxy, rates=(1.0,))
    assert [rate for rate, _ in found[0].tried] == [0.02, 0.1, 0.5]
    assert found[0].rate == 0.1
    assert len(made.asked) == 1
    # The first one wins a tie.
    found, _ = chosen(lambda formula, rate: 0.5 if rate > 0.05 else 0.1, proxy, rates=(1.0,))
    assert found[0].rate == 0.1


def test_of_equal_rates_the_one_nearest_to_the_configs_own_is_taken():
    found, _ = chosen(lambda formula, rate: 0.5)
    assert {each.rate for each in found} == {0.01}
    assert found[0].drops == (0, 0)
    # A rate beyond that is as good as the end is no better.
    found, _ = chosen(lambda formula, rate: 0.5 if rate > 0.02 else 0.1)
    assert found[0].rate == 0.03
    assert found[0].drops == pytest.approx((0.4, 0))


def test_a_single_rate_leaves_nothing_to_choose():
    found, made = chosen(peak(1.0), rates=(2.0,))
    assert found == [ChosenRate(0.02)] * 3
    assert made.asked == []
    assert not found[0].is_at_an_end
    assert all(math.isnan(drop) for drop in found[0].drops)


def test_a_rate_at_which_a_training_diverges_is_not_taken():
    ((each,), _) = chosen(lambda formula, rate: None if rate > 0.02 else rate, formulas=FORMULAS[:1])
    assert each.rate == 0.01
    assert each.drops == (pytest.approx(0.01 - 0.01 / 3), math.inf)
    assert not each.is_at_an_end
    assert math.isnan(each.tried[-1][1])


def test_where_every_rate_diverges_lower_ones_are_tried_and_the_first_stands():
    found, made = chosen(lambda formula, rate: None, formulas=FORMULAS[:1])
    (each,) = found
    assert [what for what, _ in made.asked] == ["choosing rates", *["widening rates"] * 3]
    assert [rate for rate, _ in each.tried] == pytest.approx([0.01 / 81, 0.01 / 27, 0.01 / 9, 0.01 / 3, 0.01, 0.03])
    assert each.rate == 0.01
    assert not each.is_at_an_end
    assert all(math.isnan(drop) for drop in each.drops)
    # One that is low enough is found.
    found, _ = chosen(lambda formula, rate: None if rate > 0.002 else rate, formulas=FORMULAS[:1])
    assert found[0].rate == pytest.approx(0.01 / 9)
    assert found[0].drops[1] == math.inf


def test_scores_are_means_over_the_selection_seeds_on_a_data_set_of_their_own(tmp_path):
    """Everything again, one proxy at a time."""
    kernel = TorchKernel()
    with Archive(tmp_path / "e.sqlite", create=True) as archive:
        retraining = Retraining(archive, kernel, "cpu", make_pool(1))
        options = Options(selection_seeds=2, rates=(0.5, 1.0))
        found = chosen_rates(FORMULAS, PROXY, 3, options, retraining)
        trained = retraining.trained
        assert chosen_rates(FORMULAS, PROXY, 3, options, retraining) == found
        assert retraining.trained == trained == 2 * sum(len(each.tried) for each in found)
    for formula, each in zip(FORMULAS, found, strict=True):
        for rate, score in each.tried:
            fresh = {"data_seed": 2**31 + fresh_seed(3, 4000), "test_size": 4, "learning_rate": rate}
            proxy = Proxy(ProxySettings.check(PROXY.model_dump() | fresh), kernel, "cpu")
            members = [Training(formula, "p", fresh_seed(3, 4000 + j)) for j in range(2)]
            assert score == sum(trained_scores(proxy, members)) / 2
        assert dict(each.tried)[each.rate] == max(score for _, score in each.tried)
