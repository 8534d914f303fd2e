import pytest

from rlsearch.formula import OPERATORS
from rlsearch.formula.named import NAMED


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_every_operator_with_its_guard(run):
    code, out, err = run("operators")
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    for name in OPERATORS:
        assert f" {name}(" in out
    assert "guard: nearer to 0 than 1e-6: the chord 1000 * abs(a)" in lines
    assert "slope: 1 / b by a; -a / b**2 by b" in lines
    assert "source: Nair and Hinton 2010; torch.nn.functional.relu" in lines


def test_every_named_function(run):
    code, out, err = run("operators", "--names")
    assert (code, err) == (0, "")
    for name, function in NAMED.items():
        assert f" {name}(" in out
        assert function.body[:40] in out
    assert " swiglu(x, g) " in out


def test_a_page_for_the_documentation(run):
    code, out, err = run("operators", "--markdown")
    assert (code, err) == (0, "")
    rows = [line for line in out.splitlines() if line.startswith("| `")]
    assert len(rows) == len(OPERATORS) + len(NAMED)
    assert {row.count(" | ") for row in rows[: len(OPERATORS)]} == {4}
    assert {row.count(" | ") for row in rows[len(OPERATORS) :]} == {2}
    assert (
        "| `div(a, b)` | `a / b` | `1 / b`; `-a / b**2` | "
        "b nearer to 0 than 1e-6: divided by 1e-6 with its sign, slope 0 by b |  |"
    ) in rows
