"""Proxies that are trained at several learning rates, and scores outside the range of training."""

import pytest
import torch
from helpers_panels import OTHER, REFERRED, SILU, TANH, TINY, made, refer, scored

from rlsearch.rewards import Status

torch.set_num_threads(1)

AT_TWO = TINY | {"learning_rates": (0.01, 0.1)}


def diverged(formula, name, *seeds_before):
    """Evaluations of which the last one diverged."""
    (bad,) = scored(formula, name, None, status=Status.DIVERGED)
    scores = scored(formula, name, *seeds_before, 0.0)
    return [*scores[:-1], type(bad)(scores[-1].training, bad.result)]


class TestTheBestRateCounts:
    def test_for_references_and_for_candidates(self):
        """ReLU likes the first rate (0.6), the candidate the second (0.7)."""
        reward = refer(made(AT_TWO), {"relu": (0.6, 0.6)}, {"relu": (0.5, 0.55)})
        slow, fast = reward.rates_of("digits-mlp")
        assert reward.proxy_names == (slow, fast)
        result = reward.combine(TANH, [*scored(TANH, slow, 0.3, 0.5), *scored(TANH, fast, 0.68, 0.72)])
        assert result.gains == {"digits-mlp": pytest.approx(0.1)}
        assert result.scores == {"digits-mlp": pytest.approx(0.7)}
        assert result.standard_error == pytest.approx(0.02)

    def test_for_each_baseline_and_each_proxy_by_itself(self):
        best = {name: REFERRED[0][name] for name in ("relu", "gelu", "silu")}
        worse = dict.fromkeys(best, (0.1, 0.1)) | {"mish": (0.70, 0.70), "tanh": (0.45, 0.45)}
        reward = made(AT_TWO, OTHER)
        refer(reward, best | {"mish": (0.0, 0.0), "tanh": (0.2, 0.3)}, worse, REFERRED[1])
        plain = refer(made(TINY, OTHER), *REFERRED)
        for name in ("digits-mlp", "digits-mlp (2)"):
            assert reward.scale_of(name) == plain.scale_of(name)

    def test_at_a_tie_the_first_does(self):
        reward = refer(made(AT_TWO), {"relu": (0.6, 0.6)}, {"relu": (0.6, 0.6)})
        slow, fast = reward.proxy_names
        for first, second in ((slow, fast), (fast, slow)):
            both = [*scored(TANH, first, 0.7, 0.7), *scored(TANH, second, 0.65, 0.75)]
            spread_out = first == fast
            assert (reward.combine(TANH, both).standard_error > 0) is spread_out


class TestDivergence:
    def reward(self):
        reward = refer(made(AT_TWO), {"relu": (0.6, 0.6)}, {"relu": (0.5, 0.5)})
        return reward, *reward.proxy_names

    def test_at_one_rate_leaves_the_score_of_the_other(self):
        reward, slow, fast = self.reward()
        result = reward.combine(TANH, [*scored(TANH, slow, 0.7), *diverged(TANH, fast)])
        assert (result.status, result.score) == (Status.OK, 0.7)

    def test_from_one_seed_rules_the_rate_out(self):
        """Though the seed that survived has the best score."""
        reward, slow, fast = self.reward()
        result = reward.combine(TANH, [*scored(TANH, slow, 0.6, 0.7), *diverged(TANH, fast, 0.99)])
        assert (result.status, result.score) == (Status.OK, pytest.approx(0.65))

    def test_at_every_rate_is_one(self):
        reward, slow, fast = self.reward()
        result = reward.combine(TANH, [*diverged(TANH, slow, 0.7), *diverged(TANH, fast, 0.9)])
        assert (result.status, result.score, result.value) == (Status.DIVERGED, None, -1.0)

    def test_of_the_reference_at_one_rate_leaves_it_the_other(self):
        reward = refer(made(AT_TWO), {"relu": (0.6, 0.6)}, {"relu": (0.9, None)})
        assert reward.scale_of("digits-mlp").reference == 0.6


def test_a_rate_at_which_all_diverges_changes_nothing():
    """Trained: 1e30 makes every weight infinite."""
    plain, more = made(), made(TINY | {"learning_rates": (1e-2, 1e30)})
    assert len(more.references) == 2 * len(plain.references)
    assert [r.value for r in more([SILU, TANH])] == [r.value for r in plain([SILU, TANH])]
    assert more.scale_of("digits-mlp") == plain.scale_of("digits-mlp")


class TestScoresOutsideTheRangeOfTraining:
    def test_are_shown_beside_the_scores(self):
        reward = refer(made(TINY, OTHER), *REFERRED)
        a, b = reward.proxy_names
        result = reward.combine(TANH, [*scored(TANH, a, 0.7), *scored(TANH, b, 0.8, 0.9, outside=0.25)])
        assert result.scores == pytest.approx(
            {"digits-mlp": 0.7, "digits-mlp (2)": 0.85, "digits-mlp (2) outside": 0.25}
        )
        assert list(result.gains) == ["digits-mlp", "digits-mlp (2)"]

    def test_are_those_of_the_rate_that_counts(self):
        reward = refer(made(AT_TWO), {"relu": (0.6, 0.6)}, {"relu": (0.5, 0.5)})
        slow, fast = reward.proxy_names
        result = reward.combine(TANH, [*scored(TANH, slow, 0.7, outside=0.5), *scored(TANH, fast, 0.2, outside=0.1)])
        assert result.scores == {"digits-mlp": 0.7, "digits-mlp outside": 0.5}

    def test_are_trained_and_scored(self):
        """Half of the score is that of the outside, so the other half is what the inside gives."""
        physics = TINY | {"dataset": "physics", "validation_size": 64, "test_size": 64, "outside_weight": 0.5}
        (result,) = made(physics)([TANH])
        outside = result.scores["physics-mlp outside"]
        (inside,) = made(physics | {"outside_weight": 0.0})([TANH])
        assert inside.scores.keys() == {"physics-mlp"}
        assert result.scores["physics-mlp"] == pytest.approx((inside.scores["physics-mlp"] + outside) / 2)
