"""Random formulas for property tests; ``from strategies import FIXED, formulas``."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from rlsearch.formula import OPERATORS, Formula

FIXED = settings(derandomize=True, deadline=None, database=None)
"""The same examples on every run, with no limit per example: ``@settings(FIXED, max_examples=50)``."""

SMALL_CONSTANTS = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -0.25])
"""Small numbers, among them those that equal the indices of values in a program."""

ANY_CONSTANTS = st.one_of(SMALL_CONSTANTS, st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def formulas(
    draw: st.DrawFn,
    operators: Sequence[str] = tuple(OPERATORS),
    inputs: Sequence[str] = ("x",),
    parameters: Sequence[str] = (),
    constants: st.SearchStrategy[float] | None = SMALL_CONSTANTS,
    max_size: int = 12,
) -> Formula:
    """Formulas of at most ``max_size`` tokens over the given ones; every such formula can come."""
    leaves = st.sampled_from([*inputs, *parameters])
    if constants is not None:
        leaves = st.one_of(leaves, constants)
    by_arity = {n: [name for name in operators if OPERATORS[name].arity == n] for n in (1, 2)}
    tokens: list[str | float] = []
    open_slots = 1
    while open_slots:
        room = max_size - len(tokens) - open_slots
        arity = draw(st.sampled_from([0, *(n for n in (1, 2) if n <= room and by_arity[n])]))
        tokens.append(draw(st.sampled_from(by_arity[arity]) if arity else leaves))
        open_slots += arity - 1
    if not set(tokens) & set(inputs):
        tokens[-1] = draw(st.sampled_from(list(inputs)))  # the last token of a prefix sequence is a leaf
    return Formula(tuple(tokens))
