import json

import pytest
from helpers import DIGITS, make_config

from rlsearch.bench import screening
from rlsearch.bench.kernels import FORMULAS
from rlsearch.bench.report import Limit, Report, Row, Spread
from rlsearch.cli.bench import print_report
from rlsearch.runs.config import dump_config


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
        (["kernels", "sin(x"], "'(' was never closed, at '(' at position 4"),
        (["kernels", "x * h"], "'x * h' is a function of x, h; expected one of x and g"),
        (["modules", "--elements", "8,9"], "--elements '8,9' is more than one size; expected one such as 1048576"),
        (["modules", "x * g"], "'x * g' is a function of x, g; expected one of x"),
        (["latency", "x * g"], "'x * g' is a function of x, g; expected one of x"),
        (["kernels", "--device", "gpu"], "device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
        (["kernels", "--device", "cuda:99"], "device 'cuda:99': torch sees"),
        (["proxies", "no.yaml"], "no.yaml cannot be read: No such file or directory"),
        (["proxies", "--set", "seed=1"], "--set goes with a config"),
        (["proxies", "--workers", "one"], "--workers 'one' is not a list of positive whole numbers such as 1,2"),
        (["proxies", "c.yaml"], "c.yaml names a reward of its own; expected a config with proxies"),
        (["proxies", "c.yaml", "--device", "gpu"], "device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
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
    for verb in ("proxies", "kernels", "modules", "screening", "controller", "latency"):
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


# --- tables ---

PRINTED = """\
speed, ns:

                       of              fast to
              fast  limit  plain         plain
──────────────────────────────────────────────
relu(x)       2.00    25%   4.00    2.00 ±0.50
a longer one  20.1   0.4%    123  1,234 ±1,000

shares, %:

              8 a round
───────────────────────
policy        10.0 ±1.0
other              1.00

search, 8 a round:

                             to
              formulas/s  plain
───────────────────────────────
fast          20.0 ±10.0   2.00
plain         1,000 ±100

Limit: copies, 24.5 GB/s.
"""


def printed(capsys, rows, limits=()):
    print_report(Report("kernels", "cpu (X)", "numba", "process time", 3, tuple(limits), tuple(rows)))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def compared(case, ways, plain):
    """Rows of one case, with numbers as long as they come."""
    value = Spread(1234567.0, 1200000.0, 1280000.0)
    others = [Row("speed", case, way, "formulas/s", value, Spread(12.3, 11.5, 12.5), plain, 0.5) for way in ways]
    return [*others, Row("speed", case, plain, "formulas/s", value, None, None, 0.125)]


def test_a_report_is_printed_section_by_section(capsys):
    rows = (
        Row("speed", "relu(x)", "fast", "ns", Spread(2.0, 1.5, 3.0), Spread(2.0, 1.5, 2.5), "plain", 0.25),
        Row("speed", "relu(x)", "plain", "ns", Spread(4.0, 3.5, 4.0), None, None, 0.125),
        Row("speed", "a longer one", "fast", "ns", Spread(20.06, 1, 30), Spread(1234.5, 1.0, 2000.0), "plain", 0.004),
        Row("speed", "a longer one", "plain", "ns", Spread(123.4, 3.5, 4.0), None, None, 0.5),
        Row("shares", "policy", "8 a round", "%", Spread(10.0, 9.0, 11.0)),
        Row("shares", "other", "8 a round", "%", Spread(1.0, 1.0, 1.0)),
        Row("search", "8 a round", "fast", "formulas/s", Spread(20.0, 10.0, 30.0), Spread(2.0, 2.0, 2.0), "plain"),
        Row("search", "8 a round", "plain", "formulas/s", Spread(1000.0, 900.0, 1100.0)),
    )
    text = "\n".join(printed(capsys, rows, [Limit("copies", 24.51, "GB/s")]))
    assert text.startswith(f"{PRINTED}cpu (X), one thread, numba kernel;\npython 3.")
    assert text.endswith(
        "Medians over 3 rounds of process time, the ways take turns in each;\n"
        "± half the distance between the quartiles."
    )


def test_the_formulas_of_the_bench_stand_in_one_line_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ratio = Spread(12.3, 11.5, 12.5)
    rows = [
        Row("s", case, way, "ns", Spread(81.4, 80.0, 82.0), None if way == "eager" else ratio, "eager", 0.25)
        for case in FORMULAS
        for way in ("triton", "torch", "eager")
    ]
    lines = printed(capsys, rows)
    assert [line.rsplit(maxsplit=8)[0] for line in lines[5 : 5 + len(FORMULAS)]] == list(FORMULAS)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("cases", "ways"),
    [
        (["64 trainings"], [f"{n} workers" for n in (2, 4, 8, 16, 32)]),
        (["max(x, sigmoid(x)) + " * 4 + "x", "relu(x)"], ["numba", "torch"]),
    ],
)
def test_nothing_is_cut_on_80_columns(capsys, monkeypatch, cases, ways):
    """However many the processes, and however long a formula."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(capsys, [row for case in cases for row in compared(case, ways, "plain")])
    assert max(map(len, lines)) <= 80
    text = "".join(lines)
    assert "…" not in text
    assert text.count("12.3 ±0.5") == len(cases) * len(ways)
    assert text.count("sigmoid(x)") == cases[0].count("sigmoid(x)")
