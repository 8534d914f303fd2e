import pytest

from rlsearch.formula import Vocabulary
from rlsearch.formula.template import parts_of

VOCABULARY = Vocabulary(("sin", "add", "mul"), ("x",), (2.0,))


def test_a_form_has_each_part_once_behind_its_operands():
    parts = parts_of(["binary", "unary", "x", "unary", "x"], VOCABULARY)
    assert list(parts.items()) == [
        (("x",), []),
        (("unary", "x"), [("x",)]),
        (("binary", "unary", "x", "unary", "x"), [("unary", "x"), ("unary", "x")]),
    ]


@pytest.mark.parametrize("form", ["x", "add leaf sin x", "mul add x leaf add x unary leaf"])
def test_every_operand_comes_before_what_it_is_in(form):
    parts = parts_of(form.split(), VOCABULARY)
    order = list(parts)
    assert order[-1] == tuple(form.split())
    for part, operands in parts.items():
        assert all(order.index(operand) < order.index(part) for operand in operands)
        assert part == (part[0], *(entry for operand in operands for entry in operand))
