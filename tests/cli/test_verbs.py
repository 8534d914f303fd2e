import csv
import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import helpers_families  # noqa: F401 (adds the data set "ridge")
import pytest
from helpers import CONFIGS, DIGITS, make_config, proxies, rlsearch
from rich.console import Console

from rlsearch import Formula, __version__, export, train
from rlsearch.cli import progress
from rlsearch.formula.simplify import shown
from rlsearch.judging.history import Judged
from rlsearch.rewards.base import RewardResult
from rlsearch.runs import read as results
from rlsearch.runs.config import dump_config, load_config
from rlsearch.runs.sample import sample


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def curve_run(tmp_path_factory):
    config = make_config(rounds=6, formulas_per_round=32)
    return train(config, "curve", runs=tmp_path_factory.mktemp("runs")).run.folder


def write_config(path="c.yaml", **more):
    with open(path, "w") as file:
        file.write(dump_config(make_config(**more)))
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tarin"], "No such command 'tarin'. Did you mean 'train'? (see rlsearch --help)"),
        (["train", "--foo"], "No such option: --foo (see rlsearch train --help)"),
        (["train", "c.yaml", "d.yaml"], "Got unexpected extra argument"),
        (["train", "c.yaml", "--seed", "x"], "Invalid value for '--seed': "),
        (["train"], "expected a config file, such as configs/quickstart.yaml, or --resume RUN"),
        (["train", "no.yaml"], "no.yaml cannot be read: No such file or directory"),
        (["train", "c.yaml", "--seed", "-1"], "--set seed: input should be greater than or equal to 0, got -1"),
        (["train", "c.yaml", "--device", "gpu"], "--set device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
        (["train", "c.yaml", "--set", "controler.rounds=3"], "c.yaml:1 with --set controler.rounds: controler: "),
        (["train", "c.yaml", "--rounds", "3"], "--rounds goes with --resume; for a new run use --set"),
        (["train", "c.yaml", "--resume", "r"], "--resume takes folder and config of the run"),
        (["train", "--resume", "r", "--seed", "0"], "--resume takes folder and config of the run"),
        (["train", "--resume", "r", "--name", "x"], "--resume takes folder and config of the run"),
        (["train", "--resume", "r", "--set", "seed=1"], "--resume takes folder and config of the run"),
        (["train", "--resume", "r", "--overwrite"], "--resume takes folder and config of the run"),
        (["train", "--resume", "r"], "there is no run r"),
        (["train", "--resume", "r", "--runs", "runs"], "--resume takes folder and config of the run"),
        (["train", "c.yaml", "--candidates", "5"], "--candidates goes with --resume; for a new run use --set search."),
        (["train", "c.yaml", "--name", ""], "--name '' is not the name of a folder"),
        (["train", "c.yaml", "--name", " "], "--name ' ' is not the name of a folder"),
        (["train", "c.yaml", "--name", "../x"], "--name '../x' is not the name of a folder"),
        (["train", "c.yaml", "--name", "a/b"], "--name 'a/b' is not the name of a folder"),
        (["train", "c.yaml", "--name", "/tmp/x"], "--name '/tmp/x' is not the name of a folder"),
        (["train", "c.yaml", "--name", ".."], "--name '..' is not the name of a folder"),
        (["sample", "runs/no"], "there is no run runs/no"),
        (["top", "."], ". is not a run of rlsearch: it has no config.yaml"),
        (["evaluate"], "Missing argument "),
        (["evaluate", "sin(x"], "'(' was never closed, at '(' at position 4:\n  sin(x\n     ^"),
        (["evaluate", "x", "--set", "seed=1"], "--set goes with --config"),
        (["evaluate", "x", "--config", "no.yaml"], "no.yaml cannot be read"),
        (["evaluate", "x", "--seeds", "0"], "expected 1 to 1000 seeds, got 0"),
        (["evaluate", "x", "--baselines", "gelu,"], "--baselines 'gelu,' is not a list of functions such as relu,gelu"),
        (["evaluate", "runs/no"], "there is no run runs/no"),
        (["export", "foo(x)"], "unknown function 'foo'"),
        (["export", "__import__(x).system(x)"], "unexpected character '.' at position 14"),
        (["export", "x*e"], "'x*e' is a function of x, e; expected one of x and g; e is an input here: write exp(1)"),
        (["export", "y*tanh(y)"], "'y*tanh(y)' is a function of y; expected one of x and g"),
        (["evaluate", "x*g"], "'x * g' is a function of x, g, and gated formulas are not trained by mnist1d-mlp"),
        (["confirm", "--formulas", "y"], "'y' is a function of y; expected one of x"),
        (["export", "x^2"], "unexpected character '^' at position 2; write x**2 for a power:"),
        (["export", "x", "--format", "ltex"], "unknown export format 'ltex'; expected one of torch, block, triton"),
        (["export", "x", "-o", "c.yaml"], "c.yaml exists already; it is not overwritten"),
        (["export", "x", "-o", "no/where.py"], "no/where.py cannot be written: No such file or directory"),
        (["config", "check", "no.yaml"], "no.yaml cannot be read"),
        (["config", "chek", "c.yaml"], "No such command 'chek'. Did you mean 'check'? (see rlsearch config --help)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage_config_or_input_is_one_message_and_exit_code_2(run, tmp_path, arguments, message):
    write_config()
    (tmp_path / "runs").mkdir()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"rlsearch: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.yaml", "runs"]
    assert not list((tmp_path / "runs").iterdir())


def test_a_wrong_config_is_named_with_its_line(run, tmp_path):
    (tmp_path / "bad.yaml").write_text("controller:\n  ppo:\n    gama: 1\n")
    for arguments in (
        ["train", "bad.yaml"],
        ["config", "check", "bad.yaml"],
        ["evaluate", "x", "--config", "bad.yaml"],
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("rlsearch: bad.yaml:3: controller.ppo.gama: unknown key; did you mean 'gamma'? (known: ")


@pytest.mark.parametrize("count", [0, -1])
def test_nothing_asked_for_is_refused(run, curve_run, count):
    assert run("sample", curve_run, "-n", count) == (
        2, "", f"rlsearch: expected at least one formula to sample, got {count}\n",
    )  # fmt: skip
    assert run("top", curve_run, "-n", count) == (
        2, "", f"rlsearch: expected at least one function to show, got {count}\n",
    )  # fmt: skip


def test_help_is_at_hand_for_every_verb(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    verbs = [
        "init", "train", "mine", "runs", "sample", "top", "evaluate", "check", "compare", "confirm", "transfer",
        "export", "config", "bench", "operators",
    ]  # fmt: skip
    assert all(f"\n  {verb} " in out for verb in verbs)
    assert "..." not in out.split("Commands:")[1]  # nothing is cut
    for verb in [[verb] for verb in verbs] + [["config", "check"], ["config", "show"]]:
        code, out, err = run(*verb, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: rlsearch {' '.join(verb)} ")
        assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [[], ["config"], ["bench"]], ids=str)
def test_no_verb_shows_the_help_as_an_error(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"Usage: {' '.join(['rlsearch', *arguments])} ")


@pytest.mark.parametrize(
    ("verb", "too_heavy"),
    [
        ([], {"torch", "stable_baselines3", "pydantic", "numpy", "rich", "gymnasium"}),
        (["train"], {"torch", "stable_baselines3", "numpy", "gymnasium"}),  # typer's own options may take pydantic
    ],
    ids=["rlsearch", "train"],
)
def test_help_imports_nothing_heavy(verb, too_heavy):
    code = (
        f"import sys; from rlsearch.cli import main; sys.argv = ['rlsearch', *{verb}, '--help']; main(); "
        f"heavy = {too_heavy} & set(sys.modules); sys.exit(f'imported {{heavy}}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {' '.join(['rlsearch', *verb])} ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": {"target": "nope:Foo"}}, "the target 'nope:Foo' cannot be imported: No module named 'nope'"),
        ({"reward": {"proxies": [{"target": "json:loads", "data": {"target": "json:made"}}]}}, "json has no 'made'"),
        ({"device": "cuda:99"}, "device 'cuda:99': torch sees "),
        ({"search": {"warm_start": ["x * g"]}}, "the warm start 'x * g' cannot be written in the search's language"),
    ],
    ids=str,
)
def test_a_config_that_cannot_run_is_not_valid(run, changes, message):
    write_config(**changes)
    code, out, err = run("config", "check", "c.yaml")
    assert (code, out) == (2, "")
    assert err.startswith(f"rlsearch: {message}")


def test_training_by_the_command(tmp_path):
    """The reward lies in a file beside the config, as a user's own would."""
    (tmp_path / "mine.py").write_text(
        "from rlsearch import RewardResult\n\n\ndef short():\n"
        "    return lambda formulas: [RewardResult(-f.size) for f in formulas]\n"
    )
    write_config("short.yaml", reward={"target": "mine:short"})
    done = rlsearch("train", "short.yaml", "--seed", 3, "--set", "search.rounds=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("24 proposals, ")
    assert lines[0].endswith(" functions; runs/short")
    assert lines[2].split() == ["rank", "reward", "score", "seeds", "latency", "formula"]
    assert lines[4].split()[0] == "1"
    assert max(map(len, lines)) <= 80
    assert "rlsearch evaluate" not in done.stdout  # this reward has no proxies to train
    assert done.stdout.endswith(
        "Next:\n  tensorboard --logdir runs   # rewards and curves\n"
        "  rlsearch sample runs/short  # more formulas, written by the trained policy\n"
    )
    progress_lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in progress_lines] == ["round 1/3", "round 2/3", "round 3/3"]
    assert load_config(tmp_path / "runs" / "short" / "config.yaml").seed == 3


def test_training_with_a_name_and_again(run, tmp_path):
    write_config(reward=proxies(tmp_path))
    code, out, _ = run("train", "c.yaml", "--name", "my run", "--runs", "there", "--device", "cpu")
    assert code == 0
    assert "\n  rlsearch evaluate 'there/my run'  # fresh seeds, beside ReLU" in out
    code, out, err = run("train", "c.yaml", "--name", "my run", "--runs", "there")
    assert (code, out) == (2, "")
    assert err == (
        "rlsearch: there/my run exists already: go on with --resume, or choose another --name, or --overwrite\n"
    )
    assert run("train", "c.yaml", "--name", "my run", "--runs", "there", "--overwrite")[0] == 0
    code, out, _ = run("train", "--resume", "there/my run")
    assert code == 0
    assert out.startswith("there/my run has come to its end already; --rounds or --candidates make it longer.\n")
    assert "16 proposals" in out
    code, out, _ = run("train", "--resume", "there/my run", "--rounds", 3)
    assert code == 0
    assert "24 proposals" in out


def test_an_interrupt_that_nothing_catches_is_a_failure(run, curve_run, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "top_groups", interrupt)
    assert run("top", curve_run) == (1, "", "rlsearch: interrupted\n")


def test_samples_as_a_table_and_as_json(run, curve_run):
    code, out, err = run("sample", curve_run, "-n", 30, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert sum(row["count"] for row in rows) == 30
    assert set(rows[0]) == {"formula", "count", "probability", "status", "reward", "score", "latency"}
    assert [row["formula"] for row in rows] == [shown(s.formula) for s in sample(curve_run, 30)]
    code, table, _ = run("sample", curve_run, "-n", 30)
    assert code == 0
    assert table.split()[:6] == ["count", "probability", "reward", "score", "latency", "formula"]
    order = [(row["count"], row["probability"]) for row in rows]
    assert order == sorted(order, reverse=True)
    assert all(0 < probability < 1 for _, probability in order)
    assert rows[0]["formula"].split()[0] in table
    code, out, _ = run("sample", curve_run, "-n", 30, "--csv")
    assert [row["formula"] for row in csv.DictReader(io.StringIO(out))] == [row["formula"] for row in rows]
    refusal = "rlsearch: --json and --csv were both given; expected one of them\n"
    assert run("sample", curve_run, "--json", "--csv") == (2, "", refusal)
    code, out, _ = run("sample", curve_run, "--greedy", "--json", "--seed", 5)
    assert [row["count"] for row in json.loads(out)] == [1]


def test_the_top_as_a_table_and_as_csv(run, curve_run):
    code, out, err = run("top", curve_run, "--csv", "-n", 4, "--all")
    assert (code, err) == (0, "")
    assert "\r" not in out
    rows = list(csv.DictReader(io.StringIO(out)))
    board = results.top(curve_run, 4, mirrors=True)
    assert [row["formula"] for row in rows] == [shown(judged.formula) for judged in board]
    assert [Formula.parse(row["formula"]).fingerprint for row in rows] == [j.formula.fingerprint for j in board]
    assert [float(row["reward"]) for row in rows] == [judged.result.value for judged in board]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["latency"] for row in rows} == {""}
    code, out, _ = run("top", curve_run)
    assert code == 0
    assert f"{board[0].result.value:+.4f}" in out
    assert len(re.findall(r"[+]\d\.\d{4}", out)) == 10


def test_the_top_of_a_run_without_a_score(run, tmp_path):
    train(make_config({"target": "helpers_rewards:unfit"}), "none")
    assert run("top", "runs/none") == (0, "runs/none has no formula with a score yet.\n", "")
    assert run("top", "runs/none", "--csv") == (0, "rank,reward,score,seeds,latency,formula,mirrored\n", "")
    assert run("export", "runs/none") == (2, "", "rlsearch: the run runs/none has no formula with a score yet\n")


def test_a_config_that_sets_nothing_is_said_to(run):
    with open("empty.yaml", "w"):
        pass
    code, out, _ = run("config", "check", "empty.yaml")
    assert code == 0
    assert out.startswith("empty.yaml sets nothing, so every setting has its default.\nempty.yaml is a valid config")


def test_a_task_from_outside_is_told_in_its_own_words(run, tmp_path):
    """Through every verb that trains, none of which knows more of a task than it says."""
    reward = proxies(tmp_path) | {"proxies": [DIGITS | {"dataset": "ridge"}]}
    write_config(reward=reward, search={"method": "random"})
    assert run("config", "check", "c.yaml")[0] == 0
    assert run("train", "c.yaml", "--name", "r")[0] == 0
    code, out, _ = run("evaluate", "runs/r", "--seeds", 2)
    assert code == 0
    assert "\nR2: mean ± standard error over seeds." in out
    code, confirmed, _ = run("confirm", "runs/r", "--best", 1, "--seeds", 2, "--rates", "1")
    assert code == 0
    assert "Difference in R2 to each baseline" in confirmed
    assert " R2 at the next lower or higher one" not in confirmed  # there is a single rate
    assert "Test R2: mean" in confirmed
    assert " of R2, " in confirmed
    assert not re.search("accurac|points|percent", out + confirmed)


def test_a_formula_longer_than_any_file_name(run):
    text = " + ".join(["sin(x)"] * 60)
    assert run("export", text) == (0, export(text), "")
    code, _, err = run("export", "x + " * 3000 + "x")
    assert code == 2
    assert "at most 10000 are allowed" in err


def test_a_name_that_is_both_a_formula_and_a_folder_is_the_folder(run, tmp_path):
    (tmp_path / "x").mkdir()
    assert run("export", "x") == (2, "", "rlsearch: x is not a run of rlsearch: it has no config.yaml\n")
    assert run("export", "x / 2")[0] == 0
    assert run("export", "(x)")[0] == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_are_checked_and_shown(run, path, tmp_path):
    code, out, err = run("config", "check", path, "--set", "search.rounds=7")
    assert (code, err) == (0, "")
    assert out.endswith(" on 4 rungs.\n" if path.stem == "mine" else " formulas judged in 7 rounds.\n")
    code, out, _ = run("config", "show", path, "--set", "seed=9")
    assert code == 0
    (tmp_path / "shown.yaml").write_text(out)
    assert load_config("shown.yaml") == load_config(path, ["seed=9"])


def test_the_bar_of_a_narrow_terminal_cuts_the_formula_and_not_the_figures(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **options: Console(file=screen, force_terminal=True, width=80))
    best = Judged(Formula.parse("1 + min(relu((x - atan(asinh(x))) / 1), 1)"), RewardResult(0.57))
    with progress.watching() as events:
        events.on_start(SimpleNamespace(history=SimpleNamespace(found=lambda count: [best])))
        events.on_progress("round", 11.5, 24)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines()[-1].split("\r")[-1]
    assert len(shown) <= 80
    assert shown.startswith("round 11/24 ")
    assert re.search(r" 0:00:0\d left .* \+0\.5700 1 \+ min\(relu\(.*…", shown)


def test_a_line_a_round_where_there_is_no_terminal(capsys):
    report = SimpleNamespace(fresh=(True, False, True), evaluations=5, seconds=1.25)
    judge = SimpleNamespace(report=report, history=SimpleNamespace(found=lambda count: []))
    with progress.watching() as events:
        events.on_progress("round", 0.5, 24)
        assert capsys.readouterr().err == ""
        events.on_progress("round", 1.0, 24)
        events.on_round(judge, {})
    assert capsys.readouterr().err == "round 1/24: 2 new functions, 5 trainings in 1.2 s; best none yet\n"


def test_the_version_is_that_of_the_package():
    assert __version__.count(".") == 2
