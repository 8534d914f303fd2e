import logging
import math

import numpy as np
import pytest
import torch
from helpers_judging import SIN, TANH, X, make_judge, rows

from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.own import PlainReward

torch.set_num_threads(1)


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
