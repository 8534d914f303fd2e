"""Losses, counts and scores of the tasks that are no classification by accuracy, by values worked out by hand."""

import math
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlsearch.errors import ConfigError
from rlsearch.proxies.tasks import BITS, CLASSIFICATION, CLASSIFICATION_LOSS, NEXT_TOKEN, REGRESSION

KINDS = [CLASSIFICATION_LOSS, NEXT_TOKEN, REGRESSION, BITS]


class Set:
    """As much of a data set as a task asks."""

    name, n_classes, n_targets = "some", 3, 2


def of_kind(task, generator):
    """Outputs ``[3, 8, 2]`` and labels ``[3, 8, ...]`` of a task."""
    outputs = torch.randn(3, 8, 2, generator=generator)
    if isinstance(task, type(CLASSIFICATION_LOSS)):
        return outputs, torch.randint(2, (3, 8), generator=generator)
    if task is BITS:
        return outputs, torch.randint(2, (3, 8, 2), generator=generator).float()
    return outputs, torch.randn(3, 8, 2, generator=generator)


# --- by hand ---


@pytest.mark.parametrize("task", [CLASSIFICATION_LOSS, NEXT_TOKEN])
def test_cross_entropy_by_hand(task):
    """Even odds cost log 2; odds of 3 to 1 against the label cost log 4. Together log 8, and half of it on average."""
    outputs = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]])
    labels = torch.tensor([0, 1])
    assert task.loss(outputs, labels[None]).item() == pytest.approx(math.log(8) / 2)
    counts = task.count(outputs, labels)
    assert counts.tolist() == pytest.approx([math.log(8)])
    assert task.scores(counts.numpy(), labels) == pytest.approx([-math.log(8) / 2])
    assert task.n_outputs(Set()) == 3


def test_next_tokens_at_several_positions_are_counted_like_examples():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(2, 4, 6, 5, generator=generator)
    labels = torch.randint(5, (4, 6), generator=generator)
    counts = NEXT_TOKEN.count(outputs, labels)
    expected = [functional.cross_entropy(each.reshape(24, 5), labels.flatten()).item() for each in outputs]
    assert counts.tolist() == pytest.approx([24 * each for each in expected])
    assert NEXT_TOKEN.scores(counts.numpy(), labels) == pytest.approx([-each for each in expected])


def test_regression_by_hand():
    """The labels' squared deviations from their means 1 and 2 are 2 and 8 in all.

    The first member's errors are a tenth of each label's deviation: a hundredth of the variance, two digits. The second
    one says the means: no digit. The third has the first output right and says the other's mean: twelve digits, which
    is as many as count, and none.
    """
    labels = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    outputs = torch.tensor([[[0.1, 0.2], [1.9, 3.8]], [[1.0, 2.0], [1.0, 2.0]], [[0.0, 2.0], [2.0, 2.0]]])
    counts = REGRESSION.count(outputs, labels)
    torch.testing.assert_close(counts, torch.tensor([[0.02, 0.08], [2.0, 8.0], [0.0, 8.0]]))
    # Squared errors over two examples of two numbers: 0.1 / 4, 10 / 4 and 8 / 4.
    assert REGRESSION.loss(outputs, labels.expand(3, 2, 2)).item() == pytest.approx(0.025 + 2.5 + 2.0)
    assert REGRESSION.scores(counts.double().numpy(), labels) == pytest.approx([2.0, 0.0, 6.0], abs=1e-5)
    assert REGRESSION.n_outputs(Set()) == 2


def test_bits_by_hand():
    """A logit of zero says no. The costs: log(1 + 1/e) twice, log 2, and log(1 + e**2) of the one that is wrong."""
    outputs = torch.tensor([[[1.0, -1.0], [0.0, 2.0]]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    expected = (2 * math.log1p(math.exp(-1)) + math.log(2) + math.log1p(math.exp(2))) / 4
    assert BITS.loss(outputs, labels[None]).item() == pytest.approx(expected)
    counts = BITS.count(outputs, labels)
    assert counts.tolist() == [3]
    assert BITS.scores(counts.numpy(), labels) == [0.75]
    assert BITS.n_outputs(Set()) == 2


# --- of all ---


@pytest.mark.parametrize("task", KINDS, ids=lambda task: task.name)
def test_the_loss_is_the_sum_of_each_members_own(task):
    outputs, labels = of_kind(task, torch.Generator().manual_seed(0))
    own = [task.loss(outputs[k : k + 1], labels[k : k + 1]) for k in range(3)]
    torch.testing.assert_close(task.loss(outputs, labels), sum(own))


@pytest.mark.parametrize("task", KINDS, ids=lambda task: task.name)
def test_a_loss_that_is_nan_stays_with_its_owner(task):
    outputs, labels = of_kind(task, torch.Generator().manual_seed(0))
    outputs.requires_grad_()
    (clean,) = torch.autograd.grad(task.loss(outputs, labels), outputs)
    counts = task.count(outputs, labels[0])
    with torch.no_grad():
        outputs[1, 2] = math.nan
    (found,) = torch.autograd.grad(task.loss(outputs, labels), outputs)
    assert found[1].isnan().any()
    assert torch.equal(found[[0, 2]], clean[[0, 2]])
    assert torch.equal(task.count(outputs, labels[0])[[0, 2]], counts[[0, 2]])


@pytest.mark.parametrize("task", KINDS, ids=lambda task: task.name)
def test_counts_of_pieces_add_up(task):
    outputs, labels = of_kind(task, torch.Generator().manual_seed(0))
    pieces = [task.count(outputs[:, rows], labels[0, rows]) for rows in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(sum(pieces), task.count(outputs, labels[0]))


@pytest.mark.parametrize("task", KINDS, ids=lambda task: task.name)
def test_a_task_is_a_value_that_other_processes_can_be_sent(task):
    assert pickle.loads(pickle.dumps(task)) == task
    assert task != CLASSIFICATION


# --- labels ---


def test_labels_are_taken_in_the_dtype_that_is_trained_on():
    assert NEXT_TOKEN.checked_labels(Set(), np.array([0, 2], np.int32)).dtype == np.int64
    for task in (REGRESSION, BITS):
        assert task.checked_labels(Set(), np.array([[0, 1], [1, 0]])).dtype == np.float32


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (NEXT_TOKEN, [0, 3], "labels of some reach from 0 to 3; expected 0 to 2"),
        (REGRESSION, [0.0, 1.0], r"some made labels \[2\]; expected \[2, 2\]"),
        (REGRESSION, [[0.0], [1.0]], r"some made labels \[2, 1\]; expected \[2, 2\]"),
        (REGRESSION, [[0.0, math.inf]], "labels of some hold numbers that are not finite"),
        (REGRESSION, [[0.0, 3.0], [1.0, 3.0]], "target 1 of some is 3 for all of 2 examples of a part; expected diff"),
        (BITS, [[0.0, 0.5]], "labels of some hold other numbers than 0 and 1"),
        (BITS, [[0.0, math.nan]], "labels of some hold other numbers than 0 and 1"),
        (BITS, [[0.0]], r"some made labels \[1, 1\]; expected \[1, 2\]"),
    ],
)
def test_labels_that_are_none(task, labels, message):
    with pytest.raises(ConfigError, match=message):
        task.checked_labels(Set(), np.array(labels))
