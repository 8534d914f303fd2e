"""The table of search methods, and a method that is added from outside of the package."""

import subprocess
import sys

import pytest
from helpers import CURVE, archive_rows, make_config

from rlsearch import resume, train
from rlsearch.controller.methods import METHODS, add_method
from rlsearch.errors import ConfigError, InputError, RunError
from rlsearch.formula import Formula
from rlsearch.runs.config import Config
from rlsearch.runs.sample import sample
from rlsearch.search.base import SearchMethod
from rlsearch.search.random import RandomSearch
from rlsearch.studies.compare import run_methods


class Nests(SearchMethod):
    """Proposes ever deeper nests of one operator, and sets its own budget: a round for each operator."""

    name = "nests"
    section = "exhaustive"
    is_comparable = False
    fixed_length = "its operators"
    operators = ("sin", "tanh", "exp")

    @classmethod
    def build(cls, setup):
        method = super().build(setup)
        method.own = setup.own
        return method

    @classmethod
    def budget(cls, search, own):
        return search.model_copy(update={"rounds": len(cls.operators)})

    @classmethod
    def describe_budget(cls, search, own):
        return f"{len(cls.operators)} nests"

    def propose(self, judge, count):
        operator = self.operators[judge.round]
        return [Formula((*[operator] * (i + 2), "x")) for i in range(count)]


@pytest.fixture
def _added(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add_method(Nests)
    yield
    del METHODS["nests"]


def nests(**search):
    return make_config(formulas_per_round=4, search={"method": "nests", **search})


@pytest.mark.usefixtures("_added")
def test_a_method_from_outside_is_trained():
    outcome = train(nests(), "n")
    assert outcome.finished
    assert not outcome.has_policy
    rows = archive_rows(outcome.run.folder)["proposals"]
    assert [row[2] for row in rows[:2]] == ["sin(sin(x))", "sin(sin(sin(x)))"]
    assert len(rows) == 3 * 4


@pytest.mark.usefixtures("_added")
def test_what_it_says_of_itself_holds_everywhere(run, tmp_path):
    outcome = train(nests(), "n")
    with pytest.raises(ConfigError, match="cannot be made longer: its length is that of its operators"):
        resume(outcome.run.folder, rounds=9)
    with pytest.raises(RunError, match="searched by nests, which has no policy to sample"):
        sample(outcome.run)
    with pytest.raises(InputError, match="unknown search method 'nests'"):
        run_methods(make_config(), ["ppo", "nests"], tmp_path, seeds=2, candidates=4)
    code, out, _ = run("config", "check", str(outcome.run.config_path))
    assert code == 0
    assert "is a valid config: 3 nests." in out


@pytest.mark.usefixtures("_added")
def test_an_unknown_method_is_told_the_names_of_the_table():
    with pytest.raises(
        ConfigError, match=r"^search\.method: .*'ppo', .*'mining' or 'nests', got 'nest'; did you mean 'nests'\?$"
    ):
        Config.check({"search": {"method": "nest"}, "reward": CURVE})


def test_two_methods_of_one_name_are_refused():
    class Other(RandomSearch):
        pass

    assert add_method(RandomSearch) is RandomSearch  # once more is no harm
    with pytest.raises(ValueError, match="there is a search method 'random' already: RandomSearch"):
        add_method(Other)
    assert METHODS["random"] is RandomSearch


def test_the_table_loads_nothing_heavy():
    """Whoever reads a config need not wait for torch or stable-baselines3."""
    code = (
        "import sys, rlsearch.runs.config; assert not {'torch', 'stable_baselines3', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_section_is_one_of_the_config(method):
    assert method.section is None or method.section in Config.model_fields
