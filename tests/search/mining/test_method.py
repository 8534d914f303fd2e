"""What mining does between screening and the trainings, which are made up here; tests/test_mining_run.py has all."""

import pytest

from rlsearch.common.progress import Events
from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Grammar, Vocabulary
from rlsearch.judging.history import History, Judged
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.settings import MiningSettings, RungSettings

pytest.importorskip("numba")
from rlsearch.search.mining.method import MiningSearch

COSTS = LatencyCosts("a test's", 0.5, dict.fromkeys(OPERATORS, 0.5))
NAMES = ("neg", "sin", "tanh", "exp", "softplus", "add", "mul", "max", "sub")
GRAMMAR = Grammar(Vocabulary(NAMES, ("x",), (2.0,)), 1, 6)
RUNGS = (RungSettings(functions=30, epochs=0.5), RungSettings(functions=8))


def make(template=None, memory_gib=4.0):
    settings = MiningSettings(rungs=RUNGS, template=template).model_copy(update={"memory_gib": memory_gib})
    return MiningSearch(settings, ScreeningSettings(), COSTS, GRAMMAR, 7, 0)


def prepared(method):
    method.prepare(Events())
    return method


@pytest.mark.parametrize(
    ("template", "found", "smaller"),
    [
        (None, "the longest ones are there", "lower language.max_length (6 now)"),
        (
            ["binary", "unary", "unary", "leaf", "unary", "unary", "leaf"],
            "the template is filled",
            "give a shorter template, or fewer operators or constants",
        ),
    ],
    ids=["size", "form"],
)
def test_where_memory_ended_it_the_warning_says_what_to_change(template, found, smaller, caplog):
    prepared(make(template, 0.001))
    remedy = f"raise mining.memory_gib (0.001 now), or {smaller}"
    assert f"formulas, for want of memory: {found} in part; {remedy}" in caplog.text


def test_memory_that_ends_before_a_template_is_whole_is_an_error():
    with pytest.raises(ConfigError, match=r"before it reached one that is fit; .* or give a shorter template"):
        prepared(make(["unary", "binary", "unary", "unary", "leaf", "unary", "unary", "leaf"], 0.001))


class Judging:
    """The more tokens the better; or nothing has a score."""

    def __init__(self, scored=True):
        self.status = Status.OK if scored else Status.DIVERGED
        self.history, self.rounds = History(), []

    def __call__(self, formulas, rung=0):
        self.rounds.append((rung, tuple(formulas)))
        for formula in formulas:
            self.history.put(formula.fingerprint, Judged(formula, RewardResult(float(formula.size), self.status)))

    @property
    def known(self):
        return self.history.known


def run(method, judge, most=99):
    while not method.finished and most:
        method.run_round(judge)
        most -= 1
    return judge.rounds


@pytest.mark.parametrize("stop", range(8))
def test_it_goes_on_from_its_state_as_if_it_had_not_stopped(stop):
    """Thirty functions in rounds of 7, 7, 7, 7 and 2; eight in rounds of 7 and 1."""
    whole = run(prepared(make()), Judging())
    assert [(rung, len(formulas)) for rung, formulas in whole] == [(0, 7)] * 4 + [(0, 2), (1, 7), (1, 1)]
    begun, other, judge = prepared(make()), make(), Judging()
    run(begun, judge, stop)
    other.restore(begun.state())
    assert other.state() == begun.state()
    assert run(other, judge) == whole
    assert other.finished


def test_a_checkpoint_does_not_write_the_formulas_again(monkeypatch):
    method = prepared(make())
    monkeypatch.setattr("rlsearch.formula.printing.to_infix", lambda tokens: 1 / 0)
    assert len(method.state()["entered"]) == 30
    run(method, Judging(), 2)
    assert method.state()["done"] == 14


def test_a_rung_without_a_score_is_the_last(caplog):
    assert [rung for rung, _ in run(prepared(make()), Judging(scored=False))] == [0] * 5
    assert "none of the functions of the rung has a score" in caplog.text


@pytest.mark.parametrize(
    ("template", "rounds"),
    [(None, 5 + 2), (["binary", "unary", "x", "x"], 3 + 2), (["unary", "x"], 1 + 1)],
    ids=["enough", "18 functions", "5 functions"],
)
def test_the_rounds_left_are_those_of_the_functions_found(template, rounds):
    """Thirty are wanted on the first rung and eight on the second, seven in a round."""
    method, judge, left = prepared(make(template)), Judging(), []
    while not method.finished:
        left.append(method.rounds_left)
        method.run_round(judge)
    assert left == list(range(rounds, 0, -1))
    assert method.rounds_left == 0
