"""What mining does between screening and the trainings, which are made up here; tests/test_mining_run.py has all."""

import pytest

from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Grammar, Vocabulary
from rlsearch.rewards.latency import LatencyCosts
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.settings import MiningSettings, RungSettings

pytest.importorskip("numba")
from rlsearch.search.mining import MiningSearch

COSTS = LatencyCosts("a test's", 0.5, dict.fromkeys(OPERATORS, 0.5))
NAMES = ("neg", "sin", "tanh", "exp", "softplus", "add", "mul", "max", "sub")
GRAMMAR = Grammar(Vocabulary(NAMES, ("x",), (2.0,)), 1, 6)
RUNGS = (RungSettings(functions=30, epochs=0.5), RungSettings(functions=8))


def make(template=None, memory_gib=4.0):
    settings = MiningSettings(rungs=RUNGS, template=template).model_copy(update={"memory_gib": memory_gib})
    return MiningSearch(settings, ScreeningSettings(), COSTS, GRAMMAR, 7, 0)


def prepared(method):
    method.prepare(lambda tested, expected: None, lambda: None)
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
