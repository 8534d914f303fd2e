from dataclasses import replace

import numpy as np
import pytest
from helpers_findings import AT_AN_END, NATS, baseline, finding, findings_of, noisy, panel, typical

from rlsearch.cli.confirmation import print_findings, print_holds
from rlsearch.studies.study import Confirmation


@pytest.fixture
def printed(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")

    def printed(findings, proxies=None):
        print_findings(findings, proxies or {})
        return capsys.readouterr().out

    return printed


def rows_of(out, heading, count):
    """The cells of the first rows of the table that comes after a line that begins so."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    rule = next(i for i in range(start, len(lines)) if "───" in lines[i])
    return [line.split() for line in lines[rule + 1 :] if line.strip()][:count]


def test_findings_of_a_classification(printed):
    out = printed(typical())
    assert "Difference in percentage points to each baseline;\n* is significant" in out
    assert rows_of(out, "Difference", 2) == [["1", "+5.1*", "+15.0*"], ["2", "+0.3", "+10.2*"]]
    assert "0.6495 ± 0.0020" in out
    assert "Test accuracy: mean ± standard error. Latency: median" in out
    assert "beats ReLU (+15.0 points, 95 %" in out
    assert "On each proxy" not in out
    assert "Gain" not in out


def test_findings_of_another_task_are_in_its_unit(printed):
    """The same scores, taken for minus cross-entropies."""
    out = printed(typical(words=NATS))
    assert "Difference in nats to each baseline;\n* is significant" in out
    assert rows_of(out, "Difference", 1) == [["1", "+0.051*", "+0.150*"]]
    assert "Test minus cross-entropy: mean ± standard error. Latency: median" in out
    assert "beats ReLU (+0.150 nats lower, 95 %" in out
    assert "point" not in out
    assert "accuracy" not in out


def test_learning_rates_and_what_another_one_costs(printed):
    found = findings_of(
        [finding("x * x", noisy(0.5), rates=(AT_AN_END,), drops=(0.1, np.nan))],
        [baseline("relu", noisy(0.4, 1), drops=(0.0, np.inf)), baseline("gelu", noisy(0.3, 2), drops=(0.0123, 0.02))],
    )
    out = printed(found)
    assert "percentage points at the next lower or higher one that was tried, by validation:" in out
    assert rows_of(out, "Learning rates (! at an end of those tried)", 3) == [
        ["1", "0.03!", "-10.0", "-"],
        ["ReLU", "0.01", "+0.0", "diverges"],
        ["GELU", "0.01", "-1.2", "-2.0"],
    ]


def test_without_a_choice_of_rates_there_is_no_table_of_them(printed):
    fixed = [replace(f, rates=()) for f in typical().formulas]
    assert "Learning rates" not in printed(findings_of(fixed, [baseline("relu", noisy(0.4, 1), rates=())]))


def test_a_panel_shows_gains_first_and_then_each_proxy(printed):
    whole, proxies = panel()
    out = printed(whole, proxies)
    assert "Difference in spreads of the baselines to each baseline" in out
    assert "Test gain: mean ± standard error" in out
    # Of the strongest baseline only GELU's name is said.
    assert out.count("(GELU)") == 2
    assert rows_of(out, "Gain on each proxy", 4) == [
        ["1", "+1.25*", "+1.25*"], ["2", "-0.50", "-0.50"], ["GELU", "+0.50", "+0.50"], ["ReLU", "+0.00", "+0.00"]
    ]  # fmt: skip
    assert rows_of(out, "Learning rates", 1)[0] == ["1", "0.01", "0.03!", "-0.50", "diverges"]
    assert "spreads of the baselines if each is the next lower or higher one that was tried" in out
    lines = out.splitlines()
    place = lines.index("On each proxy, beside the strongest baseline there:")
    assert lines[place + 1] == f"- spots-mlp: {proxies['spots-mlp'].verdict_on_strongest}"
    assert lines[place + 1].startswith("- spots-mlp: `x * x` beats GELU (+")
    assert " points, " in lines[place + 1]
    assert " nats lower, " in lines[place + 2]
    place = lines.index("Where formulas win and lose:")
    assert lines[place + 1] == "- `x * x` beats every baseline on spots-mlp, every baseline on chars-mlp"


def test_what_diverged_on_a_proxy_has_no_gain_there(printed):
    base = noisy(0.5)
    diverged = findings_of(
        [finding("x * x", [np.nan] * 20)], [baseline("relu", base, gain=0.0)], proxy="a-mlp", spread=1.0
    )
    fine = findings_of(
        [finding("x * x", base + 0.1, gain=0.1)], [baseline("relu", base, gain=0.0)], proxy="b-mlp", spread=1.0
    )
    whole = findings_of([finding("x * x", [np.nan] * 20)], [baseline("relu", base)])
    out = printed(whole, {"a-mlp": diverged, "b-mlp": fine})
    assert rows_of(out, "Gain on each proxy", 2) == [["1", "diverged", "+0.10*"], ["ReLU", "+0.00", "+0.00"]]
    assert "- a-mlp: nothing could be compared" in out


def test_many_baselines_take_several_tables(printed):
    base = noisy(0.5)
    names = [f"x + {i}" for i in range(11)]
    baselines = [finding(name, base - 0.01 * i, name) for i, name in enumerate(names)]
    out = printed(findings_of([finding("x", base)], baselines))
    lines = out.splitlines()
    headings = [line for line in lines if line.startswith(" #  ") and "x + " in line]
    assert [line.count("x + ") for line in headings] == [9, 2]


def test_where_winners_of_a_transfer_hold(monkeypatch, capsys):
    """On a panel the differences are in spreads already; of a single classifier a spread is 0.05."""
    monkeypatch.setenv("COLUMNS", "80")
    whole, proxies = panel()
    single = findings_of(
        [finding("x * x", noisy(0.5, 1)), finding("sin(x)", [np.nan] * 20)],
        [baseline("relu", noisy(0.5)), baseline("gelu", noisy(0.4)), baseline("silu", noisy(0.7))],
    )
    outcomes = {
        "whole": Confirmation(whole, None, 0, proxies, 1.0),
        "single": Confirmation(single, None, 0, {}, 0.05),
    }
    print_holds(outcomes)
    out = capsys.readouterr().out
    in_spreads = (noisy(0.5, 1).mean() - noisy(0.4).mean()) / 0.05
    assert "Targets: 1 whole, 2 single\n" in out
    assert rows_of(out, "Over all targets", 2) == [
        [f"{whole.differences.mean[0, 0]:+.2f}*", f"{in_spreads:+.2f}*", "1", "2/2", "0/2", "x", "*", "x"],
        [f"{whole.differences.mean[1, 0]:+.2f}*", "diverged", "2", "0/2", "0/2", "sin(x)"],
    ]
    assert "- `x * x` beats every baseline on whole, 1 of 3 on single; loses to 1 of 3 on single" in out
    assert max(map(len, out.partition("Where formulas")[0].splitlines())) <= 80
