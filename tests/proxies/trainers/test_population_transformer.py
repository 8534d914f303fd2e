"""Populations of transformers, pointwise and gated, beside single ones by torch's own layers and attention."""

import helpers_families  # noqa: F401 (adds data sets)
import pytest
import torch
from helpers_plain import PlainTransformer, plain_loss, plain_steps
from helpers_population import (
    EXPLODING,
    SMOOTH,
    assert_a_members_bits_do_not_depend_on_its_population,
    assert_a_nan_changes_no_bit_of_the_others,
    assert_same_bits,
    state,
)
from helpers_proxies import scores

from rlsearch import Formula
from rlsearch.common.pool import LokyPool
from rlsearch.errors import FormulaError
from rlsearch.kernels import TorchKernel, default_kernel, kernel_named
from rlsearch.proxies.base import Training, kind_of
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.trainers.population import PopulationTrainer

torch.set_num_threads(1)

GATED = [Formula.parse(text) for text in ("x * silu(g)", "gelu(x) * g", "x * tanh(g)", "x * sin(g)", "x * g")]
SIZES = {"train_size": 96, "validation_size": 80, "test_size": 40, "batch_size": 32, "epochs": 2}
OWN = {"dataset": "walks", "network": "transformer", "widths": (16, 16), "heads": 2}


def settings(**values):
    return ProxySettings.check(SIZES | OWN | {"population": 4} | values)


def proxy(kernel=None, **values):
    return Proxy(settings(**values), kernel or TorchKernel(), "cpu")


def trained_plainly(s, formula, seed):
    """A single network after its training."""
    inputs = kind_of(formula, gated=True)
    start = NETWORKS["transformer"].build(s, [torch.Generator().manual_seed(seed)], None, inputs)
    network = PlainTransformer(start, 0, formula.to_module())
    for _ in plain_steps(s, network, seed):
        pass
    return network


VARIANTS = {
    "rms, rotary": {},
    "layer, learned": {"normalisation": "layer", "positions": "learned"},
    "one block, four heads": {"widths": (16,), "heads": 4},
    "clipped": {"clip_norm": 0.5, "optimiser": "adamw", "schedule": "cosine"},
    "clipped, sgd": {"clip_norm": 0.05, "optimiser": "sgd", "learning_rate": 0.5},
}
ALL = pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
KINDS = pytest.mark.parametrize("formulas", [SMOOTH, GATED], ids=["pointwise", "gated"])


# --- what is trained ---


@ALL
@KINDS
def test_whole_trainings_equal_a_plain_loop(values, formulas, trained):
    """All outputs after six steps, and the score, which leaves out the first position."""
    p = proxy(population=8, **{"learning_rate": 3e-3} | values)
    part = load_dataset(p.settings).validation
    found = scores(p, [Training(formula, "p", 3) for formula in formulas])
    outputs = trained[0](part.inputs.expand(8, *part.inputs.shape)).detach()
    assert outputs.shape == (8, 80, 8, 12)
    for k, formula in enumerate(formulas):
        expected = trained_plainly(p.settings, formula, 3)(part.inputs).detach()
        torch.testing.assert_close(outputs[k], expected, rtol=2e-3, atol=2e-3)
        assert found[k] == pytest.approx(-plain_loss(p.settings.task, expected, part.labels).item(), abs=1e-3)
    assert len(set(found)) == len(formulas)


def test_clipping_is_seen():
    members = [Training(formula, "p", 3) for formula in SMOOTH[:4]]
    values = VARIANTS["clipped, sgd"]
    assert scores(proxy(**values), members) != pytest.approx(scores(proxy(**values | {"clip_norm": None}), members))


@pytest.mark.parametrize("network", ["mlp", "conv1d"])
def test_other_networks_are_clipped_too(network, trained):
    """A step of gradient descent is shorter by as much as the gradient is clipped: here to a known length."""
    values = {"dataset": "mnist1d", "network": network, "widths": (12, 8), "optimiser": "sgd", "train_size": 32}
    s = ProxySettings.check(SIZES | values | {"epochs": 1, "clip_norm": 0.01, "learning_rate": 0.5, "population": 4})
    assert not Proxy(s, default_kernel("cpu"), "cpu").is_native
    p = Proxy(s, TorchKernel(), "cpu")
    scores(p, [Training(formula, "p", 3) for formula in SMOOTH[:4]])
    start = NETWORKS[network].build(s, [torch.Generator().manual_seed(3)], None)
    squares = sum(
        (after - before).square().flatten(1).sum(dim=1)
        for after, before in zip(trained[0].parameters(), start.parameters(), strict=True)
    )
    torch.testing.assert_close(squares.sqrt().detach(), torch.full((4,), 0.5 * 0.01), rtol=1e-3, atol=0)


def test_whatever_the_kernel():
    p = proxy(default_kernel("cpu"), learning_rate=3e-3)
    members = [Training(formula, "p", 3) for formula in (*SMOOTH, *GATED)]
    assert scores(p, members) == pytest.approx(scores(proxy(learning_rate=3e-3), members), abs=1e-3)
    assert {type(trainer) for trainer in p._trainers.values()} == {PopulationTrainer}


@pytest.mark.parametrize("text", ["relu(x)", "x * silu(g)"])
def test_a_transformer_learns(text):
    """Log 12 is what guessing costs. Letters after the second one follow from those before."""
    p = proxy(train_size=400, validation_size=200, epochs=20, population=1, clip_norm=1.0, learning_rate=1e-2)
    (found,) = scores(p, [Training(Formula.parse(text), "p", 0)])
    assert found > -1.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["torch", "triton"])
@KINDS
def test_cuda_trains_like_the_cpu(name, formulas):
    """With triton's kernel by a CUDA graph, which a second population replays with its own formulas."""
    values = {"learning_rate": 3e-3, "clip_norm": 1.0, "optimiser": "adamw", "evaluations": 2}
    on_cuda = Proxy(settings(**values), kernel_named(name, "cuda"), "cuda")
    for some in (formulas[:4], formulas[3::-1]):
        members = [Training(formula, "p", 0) for formula in some]
        assert scores(on_cuda, members) == pytest.approx(scores(proxy(**values), members), abs=0.02)


# --- members are alone ---


@ALL
@pytest.mark.parametrize("slot", [0, 2])
def test_a_member_that_becomes_nan_changes_no_bit_of_the_others(values, slot, trained):
    assert_a_nan_changes_no_bit_of_the_others(proxy(**values), slot, trained)


@ALL
def test_a_members_bits_do_not_depend_on_its_population(values, trained):
    assert_a_members_bits_do_not_depend_on_its_population(proxy(**values), trained)


def test_gated_members_are_alone_too(trained):
    """The first member with others beside it, in another slot, and beside one that becomes NaN."""
    p = proxy(clip_norm=1.0)
    members = [Training(formula, "p", k) for k, formula in enumerate(GATED[:4])]
    found = scores(p, members)
    assert None not in found
    others = [Training(EXPLODING, "p", 7), members[2], members[0], members[1]]
    exploding = Formula.parse("exp(exp(exp(exp(x)))) * g")
    assert scores(p, [Training(exploding, "p", 7), *others[1:]]) == [None, found[2], found[0], found[1]]
    for k, before in ((1, 2), (2, 0), (3, 1)):
        assert_same_bits(state(trained[-1], k), state(trained[0], before))


@pytest.mark.parametrize("rows", [4, 80, 400])
def test_examples_scored_at_once_do_not_change_the_score(rows, monkeypatch):
    from rlsearch.proxies.trainers import population

    members = [Training(formula, "p", k) for k, formula in enumerate(SMOOTH[:4])]
    expected = scores(proxy(), members)
    monkeypatch.setattr(population, "scored_rows", lambda settings: rows)
    assert scores(proxy(), members) == pytest.approx(expected, abs=1e-6)


def test_as_many_labels_are_scored_at_once_as_elsewhere():
    """A multiple of 4 examples; 400 labels are 50 examples of 8."""
    from rlsearch.proxies.trainers.population import scored_rows

    assert scored_rows(settings()) == 48
    assert scored_rows(settings(dataset="text_sequences")) == 4
    assert scored_rows(ProxySettings()) == 400


# --- kinds of formulas ---


def test_both_kinds_in_one_call():
    """Each comes to its own population, and gets the score that it has alone; workers do the same."""
    mixed = [SMOOTH[0], GATED[0], SMOOTH[1], GATED[1], SMOOTH[2]]
    members = [Training(formula, "p", 0) for formula in mixed]
    p = proxy()
    cuts = p.populations(members)
    assert [[member.formula for member in cut] for cut in cuts] == [mixed[::2], mixed[1::2]]
    found = dict(zip([*mixed[::2], *mixed[1::2]], scores(p, members), strict=True))
    assert set(p._trainers) == {(("x",), 4), (("x", "g"), 4)}
    for formula, score in found.items():
        assert scores(proxy(), [Training(formula, "p", 0)]) == [score]
    assert scores(proxy(), members, pool=LokyPool(2)) == list(found.values())


def test_other_networks_refuse_gated_formulas():
    p = Proxy(ProxySettings(**SIZES), TorchKernel(), "cpu")
    with pytest.raises(FormulaError, match=r"has the inputs \('x', 'g'\); proxies take formulas of x alone"):
        scores(p, [Training(GATED[0], "p", 0)])


def test_a_transformer_refuses_other_inputs():
    with pytest.raises(FormulaError, match=r"has the inputs \('x', 'y'\); proxies take formulas of x alone"):
        scores(proxy(), [Training(Formula.parse("x * y"), "p", 0)])


@pytest.mark.parametrize(
    ("text", "gated", "kind"),
    [
        ("x", True, ("x",)),
        ("x * g", True, ("x", "g")),
        ("g", True, ("x", "g")),
        ("x * g", False, ("x",)),
        ("x * y", True, ("x",)),
    ],
)
def test_the_kind_of_a_formula(text, gated, kind):
    assert kind_of(Formula.parse(text), gated=gated) == kind
