from hypothesis import given
from hypothesis import strategies as st

from rlsearch.judging.leaderboard import Leaderboard


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3), st.booleans()), max_size=60), st.integers(0, 12))
def test_the_best_are_those_of_a_sort_whatever_changed(changes, count):
    """Ten names; each change gives one of them a value, and now and then the best are asked for meanwhile."""
    values = {}
    board = Leaderboard(lambda name: (values[name], name))
    for number, value, ask in changes:
        name = str(number)
        values[name] = value
        board.put(name)
        if ask:
            board.best(3)
    expected = sorted(values, key=lambda name: (values[name], name))
    assert board.best(count) == expected[:count]
    assert board.best(20) == expected


def test_what_it_begins_with():
    values = {"a": 3, "b": 1, "c": 2}
    board = Leaderboard(lambda name: (values[name], name), values)
    assert board.best(2) == ["b", "c"]
    board.put("b")  # nothing has changed
    assert board.best(9) == ["b", "c", "a"]
