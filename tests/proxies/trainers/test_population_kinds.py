"""Tasks, optimisers, schedules, layers and scores beside classification by a plain network at a constant rate."""

import helpers_families  # noqa: F401 (adds data sets)
import numpy as np
import pytest
import torch
from helpers_plain import plain_mlp, plain_steps
from helpers_population import (
    SMOOTH,
    assert_a_members_bits_do_not_depend_on_its_population,
    assert_a_nan_changes_no_bit_of_the_others,
    members_of,
    proxy,
    settings,
)
from helpers_proxies import scores, trained_scores
from torch.nn import functional

from rlsearch import Formula
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.trainers import population

torch.set_num_threads(1)

KINDS = {
    "adamw": {"optimiser": "adamw"},
    "another decay": {"optimiser": "adamw", "weight_decay": 0.5, "learning_rate": 0.1},
    "cosine": {"schedule": "cosine"},
    "linear with sgd": {"schedule": "linear", "optimiser": "sgd"},
    "cosine with adamw": {"schedule": "cosine", "optimiser": "adamw"},
    "rms": {"normalisation": "rms"},
    "loss": {"score": "loss"},
    "regression": {"dataset": "waves", "widths": (12, 8)},
    "bits": {"dataset": "sums"},
    "tokens": {"dataset": "steps"},
    "wide tokens, rms": {"dataset": "steps", "embedding": 16, "normalisation": "rms"},
}
ISOLATED = KINDS | {
    "rms of a convolution": {"network": "conv1d", "normalisation": "rms"},
    "several evaluations": {"evaluations": 3, "warmup": 0.5},
    "outside": {"dataset": "waves", "outside_weight": 0.5},
}
ALL = pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)
EACH = pytest.mark.parametrize("values", ISOLATED.values(), ids=ISOLATED)


def plain_score(s, network, part):
    """A task's score in torch's and numpy's own words, all in one."""
    outputs, labels = network(part.inputs).detach(), part.labels
    if s.task.name == "regression":
        shares = (outputs - labels).square().mean(dim=0) / labels.var(dim=0, correction=0)
        return -shares.log10().mean().item()
    if s.task.name == "bits":
        return ((outputs > 0) == labels.bool()).double().mean().item()
    if s.task.score == "minus cross-entropy":
        return -functional.cross_entropy(outputs, labels).item()
    return (outputs.argmax(dim=1) == labels).double().mean().item()


@ALL
def test_whole_trainings_equal_a_plain_loop(values, trained):
    """All outputs after six steps, of smooth formulas, whose trainings rounding does not drive apart; and the score."""
    p = proxy(population=8, **values)
    part = load_dataset(p.settings).validation
    found = scores(p, [Training(formula, "p", 3) for formula in SMOOTH])
    outputs = trained[0](part.inputs.expand(8, *part.inputs.shape)).detach()
    for k, formula in enumerate(SMOOTH):
        network = plain_mlp(p.settings, formula, 3)
        steps = len(list(plain_steps(p.settings, network, 3)))
        assert steps == 6
        torch.testing.assert_close(outputs[k], network(part.inputs).detach(), rtol=2e-3, atol=2e-3)
        # One of 80 labels, or of 320 bits, may be told otherwise by rounding.
        assert found[k] == pytest.approx(plain_score(p.settings, network, part), abs=1 / 80)
    assert len(set(found)) > 1


@EACH
def test_a_member_that_becomes_nan_changes_no_bit_of_the_others(values, trained):
    assert_a_nan_changes_no_bit_of_the_others(proxy(**values), 2, trained)


@EACH
def test_a_members_bits_do_not_depend_on_its_population(values, trained):
    assert_a_members_bits_do_not_depend_on_its_population(proxy(**values), trained)


@pytest.mark.parametrize(
    ("values", "worst", "good"),
    [
        ({"dataset": "waves", "train_size": 400, "widths": (24, 24)}, 0.0, 0.3),  # of the mean of all labels
        ({"dataset": "sums", "train_size": 400, "widths": (24, 24)}, 0.5, 0.7),  # of guessing
        ({"dataset": "steps", "train_size": 400, "widths": (24, 24)}, -np.log(8), -1.0),
    ],
    ids=["regression", "bits", "tokens"],
)
def test_each_task_is_learned(values, worst, good):
    (found,) = scores(proxy(epochs=20, population=1, **values), [Training(SMOOTH[0], "p", 0)])
    assert worst < good < found


# --- several evaluations ---


def test_the_mean_over_evaluations_counts():
    """60 steps, of which a twentieth is an epoch: the score is the mean of those of trainings of 18, 19 and 20."""
    members = members_of(proxy())
    found = scores(proxy(epochs=20, evaluations=3), members)
    alone = [scores(proxy(epochs=epochs), members) for epochs in (18, 19, 20)]
    assert found == pytest.approx(np.mean(alone, axis=0).tolist(), abs=1e-12)
    assert len({tuple(each) for each in alone}) == 3


def test_a_training_is_scored_at_those_steps_alone(trained):
    """Of six steps the last three; networks are kept as they were scored."""
    p = proxy(evaluations=3)
    scores(p, [Training(SMOOTH[0], "p", 3)])
    network = plain_mlp(p.settings, SMOOTH[0], 3)
    inputs = load_dataset(p.settings).validation.inputs
    expected = [network(inputs).detach() for _ in plain_steps(p.settings, network, 3)]
    found = [each(inputs.expand(4, *inputs.shape))[0].detach() for each in trained]
    assert len(found) == 3
    for mine, theirs in zip(found, expected[-3:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def test_a_member_that_was_not_finite_once_has_no_score():
    """As counts say it: of two members and two evaluations, the second member's first one is not finite."""
    part = load_dataset(settings()).validation
    first = (torch.tensor([40.0, 40.0]), torch.tensor([True, False]))
    second = (torch.tensor([60.0, 60.0]), torch.tensor([True, True]))
    assert population.outcomes(settings(), [[first], [second]], part) == [Outcome(50 / 80), None]


# --- inputs outside the range of training ---


def test_a_second_score_has_its_share():
    members = [Training(formula, "p", 3) for formula in SMOOTH[:4]]
    inside = proxy(dataset="waves").train(members)
    both = proxy(dataset="waves", outside_weight=0.25).train(members)
    assert all(outcome.outside is None for outcome in inside)
    for alone, outcome in zip(inside, both, strict=True):
        assert outcome.score == pytest.approx(0.75 * alone.score + 0.25 * outcome.outside, abs=1e-12)
    assert len({outcome.outside for outcome in both}) == 4


@pytest.mark.parametrize("part", ["validation", "test"])
def test_the_second_score_is_that_of_other_inputs(part):
    """Those of the search and those that judge its result are different ones."""
    p = proxy(dataset="waves", outside_weight=0.25)
    (outcome,) = p.train([Training(SMOOTH[0], "p", 3, part)])
    network = plain_mlp(p.settings, SMOOTH[0], 3)
    for _ in plain_steps(p.settings, network, 3):
        pass
    data = load_dataset(p.settings)
    scored = getattr(data, part)
    assert outcome.outside == pytest.approx(plain_score(p.settings, network, scored.outside), abs=1e-3)
    assert len(scored.outside.labels) == len(scored.labels)
    assert scored.outside.inputs.abs().min() >= 1
    assert scored.inputs.abs().max() <= 1
    assert not np.isin(data.validation.outside.inputs, data.test.outside.inputs).any()


def test_a_member_that_is_finite_inside_alone_has_no_score():
    """The largest sum of the layer is 1.8 inside and 2.3 outside: about 1e17, and more than a float32 holds."""
    members = [Training(Formula.parse(text), "p", 0) for text in ("exp(exp(2 * x))", "tanh(x)")]
    values = {"dataset": "waves", "widths": (100,), "learning_rate": 1e-6}
    inside, (outside, other) = proxy(**values).train(members), proxy(outside_weight=0.5, **values).train(members)
    assert None not in inside
    assert outside is None
    assert other is not None


# --- how a training can end ---


@pytest.mark.parametrize("values", [{"dataset": "waves"}, {"dataset": "sums"}, {"score": "loss"}])
def test_diverged_is_none(values):
    p = proxy(optimiser="sgd", learning_rate=1e6, **values)
    assert trained_scores(p, [Training(Formula.parse("x * x * x"), "p", 0)]) == [None]
