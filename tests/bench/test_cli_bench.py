import json

import pytest
from helpers import DIGITS, make_config

from rlsearch.bench import screening
from rlsearch.bench.report import Limit, Report, Row, Spread
from rlsearch.cli.bench import print_report
from rlsearch.config import dump_config


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def write_config(path="c.yaml", **more):
    with open(path, "w") as file:
        file.write(dump_config(make_config(**more)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kernel"], "No such command 'kernel'. Did you mean 'kernels'? (see rlsearch bench --help)"),
        (["kernels", "--rounds", "1"], "Invalid value for '--rounds': "),
        (["kernels", "--elements", "8,x"], "--elements '8,x' is not a list of positive whole numbers such as 1,2"),
        (["kernels", "--elements", "0"], "--elements '0' is not a list of positive whole numbers"),
        (["kernels", "sin(x"], "expected ')', got the end at position 6"),
        (["kernels", "x * h"], "'x * h' has the inputs x, h; expected x and g alone"),
        (["latency", "x * g"], "'x * g' has the inputs x, g; expected x alone"),
        (["kernels", "--device", "gpu"], "device: string should match pattern"),
        (["kernels", "--device", "cuda:99"], "device 'cuda:99': torch sees"),
        (["proxies", "no.yaml"], "no.yaml cannot be read: No such file or directory"),
        (["proxies", "--set", "seed=1"], "--set goes with a config"),
        (["proxies", "--workers", "one"], "--workers 'one' is not a list of positive whole numbers such as 1,2"),
        (["proxies", "c.yaml"], "c.yaml names a reward of its own; expected a config with proxies"),
        (["proxies", "c.yaml", "--device", "gpu"], "--set device: device: string should match pattern"),
        (["screening", "-o", "c.yaml"], "c.yaml exists already; it is not overwritten"),
        (["controller", "-o", "no/where.json"], "no/where.json cannot be written: there is no folder no"),
    ],
)
def test_errors(run, arguments, message):
    write_config()
    code, out, err = run("bench", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("rlsearch: ")
    assert message in err


def test_help_is_at_hand_for_every_verb(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run("bench", "--help")
    assert (code, err) == (0, "")
    assert "..." not in out.split("Commands:")[1]  # nothing is cut
    for verb in ("proxies", "kernels", "screening", "controller", "latency"):
        assert f"\n  {verb} " in out
        code, own, err = run("bench", verb, "--help")
        assert (code, err) == (0, "")
        assert own.startswith(f"Usage: rlsearch bench {verb} ")
        assert max(map(len, own.splitlines())) <= 80


def test_kernels_as_json_and_as_a_file(run):
    code, out, _ = run("bench", "kernels", "relu(x)", "x*x", "--elements", "64", "--rounds", "2", "--json", "-o", "f")
    assert code == 0
    read = json.loads(out)
    assert {row["case"] for row in read["rows"]} == {"relu(x)", "x*x"}
    with open("f") as file:
        assert json.load(file) == read


def test_proxies_of_a_config(run):
    write_config(reward={"proxies": [DIGITS, DIGITS | {"widths": [12]}]})
    code, out, _ = run("bench", "proxies", "c.yaml", "--set", "kernel=torch", "--rounds", "2", "-o", "f.json")
    assert code == 0
    assert "digits mlp 8, 1 epochs, one process, candidates/s:" in out
    assert "digits mlp 12, 1 epochs, one process, candidates/s:" in out
    with open("f.json") as file:
        read = json.load(file)
    assert (read["kernel"], read["rounds"]) == ("torch", 2)
    assert {row["way"] for row in read["rows"]} == {"torch", "eager"}


def test_ctrl_c_ends_it_and_writes_nothing(run, monkeypatch, tmp_path):
    def interrupted(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(screening, "bench_screening", interrupted)
    assert run("bench", "screening", "-o", "f.json") == (1, "", "rlsearch: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_printed_section_by_section(capsys):
    rows = (
        Row("speed", "relu(x)", "fast", "ns", Spread(2.0, 1.5, 3.0), Spread(2.0, 1.5, 2.5), "plain", 0.25),
        Row("speed", "relu(x)", "plain", "ns", Spread(4.0, 3.5, 4.0), None, None, 0.125),
        Row("speed", "a longer one", "fast", "ns", Spread(20.06, 1, 30), Spread(1234.5, 1.0, 2000.0), "plain", 1.0),
        Row("speed", "a longer one", "plain", "ns", Spread(123.4, 3.5, 4.0), None, None, 0.5),
        Row("shares", "policy", "8 a round", "%", Spread(10.0, 9.0, 11.0)),
        Row("shares", "other", "8 a round", "%", Spread(1.0, 1.0, 1.0)),
    )
    limits = (Limit("copies", 24.51, "GB/s"),)
    print_report(Report("kernels", "cpu (X)", "numba", "process time", 3, limits, rows))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
    assert lines[:6] == [
        ["speed,", "ns:"],
        ["fast", "to", "fast,"],
        ["fast", "plain", "plain", "of", "limit"],
        ["2.00", "4.00", "2.00", "(1.50…2.50)", "25%", "relu(x)"],
        ["20.1", "123", "1,234", "(1.00…2,000)", "100%", "a", "longer", "one"],
        ["shares,", "%:"],
    ]
    assert lines[7:10] == [["10.0", "(9.00…11.0)", "policy"], ["1.00", "other"], ["Limit:", "copies,", "24.5", "GB/s."]]
    rest = " ".join(word for line in lines[10:] for word in line)
    assert rest.startswith("cpu (X), one thread, numba kernel; python 3.")
    assert rest.endswith("Medians over 3 rounds, all ways in turn in each, of process time; in brackets quartiles.")
