import contextlib
import hashlib
import logging
import math
import sqlite3

import numpy as np
import pytest
import torch
from helpers import Recorder, evaluated

from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge, Rung
from rlsearch.judging.settings import RescoringSettings
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.own import PlainReward
from rlsearch.rewards.staged import StagedReward

torch.set_num_threads(1)

NEVER = RescoringSettings(every=0)


def parse(*texts):
    return [Formula.parse(text) for text in texts]


X, RELU, TANH, SIN = parse("x", "relu(x)", "tanh(x)", "sin(x)")
SILU, LONG_SILU = parse("x * sigmoid(x)", "x / (1 + exp(-x))")
assert SILU.fingerprint == LONG_SILU.fingerprint


class FakeReward:
    """Two proxies without training: a score is a hash of function, proxy name and seed, in populations of two.

    A formula's reward is its mean score minus 0.01 per token, so a shorter spelling is the better one. A function
    with ``exp`` in the spelling that is evaluated is unfit, one with ``cosh`` diverges.
    """

    seeded = True
    proxy_names = rescoring_proxy_names = ("p", "q")

    def __init__(self, stop_at=None, baseline_seeds=3):
        self.references = [Training(RELU, p, s) for p in self.proxy_names for s in range(baseline_seeds)]
        self.stop_at = stop_at
        self.populations = 0
        self.requested = []
        self.baseline = None

    @staticmethod
    def score(request):
        text = f"{request.formula.fingerprint} {request.proxy} {request.seed}"
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32

    def refer(self, evaluations):
        self.baseline = np.mean([e.score for e in evaluations])

    def evaluate(self, requests):
        self.requested += requests
        for start in range(0, len(requests), 2):
            if self.populations == self.stop_at:
                raise KeyboardInterrupt
            self.populations += 1
            yield [self._evaluation(request) for request in requests[start : start + 2]]

    def _evaluation(self, request):
        for operator, status in (("exp", Status.UNFIT), ("cosh", Status.DIVERGED)):
            if operator in request.formula.tokens:
                return evaluated(request, None, status, message=operator, wall_seconds=0.5)
        return evaluated(request, self.score(request), latency=1.5, wall_seconds=0.5)

    def combine(self, formula, evaluations):
        evaluations = list(evaluations)
        bad = [e.result for e in evaluations if e.status is not Status.OK]
        if bad:
            return RewardResult(math.nan, bad[0].status, message=bad[0].message)
        score = math.fsum(e.score for e in evaluations) / len(evaluations)
        return RewardResult(score - self.baseline - 0.01 * formula.size, Status.OK, score)


ROUNDS = [
    parse("x", "tanh(x)", "x", "x / (1 + exp(-x))", "x + x", "cosh(x)", "sin(x)", "2 * x"),
    parse("cos(x)", "sin(x)", "x * x", "x**2", "x + sin(x)", "tanh(x)", "softplus(x)", "max(x, 0)"),
    parse("x * sigmoid(x)", "atan(x)", "sin(x) + x", "erf(x)", "atan(x)", "x * tanh(x)", "gauss(x)", "cos(x)"),
    parse("x - sin(x)", "erf(x)", "x", "softsign(x)", "x * x", "exp(x)", "asinh(x)", "asinh(x) + 0 * x"),
    parse("x * erf(x)", "x - 0 * x", "sin(x) * sin(x)", "relu(x)", "elu(x)", "x + x", "tanh(x) * x", "1 / x"),
]


def make_judge(reward, archive, first_round=0, seeds_per_formula=2, rescoring=None, **more):
    rescoring = rescoring or RescoringSettings(every=2, best=3, max_seeds=5)
    return Judge(
        reward, archive, lambda i: i, seeds_per_formula=seeds_per_formula, rescoring=rescoring,
        first_round=first_round, **more,
    )  # fmt: skip


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


def rows(path):
    """Everything in the archive but the wall times."""
    connection = sqlite3.connect(path)
    columns = "id, round, fingerprint, formula, protocol, seed, status, score, latency, value, message"
    found = [
        connection.execute(f"SELECT {columns} FROM evaluations ORDER BY id").fetchall(),
        connection.execute("SELECT * FROM proposals ORDER BY round, slot").fetchall(),
    ]
    connection.close()
    return found


def state(judge):
    """What the controller and the leaderboard see of a judge."""
    return {k: (j.formula, repr(j.result), len(judge.ledger.of(k)), j.seeds, j.rung) for k, j in judge.known.items()}


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "archive.sqlite", create=True) as archive:
        yield archive


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
        assert [str(j.formula) for j in judge.recent(5)] == ["relu(x)"]  # the reference
        judge([X, TANH, X])
        judge([SIN, TANH, LONG_SILU])
        judge([SILU, RELU])  # nothing new
        assert [j.formula.fingerprint for j in judge.recent(9)] == [
            f.fingerprint for f in (SILU, SIN, TANH, X, RELU)
        ]  # fmt: skip
        assert judge.recent(2) == judge.recent(9)[:2]
        assert judge.recent(0) == []

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


class TestPlainReward:
    """A user's reward that misbehaves: the formula is named, the status is failed, the run goes on."""

    def judged(self, archive, reward, formulas, **more):
        judge = make_judge(PlainReward(reward, "mine"), archive, seeds_per_formula=1, **more)
        return judge(formulas)

    def test_what_it_returns_is_kept(self, archive):
        results = self.judged(archive, lambda fs: [RewardResult(0.5, Status.OK, 0.75, 2.0)] * len(fs), [X, TANH])
        assert results == [RewardResult(0.5, Status.OK, 0.75, 2.0)] * 2
        assert [row[4:] for row in rows(archive.path)[0]] == [("mine", 0, "ok", 0.75, 2.0, 0.5, "")] * 2

    def test_its_own_status(self, archive):
        def reward(formulas):
            return [RewardResult(0.0, Status.UNFIT, message="too odd") for _ in formulas]

        (result,) = self.judged(archive, reward, [X], status_values=StatusValues(unfit=-7.0))
        assert (result.value, result.status, result.message) == (-7.0, Status.UNFIT, "too odd")

    def test_one_that_raises_for_one_formula(self, archive, caplog):
        def reward(formulas):
            if TANH in formulas:
                raise ZeroDivisionError("no tanh, please")
            return [RewardResult(1.0) for _ in formulas]

        with caplog.at_level(logging.WARNING):
            results = self.judged(archive, reward, [X, TANH, SIN], status_values=StatusValues(failed=-9.0))
        assert [(r.value, r.status) for r in results] == [(1.0, Status.OK), (-9.0, Status.FAILED), (1.0, Status.OK)]
        assert results[1].message == "the reward raised ZeroDivisionError: no tanh, please"
        assert [r.getMessage() for r in caplog.records] == [f"'tanh(x)' failed: {results[1].message}"]

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (lambda fs: [RewardResult(1.0)] * (len(fs) + 1), "the reward returned 2 result(s) for 1 formula(s)"),
            (lambda fs: [], "the reward returned 0 result(s) for 1 formula(s)"),
            (lambda fs: [0.5] * len(fs), "the reward returned a float; expected RewardResult"),
            (lambda fs: None, "the reward raised TypeError: 'NoneType' object is not iterable"),
            (lambda fs: [RewardResult(math.nan)] * len(fs), "value=nan"),
            (lambda fs: [RewardResult(math.inf)] * len(fs), "its value is not finite"),
            (lambda fs: [RewardResult(None)] * len(fs), "value=None"),
            (lambda fs: [RewardResult("high")] * len(fs), "could not convert string to float"),
            (lambda fs: [RewardResult(np.ones(3))] * len(fs), "the reward returned RewardResult"),
            (lambda fs: [RewardResult(0.0, "fine")] * len(fs), "'fine' is not a valid Status"),
        ],
    )
    def test_one_that_breaks_its_contract(self, archive, caplog, answer, message):
        with caplog.at_level(logging.WARNING):
            results = self.judged(archive, answer, [X, TANH])
        assert [(r.value, r.status) for r in results] == [(-1.0, Status.FAILED)] * 2
        assert all(message in r.message for r in results)
        assert [r.getMessage().split(" failed: ")[0] for r in caplog.records] == ["'x'", "'tanh(x)'"]
        assert [row[6:8] for row in rows(archive.path)[0]] == [("failed", None)] * 2

    def test_numbers_of_numpy_and_torch_are_numbers(self, archive):
        answers = {
            X: RewardResult(np.float32(0.5), Status.OK, np.float16(0.25), np.int64(2)),
            TANH: RewardResult(torch.tensor(0.5), "ok", torch.tensor(0.25), torch.tensor(2)),
            SIN: RewardResult(1, Status.OK, np.float64(0.25), None),
        }
        results = self.judged(archive, lambda fs: [answers[f] for f in fs], [X, TANH, SIN])
        assert results == [RewardResult(0.5, Status.OK, 0.25, 2.0)] * 2 + [RewardResult(1.0, Status.OK, 0.25)]
        assert {type(r.value) for r in results} == {float}
        assert [row[7:10] for row in rows(archive.path)[0]] == [(0.25, 2.0, 0.5)] * 2 + [(0.25, None, 1.0)]

    def test_the_run_goes_on_and_failures_are_not_tried_again(self, archive):
        calls = []

        def reward(formulas):
            calls.append(list(formulas))
            if len(calls) < 3:
                raise ValueError
            return [RewardResult(1.0) for _ in formulas]

        judge = make_judge(PlainReward(reward, "r"), archive, seeds_per_formula=1)
        first = judge([X, TANH])  # together, then one by one; the second of those is the third call
        assert [r.status for r in first] == [Status.FAILED, Status.OK]
        assert [r.status for r in judge([X, SIN])] == [Status.FAILED, Status.OK]
        assert calls == [[X, TANH], [X], [TANH], [SIN]]

    def test_an_interrupt_is_not_swallowed(self, archive):
        def reward(formulas):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.judged(archive, reward, [X])
        assert rows(archive.path) == [[], []]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: rows of its archive, state of its judge, populations and results."""
    path = tmp_path_factory.mktemp("whole") / "archive.sqlite"
    reward = FakeReward()
    with Archive(path, create=True) as archive:
        judge = make_judge(reward, archive)
        results = [judge(formulas) for formulas in ROUNDS]
        board = [(j.formula, j.result, j.seeds) for j in judge.leaderboard(50)]
        return rows(path), state(judge), board, results, reward.populations


class TestResuming:
    def test_the_whole_has_all_that_matters(self, whole):
        (evaluations, proposals), known, board, _, populations = whole
        assert len(proposals) == 40
        assert populations > 40
        assert len({row[5] for row in evaluations}) > 3  # rescored several times
        assert {row[6] for row in evaluations} == {"ok", "unfit", "diverged"}
        assert len(known) < 40  # spellings were merged
        assert len(board) < len(known)

    def finish(self, path, first_round, whole):
        """Goes on from ``first_round`` with a new judge and checks that all is as in the uninterrupted run."""
        stored = {(row[2], row[4], row[5]) for row in rows(path)[0]}
        reward = FakeReward()
        with Archive(path) as archive:
            judge = make_judge(reward, archive, first_round)
            results = [judge(formulas) for formulas in ROUNDS[first_round:]]
            board = [(j.formula, j.result, j.seeds) for j in judge.leaderboard(50)]
            assert rows(path) == whole[0]
            assert state(judge) == whole[1]
            assert board == whole[2]
            assert list(map(repr, results)) == list(map(repr, whole[3][first_round:]))
        requested = {(r.formula.fingerprint, r.proxy, r.seed) for r in reward.requested}
        assert not requested & stored
        assert len(requested) == len(reward.requested) == len(whole[0][0]) - len(stored)

    @pytest.mark.parametrize("stop_at", range(0, 48))
    def test_interrupted_at_any_population(self, tmp_path, whole, stop_at):
        """Also among the references (the first three populations) and in a rescoring."""
        path = tmp_path / "archive.sqlite"
        assert stop_at < whole[4]
        first_round, judge = 0, None
        with Archive(path, create=True) as archive:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                judge = make_judge(FakeReward(stop_at), archive)
                for formulas in ROUNDS:
                    judge(formulas)
            first_round = judge.round if judge else 0
        assert len(rows(path)[0]) < len(whole[0][0])
        self.finish(path, first_round, whole)

    @pytest.mark.parametrize("done", range(len(ROUNDS) + 1))
    def test_between_two_rounds(self, tmp_path, whole, done):
        path = tmp_path / "archive.sqlite"
        with Archive(path, create=True) as archive:
            judge = make_judge(FakeReward(), archive)
            for formulas in ROUNDS[:done]:
                judge(formulas)
        self.finish(path, done, whole)

    @pytest.mark.parametrize("checkpoint", range(len(ROUNDS)))
    def test_from_a_checkpoint_older_than_the_archive(self, tmp_path, whole, checkpoint):
        """What later rounds left is taken at its time, and nothing is asked for again."""
        path = tmp_path / "archive.sqlite"
        with Archive(path, create=True) as archive:
            judge = make_judge(FakeReward(), archive)
            for formulas in ROUNDS:
                judge(formulas)
        self.finish(path, checkpoint, whole)

    def test_a_plain_reward_interrupted_among_failures(self, tmp_path):
        """After the call for all has failed, formulas are asked for one by one; those that were done stay done."""
        calls = []

        def reward(formulas, stop=None):
            calls.append(list(formulas))
            if stop in formulas and len(formulas) == 1:
                raise KeyboardInterrupt
            if TANH in formulas:
                raise ValueError("no")
            return [RewardResult(float(f.size)) for f in formulas]

        formulas = [X, TANH, SIN, RELU]
        found = []
        for name, stop in (("whole", None), ("broken", SIN)):
            path = tmp_path / name
            with Archive(path, create=True) as archive:
                judge = make_judge(PlainReward(lambda fs, stop=stop: reward(fs, stop), "r"), archive, 0, 1)
                if stop:
                    with pytest.raises(KeyboardInterrupt):
                        judge(formulas)
                    calls.clear()
                    judge = make_judge(PlainReward(reward, "r"), archive, 0, 1)
                judge(formulas)
            found.append(rows(path))
        assert found[0] == found[1]
        assert calls == [[SIN, RELU]]


@pytest.mark.parametrize(
    ("values", "message"), [({"every": -1}, "every"), ({"best": 0}, "best"), ({"max_seeds": 1}, "max_seeds")]
)
def test_rescoring_settings(values, message):
    with pytest.raises(Exception, match=message) as caught:
        RescoringSettings.check(values)
    assert type(caught.value).__name__ == "ConfigError"
