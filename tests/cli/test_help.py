"""The help of every verb: an example that can be pasted, options that say what they do, and lines of 80 columns."""

import shlex

import pytest
from typer.main import get_command

from rlsearch.cli import app


def verbs(command=None, path=()):
    """All verbs, those within ``config`` and ``bench`` too, as the words to type."""
    for name, inner in (command or get_command(app)).commands.items():
        if hasattr(inner, "commands"):
            yield from verbs(inner, (*path, name))
        else:
            yield (*path, name), inner


VERBS = dict(verbs())


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_help_has_an_example_of_the_verb(words):
    lines = [line.strip() for line in (VERBS[words].help or "").splitlines()]
    examples = [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
    assert len(examples) == 1, "write one line 'Example: rlsearch ...' into the docstring"
    typed = shlex.split(examples[0])
    assert " ".join(("rlsearch", *words)) in examples[0]
    # Every option of the example is one of the verb.
    known = [option for parameter in VERBS[words].params for option in parameter.opts]
    assert {word.strip(")") for word in typed if word.startswith("-")} <= set(known)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_option_says_what_it_does(words):
    """In a sentence of its own: it begins with a capital or a value, and does not begin with 'Of' or 'Whose'."""
    for parameter in VERBS[words].params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        said = parameter.help or ""
        assert len(said.split()) >= 3, f"{parameter.name}: {said!r}"
        assert said.endswith("."), f"{parameter.name}: {said!r}"
        assert said.split()[0] not in ("Of", "Whose"), f"{parameter.name}: {said!r}"


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_help_fits_on_80_columns(run, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(*words, "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
