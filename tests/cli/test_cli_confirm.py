import contextlib
import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import time

import pytest
from helpers import DIGITS, command, environment, make_config

from rlsearch.cli.options import functions_in
from rlsearch.cli.progress import counting
from rlsearch.errors import InputError
from rlsearch.kernels.latency import Latency
from rlsearch.runs.config import dump_config
from rlsearch.studies import study
from rlsearch.studies import transfer as transferring
from rlsearch.studies.targets import TARGETS

FEW = ["--seeds", 2, "--selection-seeds", 1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        study, "measure", lambda formulas, *_: [Latency(f.size, 0.9 * f.size, 1.2 * f.size) for f in formulas]
    )


def write_config(path="c.yaml", **more):
    with open(path, "w") as file:
        file.write(dump_config(make_config(**({"reward": {"proxies": [DIGITS]}} | more))))
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["confirm"], "expected one run, or --formulas; got neither"),
        (["confirm", "runs/no"], "there is no run runs/no"),
        (["confirm", "a", "b"], "expected one run, or --formulas; got a, b"),
        (["confirm", "runs/no", "--config", "c.yaml"], "--config, --set and -o go with --formulas; for other proxies"),
        (["confirm", "runs", "--formulas", "x"], "expected a run or --formulas, not both; got the run runs"),
        (["confirm", "--formulas", "sin(x"], "'(' was never closed, at '(' at position 4:\n  sin(x\n     ^"),
        (["confirm", "--formulas", "x", "foo(x)", "--config", "c.yaml"], "unknown function 'foo'"),
        (["confirm", "--formulas", "x", "--set", "seed=1"], "--set goes with --config"),
        (["confirm", "--formulas", "x", "--config", "no.yaml"], "no.yaml cannot be read"),
        (["confirm", "--formulas", "x", "--config", "own.yaml"], "the reward rlsearch_envs:CurveReward has no proxies"),
        (["confirm", "--formulas", "x * g", "--config", "c.yaml"], "'x * g' is a function of x, g, and gated formulas"),
        (["confirm", "--formulas", "x", "--seeds", "1"], "expected 2 to 1000 seeds, got 1"),
        (["confirm", "--formulas", "x", "--rates", "1,a"], "--rates '1,a' is not a list of factors such as 1/3,1,3"),
        (["confirm", "--formulas", "x", "--rates", "1/0"], "--rates '1/0' is not a list of factors such as 1/3,1,3"),
        (["confirm", "--formulas", "x", "--rates", "1e400"], "--rates '1e400' is not a list of factors such as"),
        (["confirm", "--formulas", "x", "--rates", "0"], "expected positive factors on the learning rate, got 0.0"),
        (["confirm", "--formulas", "x", "--baselines", "gelu,,relu"], "--baselines 'gelu,,relu' is not a list of"),
        (["confirm", "--formulas", "x", "--baselines", "gelu,rleu"], "unknown name 'rleu' (inputs are single"),
        (["transfer", "runs/no"], "there is no run runs/no"),
        (["transfer", "runs/no", "digits"], "expected one run, got runs/no, digits; targets stand after --to"),
        (["transfer", "runs/no", "--to", "digts"], "there is no target 'digts'; expected a config file, or one of "),
        (["transfer", "runs/no", "--to", "c.yaml"], "there is no run runs/no"),
        (["transfer", "runs/no", "--to", "c.yaml", "./c.yaml"], "two targets are called c; expected different names"),
        (["transfer", "runs/no", "--to", "no.yaml"], "no.yaml cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage_config_or_input_is_one_message_and_exit_code_2(run, tmp_path, arguments, message):
    write_config()
    with open("own.yaml", "w") as file:
        file.write(dump_config(make_config()))
    (tmp_path / "runs").mkdir()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"rlsearch: {message}")
    assert not list((tmp_path / "runs").iterdir())


def test_a_run_is_confirmed_and_the_second_time_from_what_is_stored(run, real_run):
    code, out, err = run("confirm", real_run, "--best", 2, *FEW)
    assert code == 0
    parts = [line.split(":")[0] for line in err.splitlines()]
    assert set(parts) == {"choosing rates", "widening rates", "final trainings", "latency"}
    assert (parts.count("choosing rates"), parts[-2:]) == (2, ["final trainings", "latency"])
    lines = out.splitlines()
    assert lines[1].split() == ["search", "2", "fresh"]
    assert lines[2].split() == ["#", "saw", "seeds", "(test)", "latency", "function"]
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("Test gain"))]
    assert max(map(len, table)) <= 80
    titles = ("ReLU", "ReLU squared", "GELU", "SiLU", "Mish", "Tanh", "ELU", "GELUSine", "Softplus")
    assert all(any(title in line for line in table) for title in titles)
    verdicts = [line for line in lines if line.startswith("- no formula of this run beats ")]
    assert len(verdicts) == 9
    assert "- 2 seeds cannot show a difference among 18 comparisons, however large it is; it takes at least 10" in lines
    assert [line.partition(": ")[0] for line in lines if line.startswith("- digits-mlp")] == [
        "- digits-mlp", "- digits-mlp (2)"
    ]  # fmt: skip
    trained = stored(real_run / "confirm" / "evaluations.sqlite")
    assert f"{trained} trainings done now. Written to {real_run}/confirm: " in out
    again = run("confirm", real_run, "--best", 2, *FEW)
    assert again[1:] == (out.replace(f"{trained} trainings", "0 trainings"), "")


def test_the_baselines_can_be_chosen(run, real_run):
    code, out, _ = run("confirm", real_run, "--best", 1, "--baselines", "gelu, max(x, sin(x)),selu", "--rates", 1, *FEW)
    assert code == 0
    verdicts = [line for line in out.splitlines() if line.startswith("- no formula of this run beats ")]
    beaten = [line.split(" beats ")[1].partition(";")[0] for line in verdicts]
    assert sorted(beaten) == ["GELU", "SELU", "max(x, sin(x))"]
    assert "among 3 comparisons" in out


def test_formulas_are_confirmed_without_a_run(run, tmp_path):
    write_config()
    code, out, _ = run("confirm", "--formulas", "x * x", "abs(x)", "--config", "c.yaml", "--rates", "1", *FEW)
    assert code == 0
    assert "no formula of those given beats ReLU" in out
    assert "Written" not in out
    assert {path.name for path in tmp_path.iterdir()} == {"c.yaml"}
    code, out, _ = run("confirm", "--formulas", "x * x", "--config", "c.yaml", "-o", "out", "--rates", "1,2", *FEW)
    assert code == 0
    assert "Written to out: " in out
    assert out.splitlines()[2].split() == ["#", "saw", "seeds", "(test)", "rate", "latency", "function"]
    with open("out/confirm.csv") as file:
        assert [row["formula"] for row in csv.DictReader(file)].count("x * x") == 1
    with open("out/confirm.json") as file:
        assert json.load(file)["options"]["rates"] == [1.0, 2.0]


def test_a_run_is_transferred_to_other_configs(run, real_run):
    write_config("one.yaml")
    write_config("two.yaml", seed=4)
    code, out, _ = run("transfer", real_run, "--to", "one.yaml", "two.yaml", "--best", 1, "--rates", "1", *FEW)
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("On ")] == ["On one:", "On two:"]
    over_all = out.partition("Over all targets: ")[2].splitlines()
    assert over_all[3] == "Targets: 1 one, 2 two"
    assert over_all[6].split() == ["1", "2", "worst", "GELU", "SiLU", "formula"]
    assert over_all[8].split()[3:5] == ["0/2", "0/2"]
    assert over_all[-1].startswith("- no formula is better or worse than any baseline anywhere")
    assert (real_run / "transfer-one" / "forest.png").exists()
    assert (real_run / "transfer-two" / "confirm.csv").exists()


def test_a_run_is_transferred_to_the_targets_that_are_shipped(run, real_run, monkeypatch):
    """Beside a config; and to all of them where none is named."""
    asked = []

    def none_done(run, configs, **options):
        asked.append(configs)
        return {}

    monkeypatch.setattr(transferring, "transfer", none_done)
    write_config("one.yaml")
    assert run("transfer", real_run, "--to", "products", "one.yaml")[0] == 0
    assert run("transfer", real_run)[0] == 0
    assert list(asked[0]) == ["products", "one"]
    assert asked[0]["products"] == TARGETS["products"]
    assert asked[1] == TARGETS


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        ("gelu", ["gelu"]),
        ("relu, gelu,x * x", ["relu", "gelu", "x * x"]),
        ("max(x, min(x, 1)),tanh", ["max(x, min(x, 1))", "tanh"]),
    ],
)
def test_functions_are_told_apart_by_the_commas_outside_of_parentheses(text, functions):
    assert functions_in(text) == functions


@pytest.mark.parametrize("text", ["", " ", ",", "gelu,", "gelu,,relu"])
def test_a_list_of_functions_has_no_gaps(text):
    with pytest.raises(InputError, match="is not a list of functions such as relu,gelu"):
        functions_in(text)


def stored(path):
    """How many trainings an archive has while it is being written."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0


def test_ctrl_c_keeps_what_was_trained(tmp_path):
    """In a process of its own, with workers, as from a terminal."""
    write_config(workers=2)
    arguments = ["confirm", "--formulas", "x * x", "--config", "c.yaml", "-o", "out", "--seeds", 500]
    process = subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not stored(tmp_path / "out" / "evaluations.sqlite"):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    stopped = re.fullmatch(
        r"Stopped after (\d+) trainings; they are stored; the same command goes on from there\.\n", out
    )
    assert stopped, out
    assert 0 < int(stopped[1]) == stored(tmp_path / "out" / "evaluations.sqlite") < 10 * 509


def test_a_bar_for_each_thing_on_a_terminal_and_a_line_elsewhere(monkeypatch, capsys):
    import io

    from rich.console import Console

    from rlsearch.cli import progress

    with counting() as events:
        events.on_progress("training", 1, 2)
        events.on_progress("training", 2, 2)
    assert capsys.readouterr().err == "training: 2 done\n"
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **options: Console(file=screen, force_terminal=True, width=80))
    with counting() as events:
        events.on_progress("data sets", 2, 2)
        events.on_progress("training", 3, 7)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert re.search(r"data sets +2/2", shown)
    assert re.search(r"training +3/7", shown)
