"""Functions that are trained for longer, or from more seeds: by successive halving, and because they lead."""

import contextlib

import numpy as np
import pytest
from helpers_judging import NEVER, RELU, ROUNDS, SIN, TANH, FakeReward, X, make_judge, parse, rows, state

from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Rung
from rlsearch.judging.settings import RescoringSettings
from rlsearch.proxies.base import Training

RUNGS = [Rung(("p",), 1), Rung(("q",), 1), Rung(("q",), 3)]


class Halving(FakeReward):
    """``q`` is of a higher fidelity than ``p``: its scores alone count as soon as there is one."""

    proxy_names = ("p",)

    def __init__(self, **more):
        super().__init__(**more)
        self.references = [Training(RELU, p, s) for p in ("p", "q") for s in range(3)]

    def combine(self, formula, evaluations):
        by = {p: [e for e in evaluations if e.training.proxy == p] for p in ("p", "q")}
        return super().combine(formula, by["q"] or by["p"])


FIRST = parse("x", "tanh(x)", "sin(x)", "cosh(x)", "atan(x)", "erf(x)", "exp(x)", "x * x")


def climb(judge):
    """Eight functions in two rounds, the best four of them on the next rung, the best two of those on the last."""
    while judge.round < 4:
        rung = max(0, judge.round - 1)
        board = [j.formula for j in judge.leaderboard(20) if j.rung == rung - 1 and j.formula != RELU]
        judge(board[: 4 // rung] if rung else FIRST[4 * judge.round :][:4], rung)
    return judge


class TestRungs:
    def test_a_rung_trains_only_what_is_missing(self, archive):
        reward = Halving()
        judge = make_judge(reward, archive, seeds_per_formula=1, rungs=RUNGS, rescoring=NEVER)
        judge([TANH, SIN])
        first = judge.known[TANH.fingerprint].result
        reward.requested.clear()
        (promoted,) = judge([TANH], 1)
        assert [(r.formula, r.proxy, r.seed) for r in reward.requested] == [(TANH, "q", 0)]
        assert promoted.value != first.value
        assert promoted.score == FakeReward.score(Training(TANH, "q", 0))
        reward.requested.clear()
        judge([TANH, TANH], 2)
        assert [(r.proxy, r.seed) for r in reward.requested] == [("q", 1), ("q", 2)]
        assert judge.candidates == 2  # a promoted function is no further candidate
        assert judge.report.fresh == (False, False)
        assert judge.report.evaluations == 2

    def test_a_rung_outranks_every_reward_below_it(self, archive):
        judge = climb(make_judge(Halving(), archive, seeds_per_formula=1, rungs=RUNGS, rescoring=NEVER))
        board = judge.leaderboard(20)
        assert [j.rung for j in board if j.formula != RELU] == [2, 2, 1, 1, 0, 0]
        for rung in (1, 2):
            values = [j.result.value for j in board if j.rung == rung and j.formula != RELU]
            assert values == sorted(values, reverse=True)

    def test_a_reference_has_climbed_nothing(self, archive):
        judge = climb(make_judge(Halving(), archive, seeds_per_formula=1, rungs=RUNGS, rescoring=NEVER))
        assert sum(e.training.proxy == "q" for e in judge.ledger.of(RELU.fingerprint)) == 3
        assert judge.known[RELU.fingerprint].rung == 0
        assert judge.leaderboard(1)[0].rung == 2

    def test_what_is_not_fit_stays_on_the_first_rung(self, archive):
        judge = make_judge(Halving(), archive, seeds_per_formula=1, rungs=RUNGS, rescoring=NEVER)
        judge(parse("exp(x)", "cosh(x)", "sin(x)"))
        assert [j.formula for j in judge.leaderboard(5) if j.formula != RELU] == [SIN]

    @pytest.mark.parametrize("stop_at", range(3, 11))
    def test_killed_anywhere_and_resumed_it_is_as_if_nothing_had_happened(self, tmp_path, stop_at):
        more = {"seeds_per_formula": 1, "rungs": RUNGS, "rescoring": NEVER}
        with Archive(tmp_path / "whole.sqlite", create=True) as archive:
            whole = climb(make_judge(Halving(), archive, **more))
        path = tmp_path / "killed.sqlite"
        with Archive(path, create=True) as archive:
            judge = make_judge(Halving(stop_at=stop_at), archive, **more)
            with contextlib.suppress(KeyboardInterrupt):
                climb(judge)
        with Archive(path) as archive:
            again = climb(make_judge(Halving(), archive, first_round=judge.round, **more))
        assert state(again) == state(whole)
        assert [j.rung for j in again.known.values()] == [j.rung for j in whole.known.values()]
        assert again.candidates == whole.candidates
        assert rows(path)[1] == rows(tmp_path / "whole.sqlite")[1]


class TestRescoring:
    def test_the_best_get_the_next_seed_and_the_mean_changes(self, archive):
        reward = FakeReward()
        rescoring = RescoringSettings(every=2, best=2, max_seeds=3)
        judge = make_judge(reward, archive, seeds_per_formula=1, rescoring=rescoring)
        judge(ROUNDS[0])
        assert all(j.seeds == 1 for f, j in judge.known.items() if f != RELU.fingerprint)
        before = {j.formula.fingerprint: (j.formula, j.result.score) for j in judge.leaderboard(2)}
        assert RELU.fingerprint not in before
        reward.requested.clear()
        judge([X])  # nothing new: only the rescoring asks
        assert reward.requested == [Training(f, p, 1) for f, _ in before.values() for p in ("p", "q")]
        for fingerprint, (formula, score) in before.items():
            judged = judge.known[fingerprint]
            scores = [FakeReward.score(Training(formula, p, s)) for p in "pq" for s in (0, 1)]
            assert judged.result.score == pytest.approx(np.mean(scores))
            assert judged.result.score != score
            assert judged.seeds == 2
        assert judge.report.evaluations == 4

    def test_a_rescored_formula_s_new_mean_is_told_in_the_same_round(self, archive):
        judge = make_judge(FakeReward(), archive, seeds_per_formula=1, rescoring=RescoringSettings(every=1, best=50))
        (result,) = judge([TANH])
        scores = [FakeReward.score(Training(TANH, p, s)) for p in "pq" for s in (0, 1)]
        assert result.score == pytest.approx(np.mean(scores))
        assert judge.known[TANH.fingerprint].result == result

    def test_no_more_than_the_wanted_seeds(self, archive):
        rescoring = RescoringSettings(every=1, best=50, max_seeds=3)
        judge = make_judge(FakeReward(), archive, seeds_per_formula=1, rescoring=rescoring)
        for _ in range(6):
            judge([TANH, X])
        assert judge.known[TANH.fingerprint].seeds == 3
        assert judge.known[X.fingerprint].seeds == 3

    def test_references_keep_their_seeds(self, archive):
        judge = make_judge(FakeReward(baseline_seeds=1), archive, rescoring=RescoringSettings(every=1, best=50))
        judge([RELU, TANH])
        assert judge.known[RELU.fingerprint].seeds == 1
        assert judge.known[TANH.fingerprint].seeds == 3

    def test_references_take_no_place_among_those_that_are_rescored(self, archive):
        class Led(FakeReward):
            """Its references lead by far."""

            def __init__(self):
                super().__init__()
                self.references += [Training(TANH, p, s) for p in self.proxy_names for s in range(3)]

            @staticmethod
            def score(training):
                return FakeReward.score(training) + (training.formula in (RELU, TANH))

        judge = make_judge(Led(), archive, seeds_per_formula=1, rescoring=RescoringSettings(every=1, best=2))
        judge(parse("x", "sin(x)", "cos(x)", "tanh(x)", "atan(x)"))
        assert {judged.formula for judged in judge.leaderboard(2)} == {RELU, TANH}
        seeds = {fingerprint: judged.seeds for fingerprint, judged in judge.known.items()}
        assert len(judge.report.rescored) == 2
        assert [f for f in seeds if seeds[f] == 2] == sorted(judge.report.rescored, key=list(seeds).index)
        assert seeds[RELU.fingerprint] == seeds[TANH.fingerprint] == 3

    @pytest.mark.parametrize("seeded", [False, True])
    def test_only_where_another_seed_says_more(self, archive, seeded):
        reward = FakeReward()
        reward.seeded = seeded
        judge = make_judge(reward, archive, seeds_per_formula=1, rescoring=RescoringSettings(every=1))
        judge([TANH])
        assert judge.known[TANH.fingerprint].seeds == 1 + seeded

    def test_functions_without_a_score_are_left_alone(self, archive):
        reward = FakeReward()
        judge = make_judge(reward, archive, seeds_per_formula=1, rescoring=RescoringSettings(every=1, best=50))
        judge(parse("exp(x)", "cosh(x)"))
        assert {r.seed for r in reward.requested if r.formula != RELU} == {0}


@pytest.mark.parametrize(
    ("values", "message"), [({"every": -1}, "every"), ({"best": 0}, "best"), ({"max_seeds": 1}, "max_seeds")]
)
def test_rescoring_settings(values, message):
    with pytest.raises(Exception, match=message) as caught:
        RescoringSettings.check(values)
    assert type(caught.value).__name__ == "ConfigError"
