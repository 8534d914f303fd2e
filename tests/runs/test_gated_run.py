"""A search for gated formulas from its config to what is claimed and exported."""

import pytest
from helpers_gated import POINTWISE, TRANSFORMER, gated_config

import rlsearch
from rlsearch import Formula, train
from rlsearch.errors import InputError
from rlsearch.formula.named import GATED_SHOWN
from rlsearch.runs.config import Config
from rlsearch.runs.read import read_history
from rlsearch.studies.retrain import Options

FEW = Options(seeds=2, rates=(1.0,), selection_seeds=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = gated_config(search={"method": "random"}, reward={"screening": {"gated_only": True}})
    return train(config, "gated", runs=tmp_path_factory.mktemp("runs")).run


def test_gated_formulas_are_trained_and_others_are_unfit(run):
    found = [judged for judged in read_history(run).known.values() if not judged.is_reference]
    assert {judged.formula.is_gated for judged in found if judged.result.status.is_trained} == {True}
    assert {judged.result.message for judged in found if not judged.formula.is_gated} == {"a function of x alone"} | {
        "a function of g and not of x"
    }
    scores = [judged.result.scores["text_sequences-transformer"] for judged in found if judged.result.status.is_trained]
    assert len(set(scores)) > 1


def test_rewards_are_relative_to_swiglu(run):
    references = [judged for judged in read_history(run).known.values() if judged.is_reference]
    swiglu = next(judged for judged in references if judged.formula == Formula.parse("swiglu(x, g)"))
    assert swiglu.result.score == 0  # a gain, in spreads
    assert {judged.formula.is_gated for judged in references} == {True, False}


def test_the_best_are_scored_beside_the_published_units(run):
    rows = rlsearch.evaluate(["x * tanh(g)"], run=run, best=1, seeds=1, progress=False)
    assert {row.name for row in rows if row.name} == set(GATED_SHOWN)
    assert any(row.formula == Formula.parse("x * tanh(g)") for row in rows)


def test_the_best_are_confirmed_and_exported_as_a_block(run):
    outcome = rlsearch.confirm(run, best=1, baselines=["swiglu", "gelu"], options=FEW, progress=False)
    assert {baseline.name for baseline in outcome.findings.baselines} == {"swiglu", "gelu"}
    assert outcome.findings.latency_label.endswith(", gated units at equal parameters")
    assert "class GatedFeedForward(torch.nn.Module):" in rlsearch.export(run, "block")
    assert "Its slope by g" in rlsearch.report(run).read_text(encoding="utf-8")


def test_tasks_that_train_no_gated_formulas_are_refused_before_anything_is_trained(run):
    with pytest.raises(InputError, match="gated formulas are not trained by products-mlp, but by the network tr"):
        rlsearch.transfer(run, ["products"], options=FEW, progress=False)
    assert not (run.folder / "transfer-products").exists()


@pytest.mark.parametrize("study", [rlsearch.evaluate, rlsearch.confirm])
def test_gated_formulas_are_refused_by_a_pointwise_config(study):
    config = Config.check({"device": "cpu", "workers": 1, "reward": {"proxies": [POINTWISE]}})
    with pytest.raises(InputError, match="gated formulas are not trained by digits-mlp"):
        study(["x * tanh(g)"], config, progress=False)


def test_a_pointwise_language_may_be_compared_with_gated_units():
    config = Config.check({"device": "cpu", "workers": 1, "reward": {"proxies": [TRANSFORMER]}})
    rows = rlsearch.evaluate(["sin(x)"], config, baselines=["swiglu", "relu"], seeds=1, progress=False)
    assert {row.name for row in rows} == {"", "swiglu", "relu"}


@pytest.mark.parametrize(
    "more",
    [
        {"search": {"method": "evolution"}},
        {"search": {"method": "exhaustive"}, "language": {"max_length": 3}},
        {"search": {"method": "ppo", "rounds": 3}, "controller": {"written_per_judged": 2}},
        {
            "search": {"method": "mining"},
            "mining": {"template": ["mul", "x", "unary", "g"], "rungs": [{"functions": 3}]},
        },
    ],
    ids=lambda more: more["search"]["method"],
)
def test_every_method_searches_gated_formulas(more, tmp_path):
    outcome = train(gated_config(**more), "searched", runs=tmp_path)
    assert outcome.finished
    assert any(judged.formula.is_gated for judged in read_history(outcome.run).known.values())
