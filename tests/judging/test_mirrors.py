import pytest

from rlsearch import Formula
from rlsearch.judging.history import History, Judged
from rlsearch.judging.mirrors import best_groups, grouped
from rlsearch.rewards.base import RewardResult


def judged(text, value, **more):
    return Judged(Formula.parse(text), RewardResult(value), **more)


# As an exhaustive search left it: pairs of f and -f.
BOARD = [
    judged("softplus(x) - cos(x)", 0.9),
    judged("cos(x) - softplus(x)", 0.8),
    judged("-x * cos(x)", 0.7),
    judged("relu(x)", 0.6, is_reference=True),
    judged("x * cos(x)", 0.5),
    judged("-relu(x)", 0.4),
    judged("softplus(-x) - cos(x)", 0.3),
    judged("tanh(x)", 0.2),
]


def test_images_are_one_group_at_the_place_of_the_best():
    groups = grouped(BOARD)
    assert [group.best for group in groups] == [BOARD[i] for i in (0, 2, 3, 5, 7)]
    assert [group.others for group in groups] == [(BOARD[1], BOARD[6]), (BOARD[4],), (), (), ()]


@pytest.mark.parametrize("count", range(1, 8))
def test_as_many_groups_as_were_asked_for(count):
    history = History((judged.formula.fingerprint, judged) for judged in BOARD)
    groups = best_groups(history.leaderboard, count)
    assert [group.best for group in groups] == [group.best for group in grouped(BOARD)][:count]


def test_no_functions_no_groups():
    assert grouped([]) == best_groups(lambda count: [], 3) == []
