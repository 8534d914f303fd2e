"""The README's Python examples run as they stand, one after the other."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_example_runs(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    exec(compile(EXAMPLES[number], f"README.md, example {number + 1}", "exec"), {})
    assert "Traceback" not in capsys.readouterr().out


def test_the_verbs_named_exist():
    from typer.main import get_command

    from rlsearch.cli import app

    verbs = "init|train|mine|runs|sample|top|check|evaluate|confirm|transfer|compare|report|export|config|bench"
    named = set(re.findall(rf"rlsearch ({verbs})\b", (ROOT / "README.md").read_text()))
    # The reference of the language is for the documentation.
    assert named | {"operators"} == set(get_command(app).commands)


def test_the_configs_named_exist():
    readme = (ROOT / "README.md").read_text()
    named = {Path(path).name for path in re.findall(r"\(configs/([\w.]+)\)", readme)}
    assert named == {path.name for path in (ROOT / "configs").glob("*.yaml")}
