"""Formulas that begin with a minus, on the command line."""

import pytest

from rlsearch import export
from rlsearch.cli.arguments import FORMULA_VERBS, with_formulas
from rlsearch.cli.verbs import app


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["export", "-asinh(x)"], ["export", " -asinh(x)"]),
        (["evaluate", "-x*tanh(x)", "gelu(x)", "--seeds", "2"], ["evaluate", " -x*tanh(x)", "gelu(x)", "--seeds", "2"]),
        (["export", "-x"], ["export", " -x"]),
        (["export", "-2 + x"], ["export", " -2 + x"]),
        (["export", "-sin(x"], ["export", " -sin(x"]),  # a formula with a mistake
        (["confirm", "--formulas", "-x**2", "-o", "here"], ["confirm", "--formulas", " -x**2", "-o", "here"]),
        (["bench", "kernels", "-tanh(x)"], ["bench", "kernels", " -tanh(x)"]),
        # options, and what is none of both
        (["export", "x", "-o", "f.py", "--format=torch"], ["export", "x", "-o", "f.py", "--format=torch"]),
        (["export", "-foo"], ["export", "-foo"]),
        (["export", "-of.py", "-"], ["export", "-of.py", "-"]),
        # after --, nothing is an option
        (["export", "--", "-sin(x)"], ["export", "--", "-sin(x)"]),
        (["export", "-x", "--", "-x"], ["export", " -x", "--", "-x"]),
        # other verbs
        (["sample", "-n", "3"], ["sample", "-n", "3"]),
        ([], []),
    ],
)
def test_a_formula_is_told_from_an_option(given, read):
    assert with_formulas(given) == read


def test_the_verbs_are_there():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    assert set(FORMULA_VERBS) <= names


@pytest.mark.parametrize("text", ["-asinh(x)", "-x*tanh(x)", "-(x + 1)", "-x", "-cos(x)"])
def test_export_takes_it_with_and_without_two_dashes(run, text):
    expected = (0, export(text), "")
    assert run("export", text) == run("export", "--", text) == expected
    assert run("export", text, "--format", "latex") == run("export", "--format", "latex", "--", text)


def test_a_mistake_in_it_is_told_as_in_any_formula(run):
    code, out, err = run("export", "-asin(x)")
    assert (code, out) == (2, "")
    assert err.startswith("rlsearch: unknown function 'asin'")
    assert run("export", "-foo")[2].startswith("rlsearch: No such option: -f")
