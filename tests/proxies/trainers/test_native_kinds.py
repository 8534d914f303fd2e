"""Tasks, optimisers, schedules, layers and scores beside classification by a plain network at a constant rate."""

from dataclasses import dataclass, replace

import helpers_families
import numpy as np
import pytest
import torch
from helpers_native import (
    MEMBERS,
    SMOOTH,
    assert_a_nan_changes_no_bit_of_the_next,
    assert_the_same_bits_again,
    assert_the_step_of_a_population,
    by_population,
    one_by_one,
    settings,
)
from helpers_proxies import trained_scores

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.tasks import Classification
from rlsearch.rewards.panels import PANELS

native = pytest.importorskip("rlsearch.proxies.trainers.native", reason="numba is not installed", exc_type=ImportError)
from rlsearch.kernels.numba_kernel import NumbaKernel  # noqa: E402 (needs numba)

torch.set_num_threads(1)

KINDS = {
    "adamw": {"optimiser": "adamw"},
    "another decay": {"optimiser": "adamw", "weight_decay": 0.5, "learning_rate": 0.1},
    "cosine": {"schedule": "cosine"},
    "linear with sgd": {"schedule": "linear", "optimiser": "sgd"},
    "cosine with warm-up and adamw": {"schedule": "cosine", "warmup": 0.5, "optimiser": "adamw"},
    "several evaluations": {"evaluations": 3},
    "rms": {"normalisation": "rms"},
    "rms of a convolution": {"network": "conv1d", "normalisation": "rms"},
    "loss": {"score": "loss"},
    "loss of a convolution": {"network": "conv1d", "score": "loss"},
    "regression": {"dataset": "waves"},
    "regression, layer norm": {"dataset": "waves", "normalisation": "layer", "widths": (16,)},
    "outside": {"dataset": "waves", "outside_weight": 0.5, "evaluations": 2},
    "bits": {"dataset": "sums"},
    "tokens": {"dataset": "steps"},
    "wide tokens, rms": {"dataset": "steps", "embedding": 16, "normalisation": "rms", "optimiser": "adamw"},
}
EACH = pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)


def native_trainer(**values):
    return native.NativeTrainer(settings(**values))


# --- it trains what the population trainer trains ---


@EACH
@pytest.mark.parametrize("optimiser", ["its own", "sgd"])
def test_one_step_equals_the_population_trainer(values, optimiser):
    """By gradient descent all gradients are compared, those of table, scales and shifts among them."""
    one_step = {"epochs": 1, "train_size": 32, "evaluations": 1}
    if optimiser == "sgd":
        one_step |= {"optimiser": "sgd", "weight_decay": None}
    assert_the_step_of_a_population(native_trainer(**values | one_step), MEMBERS)


@EACH
def test_whole_trainings_equal_the_population_trainer(values):
    """Six steps of smooth formulas, which rounding does not drive apart; one label of 80 may be told otherwise."""
    trainer = native_trainer(**values)
    members = [Training(formula, "p", 3) for formula in SMOOTH]
    expected, expected_weights = by_population(trainer.settings, members)
    found, found_weights = one_by_one(trainer, members)
    for mine, theirs in zip(found_weights, expected_weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-3)
    tolerance = 1.5 / 80 if trainer.settings.task.score in ("accuracy", "bits right") else 2e-3
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=tolerance)
        assert (mine.outside is None) == (theirs.outside is None)
        assert mine.outside is None or mine.outside == pytest.approx(theirs.outside, abs=tolerance)
    assert len({outcome.score for outcome in found}) > 1


def test_scores_of_pieces_add_up(monkeypatch):
    """80 points in three pieces, the last of another size, of counts that are no whole numbers."""
    for values in ({"score": "loss"}, {"dataset": "waves", "outside_weight": 0.5}):
        whole = trained_scores(native_trainer(**values), MEMBERS)
        monkeypatch.setattr(native, "SCORED_ROWS", 32)
        assert trained_scores(native_trainer(**values), MEMBERS) == pytest.approx(whole, rel=1e-5)
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("values", "worst", "good"),
    [
        ({"dataset": "waves"}, 0.0, 0.3),  # of the mean of all labels
        ({"dataset": "sums"}, 0.5, 0.7),  # of guessing
        ({"dataset": "steps"}, -np.log(8), -1.0),
    ],
    ids=["regression", "bits", "tokens"],
)
def test_each_task_is_learned(values, worst, good):
    trainer = native_trainer(epochs=20, train_size=400, widths=(24, 24), **values)
    (found,) = trained_scores(trainer, [Training(SMOOTH[0], "p", 0)])
    assert worst < good < found


# --- members are alone ---


@EACH
def test_the_same_bits_again(values):
    first, _ = assert_the_same_bits_again(lambda: native_trainer(**values), MEMBERS[:4])
    assert None not in first


@EACH
def test_a_member_that_becomes_nan_changes_no_bit_of_the_next(values):
    assert_a_nan_changes_no_bit_of_the_next(lambda: native_trainer(**values), MEMBERS[:2])


# --- what is scored, and when ---


def test_the_mean_over_evaluations_counts():
    """60 steps, of which a twentieth is an epoch: the score is the mean of those of trainings of 18, 19 and 20.

    Scoring in between changes nothing of what is trained.
    """
    found, kept = one_by_one(native_trainer(epochs=20, evaluations=3), MEMBERS)
    alone = [one_by_one(native_trainer(epochs=epochs), MEMBERS) for epochs in (18, 19, 20)]
    scores = [[outcome.score for outcome in outcomes] for outcomes, _ in alone]
    assert [outcome.score for outcome in found] == pytest.approx(np.mean(scores, axis=0).tolist(), abs=1e-12)
    assert len({tuple(each) for each in scores}) == 3
    assert all(np.array_equal(a, b) for a, b in zip(kept, alone[2][1], strict=True))


def test_a_second_score_has_its_share():
    inside = native_trainer(dataset="waves").train(MEMBERS)
    both = native_trainer(dataset="waves", outside_weight=0.25).train(MEMBERS)
    assert all(outcome.outside is None for outcome in inside)
    for alone, outcome in zip(inside, both, strict=True):
        assert outcome.score == pytest.approx(0.75 * alone.score + 0.25 * outcome.outside, abs=1e-12)
    assert len({outcome.outside for outcome in both}) == len(MEMBERS)


def test_the_second_score_is_that_of_the_parts_own_inputs():
    """Those of the test part are others than those of a search."""
    trainer = native_trainer(dataset="waves", outside_weight=1.0)
    seen, unseen = (trainer.train([replace(MEMBERS[1], part=part)])[0] for part in ("validation", "test"))
    expected = [by_population(trainer.settings, [replace(MEMBERS[1], part=p)])[0][0] for p in ("validation", "test")]
    assert seen.outside == seen.score == pytest.approx(expected[0].outside, abs=1e-3)
    assert unseen.outside == unseen.score == pytest.approx(expected[1].outside, abs=1e-3)
    assert seen != unseen


def test_a_member_that_is_finite_inside_alone_has_no_score():
    """The largest sum of the layer is 1.8 inside and 2.3 outside: about 1e17, and more than a float32 holds."""
    members = [Training(Formula.parse(text), "p", 0) for text in ("exp(exp(2 * x))", "tanh(x)")]
    values = {"dataset": "waves", "widths": (100,), "learning_rate": 1e-6}
    inside = native_trainer(**values).train(members)
    outside, other = native_trainer(outside_weight=0.5, **values).train(members)
    assert None not in inside
    assert outside is None
    assert other is not None


@pytest.mark.parametrize("values", [{"dataset": "waves"}, {"dataset": "sums"}, {"score": "loss"}, {"evaluations": 3}])
def test_diverged_is_none(values):
    trainer = native_trainer(optimiser="sgd", learning_rate=1e6, **values)
    assert trainer.train([Training(Formula.parse("x * x * x"), "p", 0)]) == [None]


def test_a_training_that_diverges_after_an_evaluation_has_no_score():
    """Of two evaluations the first is finite: the rate is that of a slow training but in the last step."""
    trainer = native_trainer(optimiser="sgd", evaluations=2)
    members = [Training(Formula.parse("x * x * x"), "p", 0)]
    assert None not in trainer.train(members)
    trainer._rates[-1] = 1e30
    assert trainer.train(members) == [None]


# --- who is trained by it ---


def test_every_proxy_of_a_panel_is():
    for panel in PANELS.values():
        assert all(Proxy(proxy, NumbaKernel(), "cpu").is_native for proxy in panel)


@EACH
def test_a_proxy_takes_it_for_numbas_kernel_alone(values):
    proxy = Proxy(settings(**values), NumbaKernel(), "cpu")
    assert proxy.train(MEMBERS) == native_trainer(**values).train(MEMBERS)
    assert [type(trainer) for trainer in proxy._trainers.values()] == [native.NativeTrainer]
    assert not Proxy(settings(**values), TorchKernel(), "cpu").is_native


@dataclass(frozen=True, slots=True)
class Misspelt(Classification):
    """A task that promises what the native trainer does not have."""

    native_loss = "cross_entropy"
    native_count = "rigth"


@DATASETS.add
class MisspeltSpirals(helpers_families.Spirals):
    name = "misspelt-spirals"
    task = Misspelt(name="misspelt", score="accuracy", unit="percentage points", gain="points", scale="%")


def test_a_count_that_it_does_not_know_is_refused():
    message = "no count 'rigth' of misspelt; expected one of right, .*; did you mean 'right'"
    with pytest.raises(ConfigError, match=message):
        native_trainer(dataset="misspelt-spirals")


@NETWORKS.add
class Batched(helpers_families.Pyramid):
    """A network that promises what the native trainer does not have."""

    name = "batched"
    native = True
    normalisations = ("none", "batch")


def test_a_normalisation_that_it_does_not_know_is_refused():
    with pytest.raises(ConfigError, match=r"no batch normalisation; expected one of none, .* \(it is batched\)"):
        native_trainer(network="batched", normalisation="batch")


def test_the_plan_has_room_for_all_weights():
    """A table of 8 letters of 12 numbers behind two layers, the head and their scales."""
    trainer = native_trainer(dataset="steps", normalisation="rms")
    n_weights = (48 + 1) * 12 + (12 + 1) * 8 + (8 + 1) * 8 + 12 + 8 + 8 * 12
    assert trainer._plan.n_weights == n_weights == len(trainer._start(0)[0])
    assert trainer._plan.table.tolist() == [n_weights - 8 * 12, 12]
    assert load_dataset(trainer.settings).train.inputs.dtype == torch.int64
