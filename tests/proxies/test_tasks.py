import math
import pickle

import pytest
import torch
from helpers_findings import NATS
from torch.nn import functional

from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.tasks import CLASSIFICATION


def test_classification_says_points():
    assert CLASSIFICATION.in_words(0.0712) == "+7.1 points"
    assert CLASSIFICATION.in_words(-0.02) == "-2.0 points"
    assert CLASSIFICATION.axis == "test accuracy, %"
    assert CLASSIFICATION.difference_axis == "difference in test accuracy, percentage points"
    assert CLASSIFICATION.level(0.6494) == "64.9 %"
    assert CLASSIFICATION.score_text(0.64949) == "0.6495"
    assert CLASSIFICATION.cell(0.05) == "+5.0"


def test_another_task_says_its_own_unit():
    assert NATS.in_words(0.0123) == "+0.012 nats lower"
    assert NATS.axis == "test minus cross-entropy, nats"
    assert NATS.difference_axis == "difference in test minus cross-entropy, nats"
    assert NATS.level(-1.4321) == "-1.432 nats"
    assert NATS.score_text(-1.43214) == "-1.4321"
    assert NATS.cell(-0.0004) == "-0.000"


@pytest.mark.parametrize(
    ("difference", "number"),
    [
        (0.0131, "1.3"),
        (-0.0131, "-1.3"),
        (0.001, "0.1"),
        # No false zero: one more decimal.
        (0.0004, "0.04"),
        (-0.0004, "-0.04"),
        # A true zero, and what even that decimal does not show.
        (0.0, "0.0"),
        (-0.000001, "0.0"),
    ],
)
def test_a_difference_in_points(difference, number):
    assert CLASSIFICATION.number(difference) == number
    signed = number if number.startswith("-") else f"+{number}"
    assert CLASSIFICATION.number(difference, sign=True) == signed


def test_the_decimals_are_those_of_the_task():
    assert [NATS.number(d) for d in (0.0123, 0.001, 0.0004, -0.00001)] == ["0.012", "0.001", "0.0004", "0.000"]


def test_a_task_is_a_value_that_other_processes_can_be_sent():
    assert pickle.loads(pickle.dumps(CLASSIFICATION)) == CLASSIFICATION
    assert CLASSIFICATION != NATS


# --- loss and score ---


def test_the_loss_is_the_sum_of_each_members_mean():
    outputs = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24).reshape(3, 8) % 5
    expected = sum(functional.cross_entropy(outputs[k], labels[k]) for k in range(3))
    torch.testing.assert_close(CLASSIFICATION.loss(outputs, labels), expected)


def test_several_labels_per_example_are_averaged_like_examples():
    outputs = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(48).reshape(2, 4, 6) % 5
    flat = CLASSIFICATION.loss(outputs.reshape(2, 24, 5), labels.reshape(2, 24))
    torch.testing.assert_close(CLASSIFICATION.loss(outputs, labels), flat)
    assert torch.equal(
        CLASSIFICATION.count(outputs, labels[0]), CLASSIFICATION.count(outputs.reshape(2, 24, 5), labels[0].flatten())
    )


def test_a_loss_that_is_nan_stays_with_its_owner():
    outputs = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.zeros(3, 8, dtype=torch.int64)
    (clean,) = torch.autograd.grad(CLASSIFICATION.loss(outputs, labels), outputs)
    with torch.no_grad():
        outputs[1, 2] = math.nan
    (found,) = torch.autograd.grad(CLASSIFICATION.loss(outputs, labels), outputs)
    assert found[1].isnan().any()
    assert torch.equal(found[[0, 2]], clean[[0, 2]])


def test_the_score_is_the_share_of_labels_that_are_the_first_largest():
    outputs = torch.tensor([[[1.0, 2.0], [3.0, 3.0]], [[0.0, -1.0], [0.0, 5.0]]])
    labels = torch.tensor([1, 0])
    counts = CLASSIFICATION.count(outputs, labels)
    assert counts.tolist() == [2, 0]
    assert CLASSIFICATION.scores(counts.numpy(), labels).tolist() == [1.0, 0.0]
    assert CLASSIFICATION.n_outputs(DATASETS["digits"]) == 10
