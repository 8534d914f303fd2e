import numpy as np
import pytest
from helpers import Recorder
from helpers_judging import LONG_SILU, NEVER, RELU, ROUNDS, SILU, SIN, TANH, FakeReward, X, make_judge, parse, rows

from rlsearch.formula import Formula
from rlsearch.judging.settings import RescoringSettings
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.own import PlainReward
from rlsearch.rewards.staged import StagedReward


class TestARound:
    def test_functions_are_merged_and_spread_back(self, archive):
        calls = []

        def reward(formulas):
            calls.append(list(formulas))
            return [RewardResult(float(i)) for i in range(len(formulas))]

        judge = make_judge(PlainReward(reward, "r"), archive, seeds_per_formula=1)
        results = judge([X, SILU, X, LONG_SILU, TANH])
        assert calls == [[X, SILU, TANH]]
        assert [r.value for r in results] == [0.0, 1.0, 0.0, 1.0, 2.0]
        assert judge.report.fresh == (True, True, False, False, True)
        assert judge.report.formulas == (X, SILU, X, LONG_SILU, TANH)
        assert judge.report.results == tuple(results)
        assert judge.report.evaluations == 3
        assert (judge.report.round_number, judge.round) == (0, 1)

    def test_something_is_done_meanwhile(self, archive):
        """Once a round, after the training has begun, which the reward's first step stands for, and before its end."""
        happened = []

        class Training(FakeReward):
            def evaluate(self, requests):
                happened.append("begun")
                yield []
                for population in super().evaluate(requests):
                    happened.append("trained")
                    yield population

        judge = make_judge(Training(), archive, rescoring=NEVER)
        happened.clear()

        def meanwhile():
            happened.append((judge.round, list(judge.known)))

        judge([X, TANH], meanwhile=meanwhile)
        assert happened == ["begun", (0, [RELU.fingerprint]), *["trained"] * 4]
        happened.clear()
        judge([X], meanwhile=meanwhile)  # nothing is new, and nothing is trained
        assert happened == [(1, [f.fingerprint for f in (RELU, X, TANH)])]

    def test_what_it_does_not_wait_for_is_ended(self, archive):
        """Workers must not go on for a round that was given up."""
        ended = []

        class Training(FakeReward):
            def evaluate(self, requests):
                try:
                    yield from super().evaluate(requests)
                finally:
                    ended.append(len(requests))

        judge = make_judge(Training(), archive, rescoring=NEVER)
        ended.clear()

        def meanwhile():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            judge([X, TANH], meanwhile=meanwhile)
        assert ended == [8]
        del caught
        assert archive._connection.execute("SELECT COUNT(*) FROM evaluations WHERE round = 0").fetchone()[0] == 2

    def test_known_functions_are_not_asked_for_again(self, archive):
        calls = []

        def reward(formulas):
            calls.append(list(formulas))
            return [RewardResult(float(len(calls))) for _ in formulas]

        judge = make_judge(PlainReward(reward, "r"), archive, seeds_per_formula=1)
        judge([X, SILU])
        results = judge([LONG_SILU, TANH, X])
        assert calls == [[X, SILU], [TANH]]
        assert [r.value for r in results] == [1.0, 2.0, 1.0]
        assert judge.report.fresh == (False, True, False)
        judge([X, X])
        assert len(calls) == 2
        assert judge.report.evaluations == 0
        assert archive._connection.execute("SELECT COUNT(*) FROM proposals").fetchone()[0] == 7

    def test_every_proxy_and_seed_is_asked_for(self, archive):
        reward = FakeReward()
        judge = make_judge(reward, archive, seeds_per_formula=2, rescoring=NEVER)
        assert reward.requested == list(reward.references)
        reward.requested.clear()
        judge([TANH, X, TANH])
        assert reward.requested == [Training(f, p, s) for f in (TANH, X) for s in (0, 1) for p in ("p", "q")]
        scores = [FakeReward.score(Training(TANH, p, s)) for p in "pq" for s in (0, 1)]
        assert judge.known[TANH.fingerprint].result.score == pytest.approx(np.mean(scores))
        assert judge.known[TANH.fingerprint].seeds == 2
        assert judge.report.evaluations == 8

    def test_the_fake_is_a_staged_reward(self):
        assert isinstance(FakeReward(), StagedReward)
        assert isinstance(PlainReward(lambda formulas: [], "r"), StagedReward)

    def test_a_reference_is_known_from_the_start(self, archive):
        judge = make_judge(FakeReward(), archive, rescoring=NEVER)
        judge([RELU, TANH])
        assert judge.report.fresh == (False, True)
        assert judge.known[RELU.fingerprint].seeds == 3
        # The mean of its scores minus the same mean, minus 0.01 for each of two tokens.
        assert judge.report.results[0].value == pytest.approx(-0.02)

    def test_each_spelling_has_its_own_reward_and_the_best_one_leads(self, archive):
        """SiLU has 4 tokens, x / (1 + exp(-x)) has 7; the second is trained, so it must be fit in that spelling."""
        longer = Formula.parse("x * sigmoid(x) + 0 * x")
        assert longer.fingerprint == SILU.fingerprint
        assert (SILU.size, longer.size) == (4, 8)
        judge = make_judge(FakeReward(), archive, rescoring=NEVER)
        first = judge([longer])[0]
        assert judge.leaderboard(2)[0].formula in (longer, RELU)
        second = judge([SILU, longer])
        assert second[1] == first
        assert second[0].value == pytest.approx(first.value + 0.04)
        judged = judge.known[SILU.fingerprint]
        assert (judged.formula, judged.result) == (SILU, second[0])
        judge([longer])
        assert judge.known[SILU.fingerprint].formula == SILU

    def test_at_a_tie_the_shorter_spelling_is_kept(self, archive):
        judge = make_judge(PlainReward(lambda fs: [RewardResult(1.0) for _ in fs], "r"), archive, seeds_per_formula=1)
        judge([LONG_SILU, SILU, TANH])
        assert judge.known[SILU.fingerprint].formula == SILU
        assert [j.formula for j in judge.leaderboard(5)] == [TANH, SILU]  # and the shorter function leads

    def test_statuses_have_their_configured_values(self, archive, tmp_path):
        values = StatusValues(unfit=-2.0, diverged=-3.0, failed=-4.0)
        judge = make_judge(FakeReward(), archive, status_values=values, rescoring=NEVER)
        results = judge(parse("exp(x)", "cosh(x)", "tanh(x)"))
        assert [(r.value, r.status) for r in results[:2]] == [(-2.0, Status.UNFIT), (-3.0, Status.DIVERGED)]
        assert [r.message for r in results] == ["exp", "cosh", ""]
        assert {j.formula for j in judge.leaderboard(9)} == {TANH, RELU}
        assert [row[5:] for row in rows(archive.path)[1]] == [
            ("unfit", -2.0), ("diverged", -3.0), ("ok", pytest.approx(results[2].value)),
        ]  # fmt: skip
        assert judge.report.share(Status.UNFIT) == pytest.approx(1 / 3)
        # Unfit formulas are screened, not trained: 4 evaluations of cosh and 4 of tanh count.
        assert judge.report.evaluations == 8

    def test_progress_counts_evaluations(self, archive):
        recorder = Recorder()
        rescoring = RescoringSettings(every=1, best=1)
        judge = make_judge(FakeReward(), archive, events=recorder, rescoring=rescoring)
        assert recorder.calls == []  # the baseline is no part of a round
        judge([TANH])
        # Nor does rescoring make the bar run backwards.
        assert recorder.progress == [("trainings", 2, 4), ("trainings", 4, 4)]

    def test_the_leaderboard_is_sorted_and_short(self, archive):
        judge = make_judge(FakeReward(), archive, rescoring=NEVER)
        for formulas in ROUNDS:
            judge(formulas)
        values = [j.result.value for j in judge.leaderboard(100)]
        assert values == sorted(values, reverse=True)
        assert [j.result.value for j in judge.leaderboard(3)] == values[:3]


class Untidy(FakeReward):
    """Screens first and trains proxy by proxy, as the default reward does: evaluations come in another order."""

    def evaluate(self, requests):
        order = sorted(requests, key=lambda r: ("exp" not in r.formula.tokens, r.proxy))
        return super().evaluate(order[::-1] if len(order) % 3 else order)


class TestWhatSearchMethodsSee:
    def test_the_functions_judged_last(self, archive):
        judge = make_judge(FakeReward(), archive, rescoring=NEVER)
        assert judge.recent(5) == []  # a reference that nobody has proposed is no parent
        judge([X, TANH, X])
        judge([SIN, TANH, LONG_SILU])
        judge([SILU, RELU])  # nothing new
        assert [j.formula.fingerprint for j in judge.recent(9)] == [
            f.fingerprint for f in (SILU, SIN, TANH, X, RELU)
        ]  # fmt: skip
        assert judge.recent(2) == judge.recent(9)[:2]
        assert judge.recent(0) == []

    def test_many_references_that_nobody_has_proposed_hide_nobody(self, archive):
        reward = FakeReward()
        reward.references += [Training(f, "p", 0) for f in parse("cos(x)", "atan(x)", "erf(x)", "tanh(x)")]
        judge = make_judge(reward, archive, rescoring=NEVER)
        judge([X, SIN, SILU])
        assert [j.formula for j in judge.recent(2)] == [SILU, SIN]
        assert [j.formula for j in judge.recent(9)] == [SILU, SIN, X]
        assert judge.functions == 3
        judge([TANH])
        assert [j.formula for j in judge.recent(9)] == [SILU, SIN, X, TANH]  # it has been known for longest
        assert (judge.functions, judge.candidates) == (4, 3)

    def test_candidates_are_functions_that_were_trained(self, archive):
        """Screened ones, references, repeats and further seeds do not count; what diverges was trained."""
        judge = make_judge(FakeReward(), archive, rescoring=RescoringSettings(every=1, best=9))
        assert (judge.candidates, judge.proposals) == (0, 0)
        judge(parse("exp(x)", "cosh(x)", "tanh(x)", "tanh(x)", "relu(x)"))
        assert (judge.candidates, judge.proposals) == (2, 5)
        judge([TANH, SIN])
        assert (judge.candidates, judge.proposals) == (3, 7)

    @pytest.mark.parametrize("reward", [FakeReward, Untidy])
    @pytest.mark.parametrize("done", range(len(ROUNDS) + 1))
    def test_all_of_it_is_the_same_after_resuming(self, archive, reward, done):
        """In whatever order the reward yields; what a round left beyond the checkpoint is not seen before its time."""
        judge, seen = make_judge(reward(), archive), []
        for formulas in [*ROUNDS, []]:
            ages = [(j.formula, j.result, j.seeds) for j in judge.recent(100)]
            seen.append((ages, judge.candidates, judge.proposals))
            if formulas:
                judge(formulas)
        judge = make_judge(reward(), archive, first_round=done)
        ages = [(j.formula, j.result, j.seeds) for j in judge.recent(100)]
        assert list(map(repr, ages)) == list(map(repr, seen[done][0]))
        assert (judge.candidates, judge.proposals) == seen[done][1:]
