import pytest

from rlsearch import Formula, export
from rlsearch.errors import InputError
from rlsearch.formula.exports import FORMATS
from rlsearch.formula.operators import OPERATORS


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_every_format_writes_every_operator(form, operator):
    """As a file: its last line ends. With an array, and with a constant where an operator takes one."""
    operands = [("x",)] if operator.arity == 1 else [("x", "x"), ("x", 2.5), (2.5, "x")]
    texts = [export(Formula((operator.name, *given)), form) for given in operands]
    for text in texts:
        assert text.strip()
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
    assert len(set(texts)) == len(texts)


def test_a_format_is_found_by_its_name():
    formula = Formula.parse("x * sigmoid(x)")
    assert export(formula) == formula.source()
    assert export(formula, "latex") == formula.latex() + "\n"
    with pytest.raises(InputError, match=r"unknown export format 'ltex'; expected one of .*; did you mean 'latex'"):
        export(formula, "ltex")
