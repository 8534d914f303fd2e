"""Loss, count and score of labels at every position, by values worked out by hand."""

import math
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlsearch.errors import ConfigError
from rlsearch.proxies.sequence_tasks import FACTS, IGNORED, NEXT_TOKENS
from rlsearch.proxies.tasks import NEXT_TOKEN


class Set:
    """As much of a data set as a task asks."""

    name, n_classes, n_features = "some", 3, 4


def drawn(generator):
    """Outputs ``[3, 6, 4, 5]`` and labels ``[6, 4]``, of which some do not count."""
    labels = torch.randint(5, (6, 4), generator=generator)
    labels[:, 0] = IGNORED
    labels[2] = IGNORED
    return torch.randn(3, 6, 4, 5, generator=generator), labels


def test_by_hand():
    """Even odds cost log 2, odds of 3 to 1 against the label cost log 4; the third position does not count."""
    outputs = torch.tensor([[[[0.0, 0.0], [math.log(3), 0.0], [9.0, 0.0]]]])
    labels = torch.tensor([[0, 1, IGNORED]])
    assert NEXT_TOKENS.loss(outputs, labels[None]).item() == pytest.approx(math.log(8) / 2)
    counts = NEXT_TOKENS.count(outputs, labels)
    assert counts.tolist() == pytest.approx([math.log(8)])
    assert NEXT_TOKENS.scores(counts.numpy(), labels) == pytest.approx([-math.log(8) / 2])


def test_equals_torchs_own_of_each_member():
    outputs, labels = drawn(torch.Generator().manual_seed(0))
    expected = [functional.cross_entropy(each.flatten(0, 1), labels.flatten()).item() for each in outputs]
    expanded = labels.expand(3, 6, 4)
    assert NEXT_TOKENS.loss(outputs, expanded).item() == pytest.approx(sum(expected))
    counts = sum(NEXT_TOKENS.count(outputs[:, rows], labels[rows]) for rows in (slice(0, 2), slice(2, 6)))
    assert NEXT_TOKENS.scores(counts.numpy(), labels) == pytest.approx([-each for each in expected])


def test_where_all_labels_count_it_is_the_next_token_of_examples():
    outputs, labels = drawn(torch.Generator().manual_seed(1))
    labels = labels.clamp(min=0)
    torch.testing.assert_close(NEXT_TOKENS.count(outputs, labels), NEXT_TOKEN.count(outputs, labels))
    expanded = labels.expand(3, 6, 4)
    torch.testing.assert_close(NEXT_TOKENS.loss(outputs, expanded), NEXT_TOKEN.loss(outputs, expanded))


def test_a_member_without_labels_in_a_batch_learns_nothing_from_it():
    outputs, labels = drawn(torch.Generator().manual_seed(2))
    outputs.requires_grad_()
    of_members = torch.stack([labels, torch.full_like(labels, IGNORED), labels])
    (gradient,) = torch.autograd.grad(NEXT_TOKENS.loss(outputs, of_members), outputs)
    assert not gradient[1].any()
    assert gradient[0].any()


def test_a_loss_that_is_nan_stays_with_its_owner():
    outputs, labels = drawn(torch.Generator().manual_seed(3))
    outputs.requires_grad_()
    expanded = labels.expand(3, 6, 4)
    (clean,) = torch.autograd.grad(NEXT_TOKENS.loss(outputs, expanded), outputs)
    with torch.no_grad():
        outputs[1, 3] = math.nan
    (found,) = torch.autograd.grad(NEXT_TOKENS.loss(outputs, expanded), outputs)
    assert found[1].isnan().any()
    assert torch.equal(found[[0, 2]], clean[[0, 2]])


def test_tasks_are_values_with_words_of_their_own():
    assert pickle.loads(pickle.dumps(FACTS)) == FACTS
    assert (NEXT_TOKENS.name, FACTS.name) == ("next token", "facts")
    assert not NEXT_TOKENS.native
    assert NEXT_TOKENS.in_words(0.0312) == NEXT_TOKEN.in_words(0.0312)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 0], r"some made labels \[4\]; expected \[4, 4\]"),
        ([[0, 1, 2]], r"some made labels \[1, 3\]; expected \[1, 4\]"),
        ([[0, 1, 3, IGNORED]], "labels of some reach from 0 to 3; expected 0 to 2"),
        ([[0, 1, 2, -1]], "labels of some reach from -1 to 2; expected 0 to 2"),
        ([[IGNORED] * 4], "all labels of some are -100, which do not count; expected some that do"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(ConfigError, match=message):
        NEXT_TOKENS.checked_labels(Set(), np.array(labels))


def test_labels_are_whole_numbers():
    labels = NEXT_TOKENS.checked_labels(Set(), np.array([[0, 2, IGNORED, 1]], np.int16))
    assert labels.dtype == np.int64
    assert labels.tolist() == [[0, 2, IGNORED, 1]]
