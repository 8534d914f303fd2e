import json

import pytest
from helpers import make_config
from helpers_findings import typical

from rlsearch import Formula, export, train
from rlsearch.formula.simplify import shown
from rlsearch.runs import read as results
from rlsearch.studies.files import to_json


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def curve_run(tmp_path_factory):
    config = make_config(rounds=4, formulas_per_round=32)
    return train(config, "curve", runs=tmp_path_factory.mktemp("runs")).run.folder


def test_a_formula_goes_to_the_screen_or_to_a_file(run, tmp_path):
    assert run("export", "x * sigmoid(x)") == (0, export("x * sigmoid(x)"), "")
    assert run("export", "gelu(x)", "--format", "latex") == (0, export("gelu(x)", "latex"), "")
    code, out, err = run("export", "silu(x)", "--class-name", "Found", "-o", "found.py")
    assert (code, out, err) == (0, f"wrote {Formula.parse('silu(x)')} to found.py\n", "")
    assert (tmp_path / "found.py").read_text(encoding="utf-8") == export("silu(x)", class_name="Found")


def test_the_whole_block_of_a_gated_formula(run, tmp_path):
    code, out, err = run("export", "swiglu(x, g)", "--format", "block", "-o", "block.py")
    assert (code, out, err) == (0, f"wrote {Formula.parse('swiglu(x, g)')} to block.py\n", "")
    assert "class GatedFeedForward(torch.nn.Module):" in (tmp_path / "block.py").read_text(encoding="utf-8")
    code, out, err = run("export", "x * sin(h)", "--format", "block")
    assert (code, out) == (2, "")
    assert err == "rlsearch: 'x * sin(h)' is a function of x, h; expected one of x and g\n"


def test_a_binary_format_goes_to_a_file(run, tmp_path):
    pytest.importorskip("onnx")
    assert run("export", "silu(x)", "--format", "onnx", "-o", "activation.onnx")[0] == 0
    assert (tmp_path / "activation.onnx").read_bytes() == export("silu(x)", "onnx")


def test_a_run_without_a_confirmation_gives_its_leader_and_says_so(run, curve_run, tmp_path):
    code, out, err = run("export", curve_run, "-o", "activation.py")
    assert (code, out) == (0, f"wrote {shown(results.top(curve_run, 1, mirrors=True)[0].formula)} to activation.py\n")
    assert err == f"number 1 of the search, by luck in part: rlsearch confirm {curve_run} says what holds\n"
    assert (tmp_path / "activation.py").read_text(encoding="utf-8") == export(curve_run)
    code, out, err = run("export", curve_run, "--rank", 2)
    assert (code, out) == (0, export(curve_run, rank=2))
    assert err.startswith("number 2 of the search, ")


def test_a_confirmed_run_gives_the_first_of_its_confirmation(run, curve_run):
    (curve_run / "confirm").mkdir()
    (curve_run / "confirm" / "confirm.json").write_text(to_json(typical(), {}, {}))
    code, out, err = run("export", curve_run, "--format", "numpy")
    assert (code, err) == (0, "")
    assert json.loads(to_json(typical(), {}, {}))["functions"][0]["formula"] == "x * atan(x)"
    assert "# formula: x * atan(x)\n" in out
    assert "# formula: x**2\n" in run("export", curve_run, "--rank", 2)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--format", "onnx"], "onnx is no text; expected a file to write to: -o activation.onnx"),
        (["x", "--rank", "2"], "rank 2 goes with a run; x is a formula"),
        (["x", "--class-name", "1x"], "'1x' is not a Python class name; expected one such as 'Activation'"),
        (["x", "--format", "jax", "--class-name", "A"], "the class name 'A' goes with the formats torch, block and"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_options_that_do_not_go_together(run, tmp_path, arguments, message):
    code, out, err = run("export", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"rlsearch: {message}")
    assert not list(tmp_path.iterdir())
