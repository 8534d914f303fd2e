import pytest
from helpers_judging import RELU, ROUNDS, SIN, TANH, FakeReward, X, make_judge, rows, state

from rlsearch.judging.archive import Archive
from rlsearch.rewards.base import RewardResult
from rlsearch.rewards.own import PlainReward


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
