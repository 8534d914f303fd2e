"""The README's examples and commands run as they stand, in order, and it names everything there is."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers import DIGITS

from rlsearch.runs.config import Config, dump_config
from rlsearch.studies import targets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("rlsearch ")]

SMALL = Config.check(
    {
        "device": "cpu",
        "workers": 1,
        "kernel": "torch",
        "language": {"max_length": 4, "operators": ["add", "mul", "tanh", "relu"]},
        "search": {"rounds": 1, "formulas_per_round": 8},
        "reward": {"proxies": [DIGITS], "baseline_seeds": 1},
        "rescoring": {"every": 0},
        "mining": {"rungs": [{"functions": 4}, {"functions": 2, "seeds": 2}]},
    }
)
"""What the README's configs are while its commands run: a search of seconds."""

SHORTER = {
    "confirm": "--seeds 5 --selection-seeds 1 --best 1 --baselines relu,tanh",
    "transfer": "--seeds 5 --selection-seeds 1 --best 1 --baselines relu,tanh",
    "compare": "--seeds 2 --candidates 6 --methods ppo,random --confirm-seeds 0",
    "evaluate": "--seeds 1",
    "speedup": "--seeds 2 --selection-seeds 1 --rates 1",
    "bench": "configs/smoke.yaml --rounds 2",
}
"""What is added to a verb's options, so that it takes seconds; the last one of a name counts."""


def test_there_is_an_example():
    assert EXAMPLES


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_example_runs(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    exec(compile(EXAMPLES[number], f"README.md, example {number + 1}", "exec"), {})
    assert "Traceback" not in capsys.readouterr().out


def test_every_command_runs_in_order(run, tmp_path, monkeypatch):
    """In a fresh folder, on small configs of the same names: what one command needs, one before it has made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(targets, "TARGETS", {"digits": SMALL})
    (tmp_path / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        (tmp_path / "configs" / path.name).write_text(dump_config(SMALL))
    for command in COMMANDS:
        _, *words = shlex.split(command, comments=True)
        if words[0] == "init" and len(words) > 1:
            (tmp_path / "my_network.yaml").write_text(dump_config(SMALL))
            continue
        more = shlex.split(SHORTER.get(words[0], ""))
        code, _, err = run(*words, *more)
        assert code == 0, f"{command}: {err}"
    assert (tmp_path / "activation.py").exists()
    assert (tmp_path / "my_activation.py").exists()


def test_all_verbs_are_named():
    from typer.main import get_command

    from rlsearch.cli import app

    block = README.partition("## All verbs")[2].partition("\n## ")[0]
    assert set(re.findall(r"^rlsearch (\w+)", block, re.MULTILINE)) == set(get_command(app).commands)


def test_the_tutorial_names_all_configs():
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    named = {Path(path).name for path in re.findall(r"\(\.\./configs/([\w.]+)\)", tutorial)}
    assert named == {path.name for path in (ROOT / "configs").glob("*.yaml")}
