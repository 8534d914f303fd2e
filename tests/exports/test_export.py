import pytest
from helpers_exports import FORMULAS

from rlsearch import Formula, export
from rlsearch.errors import FormulaError, InputError, RunError
from rlsearch.exports.export import FORMATS

TEXTS = [name for name, each in FORMATS.items() if not each.is_binary]


@pytest.mark.parametrize(
    ("form", "formula"),
    # A block has places for x and g alone.
    [(form, f) for f in FORMULAS for form in TEXTS if form != "block" or f.inputs in (("x",), ("x", "g"))],
    ids=str,
)
def test_every_text_is_a_whole_file(form, formula):
    """Its last line ends; and it says which formula it is of."""
    text = export(formula, form)
    assert f"formula: {formula}\n" in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert export(formula, form) == text


def test_a_formula_may_be_given_as_text():
    formula = Formula.parse("x * sigmoid(x)")
    assert export("silu(x)") == export(formula)
    assert export(formula).endswith("\n\n" + formula.source())
    assert export(formula, "latex").endswith("\n\n" + formula.latex() + "\n")


def test_a_class_is_named_where_there_is_one():
    formula = Formula.parse("x * sigmoid(x)")
    for form in ("torch", "block", "triton"):
        assert "\nclass Found(torch.nn.Module):" in export(formula, form, class_name="Found")
    with pytest.raises(InputError, match="'Found' goes with the formats torch, block and triton; numpy has no class"):
        export(formula, "numpy", class_name="Found")
    with pytest.raises(FormulaError, match="'a b' is not a Python class name"):
        export(formula, class_name="a b")


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"unknown export format 'ltex'; expected one of .*; did you mean 'latex'"):
        export("x", "ltex")
    with pytest.raises(InputError, match="rank 2 goes with a run; x / 2 is a formula"):
        export("x / 2", rank=2)


def test_a_run_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "runs" / "other"
    other.mkdir(parents=True)
    (other / "meta.json").touch()
    with pytest.raises(RunError, match=r"there is no run runs.quickstart; there is runs.other"):
        export("runs/quickstart")


def test_a_file_does_not_hide_a_formula(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    assert export("x") == export(Formula.parse("x"))
    assert run("export", "x") == (0, export("x"), "")
