import json

import pytest
from helpers import make_config
from helpers_findings import baseline, finding, findings_of, noisy, panel, typical

from rlsearch import Formula, __version__, export, train
from rlsearch.errors import InputError, RunError
from rlsearch.exports.definitions import definitions
from rlsearch.exports.provenance import Exported, best_of, given
from rlsearch.formula.simplify import simplified
from rlsearch.runs.read import top, top_groups
from rlsearch.studies.files import to_json


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return train(make_config(rounds=4, formulas_per_round=32), "a run", runs=tmp_path_factory.mktemp("runs")).run


@pytest.fixture
def confirm(searched):
    """Writes a confirmation of the run, which is taken away afterwards."""
    folder = searched.folder / "confirm"

    def write(findings, proxies=None):
        folder.mkdir(exist_ok=True)
        (folder / "confirm.json").write_text(to_json(findings, proxies or {}, {}))

    yield write
    (folder / "confirm.json").unlink(missing_ok=True)


def test_a_formula_that_was_given_is_not_said_to_be_found():
    exported = given(Formula.parse("x * tanh(x)"))
    assert exported.is_confirmed is None
    assert exported.facts == {
        "formula": "x * tanh(x)",
        "origin": "a formula that was given, written as code by rlsearch",
        "rlsearch": __version__,
    }
    assert "ound by" not in export("x * tanh(x)")


def test_the_leader_of_a_search(searched):
    exported = best_of(searched)
    assert (exported.formula, exported.is_confirmed) == (simplified(top(searched, 1, mirrors=True)[0].formula), False)
    date = searched.read_meta()["created"][:10]
    assert exported.facts["origin"] == f"found by rlsearch, in the run a run of {date}; number 1 of the search"
    assert exported.facts["score"].startswith(f"reward {top(searched, 1, mirrors=True)[0].result.value:+.4f}")
    assert exported.facts["score"].endswith(
        "1 seed(s); as the search saw it, which is partly luck: it was not confirmed"
    )
    assert export(searched, "latex", rank=1) == export(searched.folder, "latex")
    found = [group.best.formula for group in top_groups(searched, 10) if not group.best.is_reference]
    assert best_of(searched, 3).formula == simplified(found[2])


def test_the_first_of_a_confirmation_comes_before_the_leader(searched, confirm):
    confirm(typical())
    exported, first = best_of(searched.folder), typical().formulas[0]
    date = searched.read_meta()["created"][:10]
    assert exported.is_confirmed is True
    assert exported.facts == {
        "formula": "x * atan(x)",
        "origin": f"found by rlsearch, in the run a run of {date}; number 1 of 3 that were confirmed",
        "score": f"accuracy {first.mean:.4g} ± {first.standard_error:.2g}, mean ± standard error over 20 fresh seeds; "
        "confirm/confirm.json of the run",
        "difference to gelu, the strongest baseline": exported.facts["difference to gelu, the strongest baseline"],
        "latency": "1.80 times that of ReLU, quartiles 1.62 to 2.16; some kernel, some cpu",
        "rlsearch": __version__,
    }
    differences, formulas = typical().differences, [f.formula for f in typical().compared]
    row = formulas.index("x * atan(x)")
    assert exported.facts["difference to gelu, the strongest baseline"] == (
        f"{differences.mean[row, 0]:+.3g}, 95 % interval {differences.low[row, 0]:+.3g} to "
        f"{differences.high[row, 0]:+.3g}, p = {differences.p[row, 0]:.2g}; corrected for all pairs"
    )
    assert str(best_of(searched, 2).formula) == "x**2"


def test_one_that_diverged_says_so(searched, confirm):
    confirm(typical())
    exported = best_of(searched, 3)
    assert exported.facts["score"] == "none: it diverged from 1 of 20 fresh seeds"
    assert not [subject for subject in exported.facts if subject.startswith("difference")]


def test_gains_of_a_panel_have_their_unit(searched, confirm):
    confirm(*panel())
    assert " in spreads of the baselines, mean ± standard error" in best_of(searched).facts["score"]


def test_too_few_seeds_give_no_interval(searched, confirm):
    confirm(findings_of([finding("x * x", noisy(0.6, 1, 3))], [baseline("relu", noisy(0.5, 2, 3))]))
    assert ", no interval, p = " in best_of(searched).facts["difference to relu, the strongest baseline"]


def test_ranks_that_are_not_there(searched, confirm):
    with pytest.raises(InputError, match="expected a rank of at least 1, got 0"):
        best_of(searched, 0)
    with pytest.raises(InputError, match=r"a run has \d+ scored function\(s\); there is no rank 1000"):
        best_of(searched, 1000)
    confirm(typical())
    with pytest.raises(InputError, match=r"a run has 3 confirmed function\(s\); there is no rank 4"):
        best_of(searched, 4)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"functions": [{"name": ""}]}', '{"functions": 3}'])
def test_a_damaged_confirmation_is_an_error(searched, confirm, text):
    confirm(typical())
    (searched.folder / "confirm" / "confirm.json").write_text(text)
    message = r"confirm\.json (cannot be read|is damaged): .*; rlsearch confirm .* writes it anew"
    with pytest.raises(RunError, match=message):
        best_of(searched)


def test_a_confirmation_of_an_unknown_function_is_damaged_too(searched, confirm):
    tree = json.loads(to_json(typical(), {}, {}))
    tree["functions"][0]["formula"] = "__import__('os')"
    confirm(typical())
    (searched.folder / "confirm" / "confirm.json").write_text(json.dumps(tree))
    with pytest.raises(RunError, match=r"confirm\.json is damaged: .*os.* is no formula; rlsearch confirm .* anew"):
        best_of(searched)


def test_definitions_are_those_of_the_table():
    """By hand: see the rows of ``rlsearch/formula/operators.py``, whose EPSILON is 1e-6 and its root 1e-3."""
    assert definitions(Formula.parse("log(sqrt(x) / x) + min0(x) * sin(x)")) == {
        "log(a)": "log(max(abs(a), 1e-06))",
        "sqrt(a)": "abs(a) * 1000.0 if abs(a) < 1e-06 else sqrt(max(abs(a), 1e-06))",
        "div(a, b)": "a / (min(b, -1e-06) if b < 0 else max(b, 1e-06))",
        "min0(a)": "min(a, 0.0)",
    }


def test_a_comment_cannot_be_left():
    """A run folder may have any name; every line of it stays a comment."""
    name = "a\nimport os\r\x0b\x0c\x1c\x85\u2028b " + "long " * 60
    comment = Exported(Formula.parse("x"), {"run": name}).as_comment("# ")
    lines = comment.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("# ") for line in lines[:-1])
    assert lines[-1] == ""
    assert max(map(len, lines)) <= 102
