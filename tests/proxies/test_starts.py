"""Learning rates and the steps at which a training is scored, by values worked out by hand."""

import math

import pytest
import torch

from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.starts import rates, scored_after, steps_of

HALF = math.sqrt(0.5)


def rates_of(steps, **values):
    return rates(ProxySettings(learning_rate=2.0, **values), steps).tolist()


def test_a_constant_rate():
    assert rates_of(3) == [2.0, 2.0, 2.0]


def test_a_line_and_a_cosine_reach_zero_behind_the_last_step():
    """Of four steps, nothing, a quarter, a half and three quarters are done before."""
    assert rates_of(4, schedule="linear") == [2.0, 1.5, 1.0, 0.5]
    # Twice (1 + cos(pi t)) / 2, at t of 0, 1/4, 1/2, 3/4.
    assert rates_of(4, schedule="cosine") == pytest.approx([2.0, 1 + HALF, 1.0, 1 - HALF])


def test_warm_up_rises_to_the_rate_and_the_schedule_has_what_is_left():
    """Half of eight steps: a quarter, a half, three quarters and all; then the four of above."""
    up = [0.5, 1.0, 1.5, 2.0]
    assert rates_of(8, warmup=0.5) == [*up, 2.0, 2.0, 2.0, 2.0]
    assert rates_of(8, warmup=0.5, schedule="linear") == [*up, 2.0, 1.5, 1.0, 0.5]
    assert rates_of(8, warmup=0.5, schedule="cosine") == pytest.approx([*up, 2.0, 1 + HALF, 1.0, 1 - HALF])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_warm_up_leaves_a_step_to_the_schedule(schedule):
    """0.9 of four steps are rather four than three."""
    assert rates_of(4, warmup=0.9, schedule=schedule) == pytest.approx([2 / 3, 4 / 3, 2.0, 2.0])
    assert rates_of(1, warmup=0.9, schedule=schedule) == [2.0]


def test_rates_are_exact_until_a_device_rounds_them():
    found = rates(ProxySettings(learning_rate=0.1), 2)
    assert (found.dtype, found.shape) == (torch.float64, (2,))
    assert found[0].item() == 0.1


def test_steps_are_full_batches():
    assert steps_of(ProxySettings(epochs=3, batch_size=64), 400) == 3 * 6


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [
        (100, 1, [100]),
        (100, 4, [85, 90, 95, 100]),  # a twentieth is five steps
        (100, 20, list(range(5, 101, 5))),
        (59, 3, [55, 57, 59]),  # two whole steps are in a twentieth
        (10, 3, [8, 9, 10]),  # less than one, and then each step
        (2, 5, [1, 2]),  # there are no more
    ],
)
def test_a_training_is_scored_at_its_end_and_each_twentieth_before(steps, evaluations, expected):
    assert scored_after(ProxySettings(evaluations=evaluations), steps) == expected
