import numpy as np
import pytest

from rlsearch.formula import Formula, FormulaBuilder, Grammar, Vocabulary
from rlsearch_envs import ObservationLayout

GRAMMAR = Grammar(Vocabulary(("max", "neg"), ("x", "g"), (2.0,)), max_length=6)  # max 1, neg 2, x 3, g 4, 2.0 5


def test_parts_follow_each_other():
    layout = ObservationLayout.of(GRAMMAR)
    assert (layout.max_length, layout.n_actions) == (6, 6)
    assert [layout.parent, layout.sibling, layout.open_slots, layout.length] == [6, 7, 8, 9]
    assert layout.mask == slice(10, 16)
    assert layout.size == 16


def test_bounds_of_the_space():
    """Ids are at most 5; at most 6 slots and tokens; the mask is 0 or 1."""
    space = ObservationLayout.of(GRAMMAR).space()
    assert space.shape == (16,)
    assert space.dtype == np.int64
    assert space.low.tolist() == [0] * 16
    assert space.high.tolist() == [5] * 8 + [6] * 2 + [1] * 6


def test_two_rows_at_different_points():
    """Golden: after three tokens, max(-_, _) in the first row; the second row is complete with -x.

    First row, max neg g: the operand of neg is filled, so the parent is max again and its sibling neg. All ids may
    follow but padding: one slot is open and three tokens are left.
    """
    builder = FormulaBuilder(GRAMMAR, 2)
    for actions in ([1, 2], [2, 3], [4, 0]):
        builder.advance(np.array(actions))
    observation = ObservationLayout.of(GRAMMAR).observe(builder, builder.mask())
    assert observation.tolist() == [
        [1, 2, 4, 0, 0, 0, 1, 2, 1, 3, 0, 1, 1, 1, 1, 1],
        [2, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0],
    ]
    assert builder.formula(1) == Formula.parse("-x")


@pytest.mark.parametrize("count", [1, 3])
def test_every_observation_is_a_fresh_array(count):
    builder = FormulaBuilder(GRAMMAR, count)
    layout = ObservationLayout.of(GRAMMAR)
    first, second = (layout.observe(builder, builder.mask()) for _ in range(2))
    first[:] = -1
    assert second.min() == 0
    assert builder.tokens.min() == 0
