import re

import pytest

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.formula import hints

ELSEWHERE = [
    ("x^2", "write x**2"),
    ("x**0.5", "write sqrt(x), which is the root of abs(x)"),
    ("x**(1/2)", "write sqrt(x), which is the root of abs(x)"),
    ("x**-2", "write 1 / x**2"),
    ("np.tanh(x)", "write tanh(x) without the module"),
    ("x + torch.nn.functional.gelu(x)", "write gelu(x) without the module"),
    ("math.tanh(x)", "write tanh(x) without the module"),
    ("F.gelu(x)", "write gelu(x) without the module"),
    ("ln(x)", "write log(x)"),
    ("pow(x, 2)", "write x**2"),
    ("clamp(x, 0, 1)", "write min(max(x, 0), 1)"),
    ("clip(x, 0, 1)", "write min(max(x, 0), 1)"),
    ("|x|", "write abs(x)"),
    ("x \u2212 1", "write -"),
    ("2 \u00d7 x", "write *"),
    ("2 \u00b7 x", "write *"),
    ("\u03c3(x)", "write sigmoid(x)"),
    ("x\u00b2", "write x**2"),
    ("2x", "write 2 * x"),
    ("x + 0.5tanh(x)", "write 0.5 * tanh(x)"),
]


@pytest.mark.parametrize(("text", "hint"), ELSEWHERE)
def test_another_notation_is_told_what_to_write(text, hint):
    with pytest.raises(FormulaError) as info:
        Formula.parse(text)
    first = str(info.value).split("\n")[0]
    assert re.search(rf" at position \d+; {re.escape(hint)}.*:$", first), first


@pytest.mark.parametrize("text", ["x % g", "x.real", "0x10 * x", "x + 1j", "1e5x", "1e", "x**2.5", "x**g", "geluu(x)"])
def test_what_has_no_hint(text):
    with pytest.raises(FormulaError, match=r" at position \d+:"):
        Formula.parse(text)


def test_what_a_hint_proposes_can_be_read():
    for hint in [*hints._CHARACTERS.values(), *hints._FUNCTIONS.values()]:
        written = hint.removeprefix("write ").removesuffix(" for a power")
        if written in ("-", "*", "/"):
            continue
        assert Formula.parse(f"x * h + {written}").size > 3
