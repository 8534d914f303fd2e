import pytest

from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.judging.history import History, Judged
from rlsearch.rewards.base import RewardResult, Status


def judged(text, value, rung=0, status=Status.OK, **more):
    return Judged(Formula.parse(text), RewardResult(value, status), rung=rung, **more)


FUNCTIONS = [
    ("relu", judged("relu(x)", 0.0, is_reference=True)),
    ("sin", judged("sin(x)", 0.3)),
    ("long", judged("sin(x) + x", 0.3)),
    ("unfit", judged("exp(x)", 0.9, status=Status.UNFIT)),
    ("risen", judged("tanh(x)", 0.1, rung=1)),
    ("later", judged("cos(x)", 0.3)),
]
BEST_FIRST = ["risen", "sin", "later", "long", "relu"]
"""By rung, then reward, then size, then the order in which they came."""


def names(board):
    of = {id(each): name for name, each in FUNCTIONS}
    return [of[id(each)] for each in board]


def test_functions_are_ranked_by_rung_reward_and_size():
    history = History(FUNCTIONS)
    assert names(history.leaderboard(10)) == BEST_FIRST
    assert names(history.leaderboard(2)) == BEST_FIRST[:2]
    assert names(history.recent(2)) == ["later", "risen"]
    assert list(history.known) == [name for name, _ in FUNCTIONS]


def test_what_was_found_is_no_reference():
    history = History([*FUNCTIONS, ("best", judged("x * x", 9.0, rung=1, is_reference=True))])
    assert history.leaderboard(1) == [history.known["best"]]
    assert names(history.found(2)) == BEST_FIRST[:2]
    assert names(history.found(10)) == [name for name in BEST_FIRST if name != "relu"]


def test_a_function_whose_rank_has_changed_moves():
    history = History((name, Judged(each.formula, each.result, rung=each.rung)) for name, each in FUNCTIONS)
    sine = history.known["sin"]
    sine.result = RewardResult(-5.0)
    history.put("sin", sine)
    assert history.leaderboard(10)[-1] is sine
    assert len(history.leaderboard(10)) == 5
    assert history.number("sin") == 1


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "archive.sqlite", create=True) as archive:
        yield archive


def entries(functions=FUNCTIONS):
    return [(number, name, each) for number, (name, each) in enumerate(functions)]


@pytest.mark.parametrize("best", [None, 1, 2, 3, 5, 10])
def test_the_archive_ranks_as_the_history_does(archive, best):
    """SQL's order is that of Judged.rank."""
    archive.begin_at(0, entries()[:1])
    archive.add_round(0, [], entries()[1:])
    history = History(archive.functions(best))
    found = [judged.formula for judged in history.leaderboard(best or 10)]
    of = dict(FUNCTIONS)
    assert found == [of[name].formula for name in BEST_FIRST[: best or 10]]


def test_what_a_round_changes_takes_the_place_of_what_was(archive):
    archive.begin_at(0, entries()[:1])
    archive.add_round(0, [], entries()[1:3])
    better = Judged(Formula.parse("sin(x)"), RewardResult(0.7, score=0.9, standard_error=0.01), seeds=4)
    archive.add_round(1, [], [(1, "sin", better), entries()[4]])
    known = dict(archive.functions())
    assert list(known) == ["relu", "sin", "long", "risen"]
    assert known["sin"] == better


def test_a_run_that_begins_a_round_again_forgets_what_came_of_it(archive):
    """Functions of the round are gone, and those that it changed are what they were before."""
    archive.begin_at(0, entries()[:1])
    archive.add_round(0, [], entries()[1:3])
    before = list(archive.functions())
    better = Judged(Formula.parse("sin(x)"), RewardResult(0.7), seeds=4)
    archive.add_round(1, [], [(1, "sin", better), entries()[4]])
    archive.begin_at(1, entries()[:3])
    assert list(archive.functions()) == before
