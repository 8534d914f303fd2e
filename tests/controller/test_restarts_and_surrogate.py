"""What helps the policy: restarts, and the surrogate that drops formulas before they are judged."""

import numpy as np
import pytest
import torch
from helpers import make_judge

from rlsearch.controller import gate
from rlsearch.controller.ppo import RESTART_SEED_STEP, PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Formula, Grammar, Vocabulary
from rlsearch.formula.rules import ALL_RULES
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.search.variation import Variation
from rlsearch_envs import CurveReward

torch.set_num_threads(1)

GRAMMAR = Grammar(
    Vocabulary(("add", "sub", "mul", "div", "sin", "cos", "exp", "tanh"), ("x",), (1.0, 2.0)), 3, 12, ALL_RULES
)
REWARD = CurveReward("x * sin(x)")


def make(per_round=32, seed=0, warm_start=(), **settings):
    return PPOSearch(ControllerSettings.check(settings), GRAMMAR, per_round, seed, warm_start)


def parents_of_rounds(monkeypatch):
    """A list to which every round appends the formulas that became parents."""
    seen = []
    original = Variation.children

    def children(variation, parents, mates, rng):
        seen.append(set(parents) | set(mates))
        return original(variation, parents, mates, rng)

    monkeypatch.setattr(Variation, "children", children)
    return seen


def lessons_of(method):
    """A list to which every round appends what is learned from it."""
    lessons, learn = [], method.learner.learn
    method.learner.learn = lambda lesson: (lessons.append(lesson), learn(lesson))
    return lessons


def proposed(report):
    return {f.fingerprint for f in report.formulas}


def test_a_restart_forgets_parents_and_policy_but_not_the_archive(monkeypatch):
    parents, judge, method = parents_of_rounds(monkeypatch), make_judge(REWARD), make(restart_every=3)
    reports, weights = [], []
    for _ in range(8):
        weights.append(method.learner.ppo.policy.state_dict()["action_net.weight"].clone())
        method.run_round(judge)
        reports.append(judge.report)
    assert method.scalars()["search/restarts"] == 2  # in rounds 3 and 6
    # Rounds 0, 3 and 6 have random formulas in the place of children, so parents are of rounds 1, 2, 4, 5 and 7.
    assert len(parents) == 5
    first, second = (set().union(*map(proposed, reports[i : i + 3])) for i in (0, 3))
    assert all({f.fingerprint for f in chosen} <= first for chosen in parents[:2])
    assert all({f.fingerprint for f in chosen} <= second for chosen in parents[2:4])
    assert {f.fingerprint for f in parents[4]} <= proposed(reports[6])
    assert first <= set(judge.known)
    assert not torch.equal(weights[0], weights[2])  # it learns, and is as new after three rounds
    fresh = make(seed=0 + RESTART_SEED_STEP).learner.ppo.policy.state_dict()["action_net.weight"]
    method_again, judge_again = make(restart_every=3), make_judge(REWARD)
    for _ in range(3):
        method_again.run_round(judge_again)
    monkeypatch.setattr(method_again.learner, "roll_out", lambda: pytest.fail("stop"))
    with pytest.raises(pytest.fail.Exception):
        method_again.run_round(judge_again)
    assert torch.equal(method_again.learner.ppo.policy.state_dict()["action_net.weight"], fresh)


def test_what_was_known_before_a_restart_teaches_again():
    """New is what is new since the restart: a restart that cannot learn of the old best would not find it."""
    judge, method = make_judge(lambda formulas: [RewardResult(1.0) for _ in formulas]), make(2, restart_every=1)
    lessons, roll_out = lessons_of(method), method.learner.roll_out
    again = [Formula.parse("x + x"), Formula.parse("x * x")]
    method.learner.roll_out = lambda: (again, roll_out()[1])
    for _ in range(3):
        method.run_round(judge)
    assert [lesson.new.tolist() for lesson in lessons] == [[True, True]] * 3
    assert len(judge.known) == 2


@pytest.mark.parametrize("rounds_before", [1, 2, 3, 4, 5])
def test_a_search_with_restarts_and_surrogate_goes_on_from_its_state(rounds_before, tmp_path, monkeypatch):
    """Stopped in every place with respect to a restart, one before and one after it, included."""
    monkeypatch.setattr(gate, "MIN_EXAMPLES_FOR_SURROGATE", 60)

    def run(stop):
        judge, method = make_judge(REWARD), make(restart_every=2, written_per_judged=3)
        found = []
        for i in range(7):
            if i == stop:
                torch.save(method.state(), tmp_path / "state.pt")
                method = make(restart_every=2, written_per_judged=3)
                make(seed=9).run_round(make_judge(REWARD))  # draws from the global random numbers
                method.restore(torch.load(tmp_path / "state.pt", weights_only=True))
            method.run_round(judge)
            found.append((judge.report.formulas, method.scalars()))
        return found

    assert run(rounds_before) == run(None)


@pytest.mark.parametrize("hope", ["prediction", "spread"])
def test_the_surrogate_drops_what_it_hopes_least_of(hope, monkeypatch):
    """A surrogate that knows the truth: nine in ten of a round's new functions are the best of what was written.

    It may say so by its prediction, or by how unsure it is of a prediction that is the same for all.
    """
    monkeypatch.setattr(gate, "MIN_EXAMPLES_FOR_SURROGATE", 50)
    written = []

    class Oracle:
        def fit(self, known, seed):
            pass

        def predict(self, formulas):
            written.append(formulas)
            truth = np.array([result.value for result in REWARD(formulas)])
            return (truth, 0 * truth) if hope == "prediction" else (0 * truth, truth - truth.min())

    judge, method = make_judge(REWARD), make(20, written_per_judged=6)
    method.gate.surrogate = Oracle()
    known = []
    for _ in range(6):
        known.append(set(judge.known))
        method.run_round(judge)
    report, known_before = judge.report, known[-1]
    assert len(written) >= 3
    assert len(written[-1]) == 6 * 20
    new = {f.fingerprint: f for f in written[-1] if f.fingerprint not in known_before}
    judged_new = {f.fingerprint for f, fresh in zip(report.formulas, report.fresh, strict=True) if fresh}
    assert len(judged_new) == 20 < len(new)
    best = sorted(new, key=lambda key: -REWARD([new[key]])[0].value)
    assert len(judged_new & set(best[:20])) >= 18
    assert method.scalars()["surrogate/skipped"] == len(new) - 20
    if hope == "prediction":
        assert method.scalars()["surrogate/rank_correlation"] == pytest.approx(1, abs=0.01)


def test_without_a_surrogate_everything_written_is_judged():
    judge, method = make_judge(REWARD), make(20)
    for _ in range(3):
        method.run_round(judge)
        assert len(judge.report.formulas) == 20
    assert not [name for name in method.scalars() if name.startswith("surrogate")]


def test_before_the_surrogate_knows_enough_a_random_choice_is_judged():
    judge, method = make_judge(REWARD), make(20, written_per_judged=5)
    method.run_round(judge)
    assert sum(judge.report.fresh) == 20
    assert "surrogate/rank_correlation" not in method.scalars()  # its predictions are all alike
    assert method.scalars()["surrogate/skipped"] > 20


def test_a_warm_start_is_never_dropped():
    warm_start = tuple(Formula.parse(text) for text in ("x * sin(x)", "x + sin(x)", "tanh(x) + x"))
    judge, method = make_judge(REWARD), make(8, warm_start=warm_start, written_per_judged=10)
    method.run_round(judge)
    assert set(warm_start) <= set(judge.report.formulas)
    assert len(judge.report.formulas) == 8 + 3


def test_a_formula_that_was_dropped_teaches_nothing():
    """Only what was judged is new; a prediction is no reward."""
    judge, method = make_judge(REWARD), make(20, written_per_judged=5)
    lessons = lessons_of(method)
    for i in range(2):
        method.run_round(judge)
        written = [GRAMMAR.vocabulary.decode(row) for row in lessons[i].ids]
        assert len(written) == len(lessons[i].new) > method.learner.count
        judged = set(judge.report.formulas)
        dropped = [bool(new) for f, new in zip(written, lessons[i].new, strict=True) if f not in judged]
        assert dropped
        assert not any(dropped)


def test_unfit_functions_have_no_children_after_a_restart_either(monkeypatch):
    def reward(formulas):
        return [
            RewardResult(0.0, Status.UNFIT) if "tanh" in f.tokens else r
            for f, r in zip(formulas, REWARD(formulas), strict=True)
        ]

    parents, judge, method = parents_of_rounds(monkeypatch), make_judge(reward), make(restart_every=2, parents=1000)
    for _ in range(4):
        method.run_round(judge)
    assert len(parents) == 2
    assert not [f for chosen in parents for f in chosen if "tanh" in f.tokens]
