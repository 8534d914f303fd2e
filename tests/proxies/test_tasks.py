import pickle

import pytest
from helpers_findings import NATS

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
