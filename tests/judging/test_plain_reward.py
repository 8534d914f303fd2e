import logging
import math
import os

import numpy as np
import pytest
import torch
from helpers_judging import SIN, TANH, X, make_judge, rows

from rlsearch.common.users_code import LONGEST_MESSAGE
from rlsearch.judging.archive import Archive
from rlsearch.proxies.base import Training
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
            (lambda fs: [RewardResult(math.inf)] * len(fs), "its value is inf; expected a number from -3.4e+38 to"),
            (
                lambda fs: [RewardResult(1e39)] * len(fs),
                "its value is 1e+39; expected a number from -3.4e+38 to",
            ),
            (lambda fs: [RewardResult(10**400)] * len(fs), "int too large to convert to float"),
            (lambda fs: [RewardResult(0.0, score=math.nan)] * len(fs), "its score is nan; expected a finite number"),
            (lambda fs: [RewardResult(0.0, latency=10**400)] * len(fs), "int too large to convert to float"),
            (lambda fs: [RewardResult(0.0, gains={"a": None})] * len(fs), "its gains['a'] is None"),
            (lambda fs: [RewardResult(0.0, scores=3)] * len(fs), "'int' object has no attribute 'items'"),
            (lambda fs: lambda: 1, "the reward returned a function, which is callable; was it made without its"),
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

    @pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), RecursionError(), OverflowError("much")])
    def test_whatever_it_raises_the_run_goes_on(self, archive, error):
        def reward(formulas):
            raise error

        (result,) = self.judged(archive, reward, [X])
        assert result.status is Status.FAILED
        assert result.message.startswith(f"the reward raised {type(error).__name__}: ")

    def test_an_interrupt_is_not_swallowed(self, archive):
        def reward(formulas):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.judged(archive, reward, [X])
        assert rows(archive.path) == [[], []]

    def test_its_scores_and_gains_are_kept_and_come_back(self, tmp_path):
        """Of numpy too; a resumed run knows them as before."""
        result = RewardResult(0.5, Status.OK, 0.75, 2.0, "", 0.125, {"a": 0.5, "b": 0.25}, {"a": 1.0})
        given = RewardResult(
            0.5, Status.OK, 0.75, 2.0, "", np.float64(0.125), {"a": np.float32(0.5), "b": 0.25}, {"a": torch.ones(())}
        )
        path = tmp_path / "kept.sqlite"
        with Archive(path, create=True) as archive:
            assert self.judged(archive, lambda fs: [given] * len(fs), [X]) == [result]
            assert [judged.result for _, judged in archive.functions()] == [result]
        with Archive(path) as archive:
            judge = make_judge(PlainReward(None, "mine"), archive, first_round=1)
            assert judge.known[X.fingerprint].result == result

    def test_what_it_does_to_its_formulas_is_its_own(self, archive):
        def sorting(formulas):
            ordered = sorted(formulas, key=str)
            assert isinstance(formulas, tuple)
            return [RewardResult(float(ordered.index(f))) for f in formulas]

        assert [r.value for r in self.judged(archive, sorting, [X, TANH, SIN])] == [2.0, 1.0, 0.0]

    def test_what_it_does_to_the_process_is_undone(self, archive, tmp_path):
        def reward(formulas):
            os.chdir(tmp_path)
            torch.set_grad_enabled(False)
            torch.manual_seed(0)
            return [RewardResult(0.0)] * len(formulas)

        here, numbers = os.getcwd(), torch.get_rng_state()
        assert self.judged(archive, reward, [X])[0].status is Status.OK
        assert os.getcwd() == here
        assert torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), numbers)

    def test_its_random_numbers_follow_from_formulas_and_the_runs_seed(self):
        def draws(run_seed, formulas, outside):
            torch.manual_seed(outside)
            reward = PlainReward(lambda fs: [RewardResult(torch.rand(()).item()) for _ in fs], "r", run_seed)
            (population,) = reward.evaluate([Training(f, "r", 0) for f in formulas])
            return [evaluation.result.value for evaluation in population]

        first = draws(0, [X, TANH], 1)
        assert first == draws(0, [X, TANH], 2)
        assert len({*first, *draws(1, [X, TANH], 1), *draws(0, [TANH, X], 1)}) == 6

    def test_texts_that_the_archive_does_not_take(self, archive):
        """A file name with a byte of Latin-1, and one of a megabyte."""
        for text in ("no file \udce9", "x" * 1_000_000):

            def reward(formulas, text=text):
                raise OSError(text)

            (result,) = self.judged(archive, reward, [X] if "file" in text else [TANH])
            assert result.status is Status.FAILED
            assert len(result.message) <= LONGEST_MESSAGE
        messages = [row[10] for row in rows(archive.path)[0]]
        assert messages[0] == "the reward raised OSError: no file \\udce9"
