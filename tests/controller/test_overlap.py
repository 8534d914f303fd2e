"""Rounds that overlap: what is written and learned while the round before is being judged."""

import numpy as np
import pytest
import torch
from helpers import make_judge
from test_ppo import GRAMMAR, count_tanh, equal, make, parameters

from rlsearch.formula import Formula
from rlsearch.rewards.base import RewardResult

torch.set_num_threads(1)

DONE = 4  # rounds whose rewards are alike in both searches


def rounds_of(method, judge, count):
    reports = []
    for _ in range(count):
        method.run_round(judge)
        reports.append(judge.report)
    return reports


@pytest.mark.parametrize("offspring", [0, 0.5])
@pytest.mark.parametrize(("overlap", "unaware"), [(False, 1), (True, 2)])
def test_what_is_proposed_knows_of_all_rounds_but_the_last(overlap, unaware, offspring):
    """Two searches whose rewards differ from one round on propose the same until they have heard of it."""
    proposed = []
    for sign in (1, -1):
        calls = 0

        def reward(formulas, sign=sign):
            nonlocal calls
            calls += 1
            side = sign if calls > DONE else 1
            return [RewardResult(side * f.tokens.count("tanh") + f.size / 100) for f in formulas]

        method = make(32, overlap=overlap, offspring=offspring)
        proposed.append([report.formulas for report in rounds_of(method, make_judge(reward), DONE + 4)])
    alike = [first == second for first, second in zip(*proposed, strict=True)]
    assert alike == [i < DONE + unaware for i in range(DONE + 4)]


def test_it_is_learned_and_written_while_a_round_is_judged():
    """The policy is another when the first evaluation has come, and stays so until the next round."""
    method, seen, written = make(32, overlap=True), [], []
    judge = make_judge(count_tanh)
    whole = judge.reward.evaluate

    def evaluate(requests):
        seen.append(parameters(method))
        written.append(method._ahead)
        yield []
        seen.append(parameters(method))
        written.append(method._ahead)
        yield from whole(requests)

    judge.reward.evaluate = evaluate
    reports = rounds_of(method, judge, 3)
    assert [ahead.formulas for ahead in written[1:5]] == [
        list(report.formulas) for report in reports[1:] for _ in range(2)
    ]
    assert len(seen) == 6
    changed = [not equal(seen[i], seen[i + 1]) for i in (0, 2, 4)]
    assert changed == [False, True, True]  # in the first round there is nothing to learn from
    assert equal(seen[1], seen[2])
    assert equal(seen[3], seen[4])


def test_a_round_is_learned_from_as_it_was_written(monkeypatch):
    """What is learned of a round is what the buffer gets of one that the same policy has just written."""
    method, judge, learned = make(32, overlap=True), make_judge(count_tanh), []
    update = method.learner.ppo.train

    def train():
        buffer = method.learner.buffer
        learned.append((buffer.actions[..., 0].T.copy(), buffer.observations.copy(), buffer.rewards.sum(axis=0)))
        update()

    monkeypatch.setattr(method.learner.ppo, "train", train)
    reports = rounds_of(method, judge, 3)
    for report, (actions, observations, rewards) in zip(reports, learned, strict=False):
        assert [GRAMMAR.vocabulary.decode(row.astype(int)) for row in actions] == list(report.formulas)
        assert rewards == pytest.approx([result.value for result in report.results])
        assert observations.shape[:2] == (GRAMMAR.max_length, 32)
    assert len(learned) == 2
    assert method.learner.ppo.num_timesteps == 2 * method.learner.count * GRAMMAR.max_length


def test_the_same_seed_proposes_the_same():
    runs = [rounds_of(make(32, seed=3, overlap=True), make_judge(count_tanh), 4) for _ in range(2)]
    assert [r.formulas for r in runs[0]] == [r.formulas for r in runs[1]]


def test_a_warm_start_opens_the_first_round_and_has_children_in_the_third():
    seed = Formula.parse("tanh(sin(x))")
    method = make(16, warm_start=[seed], overlap=True)
    reports = rounds_of(method, make_judge(lambda formulas: [RewardResult(-f.size) for f in formulas]), 3)
    own = method.learner.count
    assert [len(report.formulas) for report in reports] == [16, 16, 16]
    assert reports[0].formulas[own] == seed
    random, children = ([f.size for f in report.formulas[own:]] for report in reports[1:])
    assert np.mean(children) < np.mean(random)
