"""What a reward makes of evaluations; none of them is done here."""

import logging
import math
import random
from dataclasses import replace

import pytest
from helpers import evaluated
from helpers_panels import OTHER, REFERRED, SILU, TANH, TINY, X, made, refer, scored, two_proxies

from rlsearch import Formula
from rlsearch.common.seeds import search_seed
from rlsearch.errors import RewardError
from rlsearch.formula import RELU
from rlsearch.proxies.base import Training
from rlsearch.rewards import Status
from rlsearch.rewards.base import StatusValues
from rlsearch.rewards.settings import function
from rlsearch.rewards.staged import StagedReward

PANEL_NAMES = ["digits-mlp", "digits-mlp (2)"]


class TestASingleClassifier:
    """Gains are in points of accuracy."""

    def reward(self, **values):
        return refer(made(**values), {"relu": (0.50, 0.60), "x": (0.30, 0.34)})

    def test_mean_over_seeds_relative_to_relu_minus_latency(self):
        """ReLU has 0.55, the candidate (0.65 + 0.75 + 0.70) / 3 = 0.70; silu's latency is 2: one doubling, 0.01."""
        reward = self.reward()
        result = reward.combine(SILU, scored(SILU, *reward.proxy_names, 0.65, 0.75, 0.70))
        assert result.value == pytest.approx(0.15 - 0.01, abs=1e-12)
        assert result.score == pytest.approx(0.70)
        # The deviations 0.05, -0.05 and 0 have a variance of 0.0025; over three seeds.
        assert result.standard_error == pytest.approx(0.05 / math.sqrt(3))
        assert result.scores == {"digits-mlp": result.score}
        assert result.gains == {"digits-mlp": pytest.approx(0.15)}
        assert (result.status, result.latency, result.message) == (Status.OK, 2.0, "")

    @pytest.mark.parametrize("how", ["mean", "worst", "softmin"])
    def test_there_is_nothing_to_combine(self, how):
        reward = self.reward(combine=how)
        result = reward.combine(X, scored(X, *reward.proxy_names, 0.95))  # latency 0.5: a halving is a gain
        assert result.value == pytest.approx(0.40 + 0.01, abs=1e-12)
        assert (result.score, result.standard_error) == (0.95, None)

    def test_gains_are_not_cut(self):
        reward = refer(made(reference="x"), {"x": (-7.0, -7.0)})
        assert reward.combine(RELU, scored(RELU, *reward.proxy_names, 1.0)).value == 8.0

    def test_its_references_are_relu_and_the_identity(self):
        reward = made(run_seed=3, baseline_seeds=3)
        (name,) = reward.proxy_names
        assert reward.references == [
            *(Training(RELU, name, seed) for seed in (30_000, 30_001, 30_002)),
            *(Training(X, name, seed) for seed in (30_000, 30_001)),
        ]
        assert [t.formula for t in made(baseline_seeds=1).references] == [RELU, X]


class TestSeveralProxies:
    """Gains are in spreads of the baselines."""

    def test_gains_in_spreads_are_averaged(self):
        """The candidate has 0.70 and 0.80, ReLU 0.55 and 0.82: +0.15 of 0.30 and -0.02 of 0.10, so +0.5 and -0.2.

        Each proxy counts alike, however many seeds it has. silu's latency is 2: one doubling, 0.1.
        """
        reward, a, b = two_proxies()
        result = reward.combine(SILU, [*scored(SILU, a, 0.65, 0.75, 0.70), *scored(SILU, b, 0.80)])
        assert result.value == pytest.approx(0.15 - 0.1, abs=1e-12)
        assert result.score == pytest.approx(0.15)
        assert result.scores == pytest.approx({"digits-mlp": 0.70, "digits-mlp (2)": 0.80})
        assert result.gains == pytest.approx({"digits-mlp": 0.5, "digits-mlp (2)": -0.2})
        assert (result.status, result.latency, result.message) == (Status.OK, 2.0, "")

    @pytest.mark.parametrize(
        ("how", "gain"), [("worst", -0.2), ("softmin", -math.log((math.exp(-0.5) + math.exp(0.2)) / 2))]
    )
    def test_gains_may_be_combined_in_other_ways(self, how, gain):
        reward, a, b = two_proxies(combine=how)
        result = reward.combine(SILU, [*scored(SILU, a, 0.70), *scored(SILU, b, 0.80)])
        assert result.score == pytest.approx(gain)
        assert result.value == pytest.approx(gain - 0.1)
        assert list(result.gains.values()) == pytest.approx([0.5, -0.2])

    def test_a_catastrophe_is_cut(self):
        reward, a, b = two_proxies()
        result = reward.combine(SILU, [*scored(SILU, a, -1e6), *scored(SILU, b, 0.92)])
        assert list(result.gains.values()) == pytest.approx([-3.0, 1.0])
        assert result.scores["digits-mlp"] == -1e6

    def test_the_standard_error_is_of_the_seeds_that_all_proxies_have(self):
        """Gains of seed 0 are +0.5 and -0.2, of seed 1 +1 and +0.8, so 0.15 and 0.9: 0.75 apart."""
        reward, a, b = two_proxies()
        evaluations = [*scored(SILU, a, 0.70, 0.85, 0.1), *scored(SILU, b, 0.80, 0.90)]
        for _ in range(5):
            random.Random(1).shuffle(evaluations)
            assert reward.combine(SILU, evaluations).standard_error == pytest.approx(0.75 / 2)
        # Seeds are told by their numbers, not by how many there are.
        apart = [*scored(SILU, a, 0.70, 0.85), evaluated(Training(SILU, b, 1), 0.9), evaluated(Training(SILU, b, 5), 1)]
        assert reward.combine(SILU, apart).standard_error is None

    def test_evaluations_count_in_any_order(self):
        reward, a, b = two_proxies()
        evaluations = [*scored(SILU, a, 0.65, 0.75, 0.1), *scored(SILU, b, 0.80, 0.3)]
        assert reward.combine(SILU, reversed(evaluations)) == reward.combine(SILU, iter(evaluations))

    def test_the_reference_is_zero_on_its_own_seeds(self):
        reward, a, b = two_proxies()
        result = reward.combine(RELU, [*scored(RELU, a, 0.50, 0.60), *scored(RELU, b, 0.80, 0.84)])
        assert result.value == 0.0
        assert result.latency == 1.0
        # From its first seeds alone it is off by their luck: -0.05 of 0.30 and -0.02 of 0.10.
        first = reward.combine(RELU, [*scored(RELU, a, 0.50), *scored(RELU, b, 0.80)])
        assert first.value == pytest.approx((-1 / 6 - 0.2) / 2, abs=1e-12)

    def test_another_reference_and_other_baselines(self):
        """On both, tanh is the reference; the spread is from ReLU to a line of the user's own: 0.1 and 0.2."""
        reward = made(TINY, OTHER, reference="tanh", baselines=("relu", "0.5 * x + 1"))
        scores = {"relu": (0.5, 0.5), "tanh": (0.7, 0.7)}
        refer(reward, scores | {"0.5 * x + 1": (0.6, 0.6)}, scores | {"0.5 * x + 1": (0.3, 0.3)})
        a, b = reward.proxy_names
        result = reward.combine(RELU, [*scored(RELU, a, 0.8), *scored(RELU, b, 0.8)])
        assert list(result.gains.values()) == pytest.approx([1.0, 0.5])

    def test_its_references_are_all_baselines_and_the_identity(self):
        reward = made(TINY, OTHER, run_seed=1, baseline_seeds=3)
        names = ("relu", "gelu", "silu", "mish", "tanh")
        of_each = [Training(function(name), "", seed) for name in names for seed in (10_000, 10_001, 10_002)]
        of_each += [Training(X, "", seed) for seed in (10_000, 10_001)]
        wanted = [replace(training, proxy=name) for name in reward.proxy_names for training in of_each]
        assert reward.references == wanted
        # Where the identity is a baseline itself, it has their seeds.
        with_identity = made(TINY, OTHER, baselines=("relu", "x"), baseline_seeds=3)
        assert sum(t.formula == X for t in with_identity.references) == 2 * 3


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.25])
def test_doubling_latency_costs_the_weight(weight):
    reward, a, b = two_proxies(latency_weight=weight)
    slower = Formula.parse("silu(sin(x)) + sin(x)")  # a sine and an addition more
    slowest = Formula.parse("silu(sin(cos(x))) + sin(cos(x)) + cos(x) * 0.5 + 1")  # 0.5 + 3 * 1.0 + 5 * 0.5
    evaluations = [*scored(SILU, a, 0.7), *scored(SILU, b, 0.8)]
    results = [reward.combine(formula, evaluations) for formula in (SILU, slower, slowest)]
    assert [r.latency for r in results] == [2.0, 3.5, 6.0]
    assert len({r.score for r in results}) == 1
    assert results[0].value - results[1].value == pytest.approx(weight * math.log2(3.5 / 2), abs=1e-12)
    # From 2 to 4 to 8: in all of them the same formula, at two and at four times its price.
    values = [two_proxies(latency_weight=weight, factor=f)[0].combine(SILU, evaluations).value for f in (1, 2, 4)]
    assert values[0] - values[1] == pytest.approx(weight, abs=1e-12)
    assert values[1] - values[2] == pytest.approx(weight, abs=1e-12)


def test_faster_than_relu_is_a_gain():
    reward, a, b = two_proxies(latency_weight=0.01)
    result = reward.combine(X, [*scored(X, a, 0.55), *scored(X, b, 0.82)])  # latency 0.5
    assert result.value == pytest.approx(0.01, abs=1e-12)


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.UNFIT])
def test_one_evaluation_without_a_score_decides(status):
    """Be it one seed of several on one proxy of several: the mean of those that survived would be luck."""
    reward, a, b = two_proxies(status_values=StatusValues(diverged=-5.0, unfit=-6.0))
    bad = evaluated(Training(SILU, b, 1), None, status, message="why")
    result = reward.combine(SILU, [*scored(SILU, a, 0.9, 0.9), *scored(SILU, b, 0.9), bad])
    assert result.value == {Status.DIVERGED: -5.0, Status.UNFIT: -6.0}[status]
    assert (result.status, result.score, result.latency, result.message) == (status, None, 2.0, "why")
    assert (result.scores, result.gains) == ({}, {})


class TestReferencesThatFail:
    def test_the_reference_must_train(self):
        reward = made(TINY, OTHER)
        failing = REFERRED[1] | {"relu": (None, None)}
        with pytest.raises(RewardError, match=r"relu has no score on digits-mlp \(2\): it diverges there; lower its"):
            refer(reward, REFERRED[0], failing)

    def test_a_seed_that_diverged_is_left_out(self):
        reward = refer(made(), {"relu": (None, 0.4)})
        assert reward.scale_of("digits-mlp").reference == 0.4

    def test_baselines_that_diverge_are_left_out_while_there_is_one(self):
        reward = made(TINY, OTHER, baselines=("gelu", "tanh", "sin"))
        scores = {"relu": (0.5, 0.5), "gelu": (0.7, 0.7), "tanh": (0.4, 0.4), "sin": (None, None)}
        alone = scores | {"gelu": (None, None), "tanh": (0.3, 0.5)}
        refer(reward, scores, alone)
        assert reward.scale_of("digits-mlp").spread == pytest.approx(0.3)
        assert reward.scale_of("digits-mlp (2)").spread == pytest.approx(math.sqrt(0.02))  # the noise of tanh
        nothing = alone | {"tanh": (None, None)}
        with pytest.raises(RewardError, match=r"none of the baselines gelu, tanh, sin has a score on digits-mlp: all"):
            refer(reward, nothing, scores)


class TestWarnings:
    """Of proxies that cannot tell functions apart."""

    @pytest.fixture
    def warned(self, caplog):
        def warned(reward, *scores):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                refer(reward, *scores)
            return [record.getMessage() for record in caplog.records]

        return warned

    def test_where_a_linear_network_does_as_well_as_the_reference(self, warned):
        """ReLU has 0.55 with a noise of sqrt(0.005) = 0.07, so 0.48 is the limit."""
        reward = made()
        assert warned(reward, {"relu": (0.5, 0.6), "x": (0.47, 0.47)}) == []
        assert reward.linear_of("digits-mlp") == 0.47
        assert warned(reward, {"relu": (0.5, 0.6), "x": (0.4, 0.6)}) == [
            "digits-mlp, trained for 2 epoch(s), cannot tell activations apart: a linear network scores 0.5000 there, "
            "and one with relu 0.5500"
        ]

    def test_where_the_baselines_lie_within_the_noise(self, warned):
        """Four variances of 0 and one of 0.08: a noise of sqrt(0.016) = 0.126, and means 0.1 apart."""
        reward = made(TINY, OTHER)
        close = dict.fromkeys(("relu", "gelu", "silu", "mish"), (0.5, 0.5)) | {"tanh": (0.4, 0.8)}
        assert warned(reward, REFERRED[0], close | {"x": (0.1, 0.1)}) == [
            "digits-mlp (2), trained for 2 epoch(s), cannot tell the baselines apart: they lie within 12.6 percentage "
            "points of each other, no more than one function's seeds; train for longer, or take another learning rate"
        ]

    def test_where_the_identity_diverges_or_is_the_reference_there_is_nothing_to_compare(self, warned):
        reward = made()
        assert warned(reward, {"relu": (0.5, 0.6), "x": (None, None)}) == []
        assert reward.linear_of("digits-mlp") is None
        assert warned(made(reference="x"), {"x": (0.5, 0.6)}) == []

    def test_once_for_a_proxy_of_two_equal_fidelities(self, warned):
        same = made(fidelities=(1.0, 1.0))
        assert len(warned(same, {"relu": (0.5, 0.6), "x": (0.9, 0.9)})) == 1
        both = made(fidelities=(1.0, 2.0))
        messages = warned(both, *[{"relu": (0.5, 0.6), "x": (0.9, 0.9)}] * 2)
        assert [message.partition(" cannot")[0] for message in messages] == [
            "digits-mlp, trained for 2 epoch(s),",
            "digits-mlp, trained for 4 epoch(s),",
        ]


class TestWhatItIsMadeOf:
    def test_is_a_staged_reward(self):
        reward = made()
        assert isinstance(reward, StagedReward)
        assert reward.seeded

    def test_two_equal_proxies_are_refused(self):
        with pytest.raises(RewardError, match="two proxies of the reward are the same"):
            made(TINY, OTHER, TINY)
        with pytest.raises(RewardError, match="two proxies of the reward are the same"):
            made(TINY | {"learning_rates": (0.01, 0.1)}, TINY | {"learning_rates": (0.1, 1.0)})

    def test_scores_and_gains_have_names_of_their_own(self):
        """The proxies' settings differ, what people call them does not."""
        longer = TINY | {"epochs": 3}
        reward = refer(made(TINY, OTHER, longer), *REFERRED, REFERRED[0])
        names = [*PANEL_NAMES, "digits-mlp (3)"]
        a, b, c = reward.proxy_names
        result = reward.combine(TANH, [*scored(TANH, a, 0.7), *scored(TANH, b, 0.7), *scored(TANH, c, 0.7)])
        assert list(result.scores) == list(result.gains) == names
        assert [reward.rates_of(name) for name in names] == [(name,) for name in reward.proxy_names]

    def test_scores_of_another_version_are_not_mixed_in(self):
        """The names of proxies change with the code that trains them."""
        reward, a, _ = two_proxies()
        with pytest.raises(RewardError, match=f"'tanh.x.' was trained on old-name, {a}, and not on {a}, .*: scores of"):
            reward.combine(TANH, [*scored(TANH, "old-name", 0.5), *scored(TANH, a, 0.5)])


# --- fidelity ---


def two_fidelities():
    """A reward whose leaders are trained ten times as long, with ReLU at 0.5 by the short and 0.7 by the long."""
    reward = refer(made(fidelities=(1.0, 10.0)), {"relu": (0.5, 0.5)}, {"relu": (0.6, 0.8)})
    return reward, *reward.proxy_names, *reward.rescoring_proxy_names


def test_a_higher_fidelity_is_a_proxy_of_its_own_and_has_references():
    reward, short, long = two_fidelities()
    assert short != long
    assert [p.settings.epochs for p in reward.proxies.values()] == [2, 20]
    assert {(r.formula, r.proxy, r.seed) for r in reward.references} == {
        (f, p, search_seed(0, i)) for f in (RELU, X) for p in (short, long) for i in range(2)
    }
    same = made()
    assert same.rescoring_proxy_names == same.proxy_names == (short,)


def test_scores_of_the_higher_fidelity_alone_count():
    """SiLU costs 0.01 * log2(2): +0.1 - 0.01 by the short training, +0.02 - 0.01 by the long one, whatever the short
    ones said.
    """
    reward, short, long = two_fidelities()
    first = reward.combine(SILU, scored(SILU, short, 0.6))
    assert first.value == pytest.approx(0.09)
    assert first.score == pytest.approx(0.6)
    again = reward.combine(SILU, [*scored(SILU, short, 0.6), *scored(SILU, long, 0.70, 0.74)])
    assert again.value == pytest.approx(0.01)
    assert again.score == pytest.approx(0.72)


def test_a_divergence_at_either_fidelity_is_one():
    reward, short, long = two_fidelities()
    diverged = scored(SILU, long, None, status=Status.DIVERGED)
    assert reward.combine(SILU, [*scored(SILU, short, 0.6), *diverged]).status is Status.DIVERGED


def test_a_panel_counts_at_the_highest_fidelity_that_is_complete():
    """All references score alike at both fidelities, so that the gains tell which scores counted."""
    reward = refer(made(TINY, OTHER, fidelities=(1.0, 2.0)), *REFERRED, *REFERRED)
    (a, b), (a_long, b_long) = reward.fidelities
    short = [*scored(SILU, a, 0.70), *scored(SILU, b, 0.80)]
    half = [*short, *scored(SILU, a_long, 0.85)]
    assert reward.combine(SILU, half) == reward.combine(SILU, short)
    whole = reward.combine(SILU, [*half, *scored(SILU, b_long, 0.87)])
    assert whole.gains == pytest.approx(dict(zip(PANEL_NAMES, (1.0, 0.5), strict=True)))
