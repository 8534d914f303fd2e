from collections import Counter

import numpy as np
import pytest
import torch
from helpers import make_judge
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED

from rlsearch.controller.ppo import PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, FormulaBuilder, Grammar, Vocabulary
from rlsearch.formula.rules import ALL_RULES
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards.base import RewardResult
from rlsearch.search.random import RandomSearch, random_ids
from rlsearch_envs.observation import ObservationLayout

# One binary operator, five unary ones, two leaves; no rule forbids anything.
UNEVEN = Grammar(Vocabulary(("mul", "sin", "exp", "tanh", "abs", "erf"), ("x", "g")), max_length=9)
RULED = Grammar(Vocabulary(("add", "mul", "exp", "log", "sin", "cos", "neg"), ("x", "g"), (1.0, 2.0)), 3, 9, ALL_RULES)


def draw(grammar, count, seed=0):
    return random_ids(grammar, count, np.random.default_rng(seed))


def size(formulas):
    return [RewardResult(float(f.size)) for f in formulas]


def test_each_arity_is_equally_likely_at_the_first_token():
    """Of 30 000 first tokens a third is of each arity: the standard deviation of a share is 0.0027."""
    first = np.bincount(draw(UNEVEN, 30_000)[:, 0], minlength=9) / 30_000
    assert first[0] == 0
    assert first[1] == pytest.approx(1 / 3, abs=0.011)
    assert first[2:7].sum() == pytest.approx(1 / 3, abs=0.011)
    assert first[2:7].tolist() == pytest.approx([1 / 15] * 5, abs=0.006)
    assert first[7:].tolist() == pytest.approx([1 / 6] * 2, abs=0.009)


def test_the_whole_distribution_by_hand():
    """Of at most three tokens: x, neg and add have a third each at the root.

    ``add`` leaves room for two leaves only. After ``neg`` there is none for ``add``, so x and ``neg`` have a half each,
    and after a second ``neg`` comes x. Four standard deviations of a share of 20 000 are at most 0.014.
    """
    grammar = Grammar(Vocabulary(("neg", "add")), max_length=3)
    counts = Counter(str(grammar.vocabulary.decode(row)) for row in draw(grammar, 20_000))
    expected = {"x": 1 / 3, "-x": 1 / 6, "--x": 1 / 6, "x + x": 1 / 3}
    assert counts.keys() == expected.keys()
    assert {text: n / 20_000 for text, n in counts.items()} == pytest.approx(expected, abs=0.014)


def test_what_is_illegal_leaves_its_share_to_the_others():
    """Alone, only an input can be a formula: of the leaves' weight of 1, with three constants, a quarter is left.

    So the shares at the root are a ninth for x and four ninths for each of the two operators.
    """
    grammar = Grammar(Vocabulary(("neg", "add"), ("x",), (1.0, 2.0, 3.0)), max_length=9)
    first = np.bincount(draw(grammar, 20_000)[:, 0], minlength=7) / 20_000
    assert first.tolist() == pytest.approx([0, 4 / 9, 4 / 9, 1 / 9, 0, 0, 0], abs=0.014)


@pytest.mark.parametrize("grammar", [UNEVEN, RULED, LanguageSettings().grammar()], ids=["uneven", "ruled", "default"])
def test_the_untrained_policy_writes_the_same_way(grammar):
    """At the root, and after the first operator.

    In total variation; the policy's last layer is small but not 0, hence 0.02, and the rest is of sampling.
    """
    method = PPOSearch(ControllerSettings(), grammar, 8, seed=0)
    builder = FormulaBuilder(grammar, 1)
    for prefix in ((), (1,)):
        if prefix:
            builder.advance(np.array(prefix))
        mask = builder.mask()
        with torch.no_grad():
            observation = torch.as_tensor(ObservationLayout.of(grammar).observe(builder, mask))
            policy = method.learner.ppo.policy.get_distribution(observation).distribution.probs[0].numpy()
        ids = draw(grammar, 40_000)
        ids = ids[ids[:, 0] == prefix[0], 1] if prefix else ids[:, 0]
        random = np.bincount(ids, minlength=len(policy)) / len(ids)
        assert (policy[~mask[0]] == 0).all()
        assert np.abs(policy - random).sum() / 2 < 0.02 + (len(policy) / len(ids)) ** 0.5 / 2


@settings(FIXED, max_examples=25)
@given(
    st.lists(st.sampled_from(["neg", "exp", "log", "sin", "cos"]), unique=True),
    st.sampled_from([(), (1.0,)]),
    st.integers(1, 4),
    st.integers(4, 9),
    st.lists(st.sampled_from(ALL_RULES), unique=True),
    st.integers(0, 2**32),
)
def test_all_are_legal_and_padded(unary, constants, min_length, max_length, rules, seed):
    grammar = Grammar(Vocabulary(("add", "tanh", *unary), ("x",), constants), min_length, max_length, rules)
    ids = draw(grammar, 50, seed)
    assert ids.shape == (50, max_length)
    assert grammar.allows([row[row > 0].tolist() for row in ids]).all()
    for row in ids:
        formula = grammar.vocabulary.decode(row)
        assert row[formula.size :].tolist() == [0] * (max_length - formula.size)
        assert min_length <= formula.size <= max_length


def test_the_seed_decides():
    assert np.array_equal(draw(RULED, 20, seed=1), draw(RULED, 20, seed=1))
    assert not np.array_equal(draw(RULED, 20, seed=1), draw(RULED, 20, seed=2))
    assert draw(RULED, 0).shape == (0, 9)


def rounds(method, judge, count):
    proposed = []
    for _ in range(count):
        method.run_round(judge)
        proposed.append(judge.report.formulas)
    return proposed


class TestRandomSearch:
    def test_a_round_is_as_large_as_wanted_and_each_is_another(self):
        first, second, third = rounds(RandomSearch(RULED, 12, 3), make_judge(size), 3)
        assert len(first) == len(second) == len(third) == 12
        assert len({first, second, third}) == 3
        assert rounds(RandomSearch(RULED, 12, 3), make_judge(size), 3) == [first, second, third]
        assert rounds(RandomSearch(RULED, 12, 4), make_judge(size), 1) != [first]

    def test_a_round_depends_on_its_number_alone(self):
        """So there is nothing to store."""
        method, judge = RandomSearch(RULED, 12, 3), make_judge(size)
        *_, third = rounds(method, judge, 3)
        assert method.state() == {}
        judge.round = 2
        other = RandomSearch(RULED, 12, 3)
        other.restore({})
        assert rounds(other, judge, 1) == [third]
        assert not other.finished
        assert other.scalars() == {}

    @pytest.mark.parametrize("count", [1, 5, 12, 20])
    def test_a_warm_start_opens_the_first_round(self, count):
        """It counts as part of it, unless it is longer."""
        names = ["x + x", "x + 1", "x + 2", "x * x", "x * 2"]
        warm_start = tuple(Formula.parse(names[i % 5]) for i in range(count))
        method, judge = RandomSearch(RULED, 12, 3, warm_start), make_judge(size)
        first, second = rounds(method, judge, 2)
        assert first[:count] == warm_start
        assert len(first) == max(12, count)
        assert len(second) == 12
        assert second == rounds(RandomSearch(RULED, 12, 3), make_judge(size), 2)[1]
