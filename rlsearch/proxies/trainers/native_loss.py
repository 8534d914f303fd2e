"""Losses and counts of tasks for :mod:`rlsearch.proxies.trainers.native_step`.

Outputs are flat, ``[outputs, examples]``. A part's labels are a pair, classes ``[examples]`` and numbers
``[examples, outputs]``, of which a task has one and the other is empty.
"""

import math

import numba
import numpy as np

from rlsearch.kernels.numba_functions import F, abs, exp, log, maximum, sigmoid
from rlsearch.proxies.trainers.native_sum import sum_of, sum_of_products

LOSSES = ("cross_entropy", "squared_error", "binary_cross_entropy")
"""By the names that tasks call them; see :class:`~rlsearch.proxies.tasks.Task`."""

COUNTS = ("right", "cross_entropy", "squared_errors", "bits_right")
"""By the names that tasks call them."""

BY_OUTPUT = ("squared_errors",)
"""Counts that are of each output by itself."""

_CROSS_ENTROPY, _SQUARED_ERROR, _BINARY_CROSS_ENTROPY = range(len(LOSSES))
_RIGHT, _CROSS_ENTROPIES, _SQUARED_ERRORS, _BITS_RIGHT = range(len(COUNTS))

compiled = numba.njit(error_model="numpy")


@compiled
def loss_gradient(loss, outputs, labels, examples, sums):
    """Replaces outputs by the gradient of their mean loss.

    Args:
        loss: Its place in ``LOSSES``.
        outputs: Of the chosen examples.
        labels: Of all examples.
        examples: The chosen ones.
        sums: Room for three numbers of each.
    """
    classes, numbers = labels
    if loss == _CROSS_ENTROPY:
        _cross_entropy_gradient(outputs, classes, examples, sums)
    elif loss == _SQUARED_ERROR:
        _squared_error_gradient(outputs, numbers, examples)
    elif loss == _BINARY_CROSS_ENTROPY:
        _binary_cross_entropy_gradient(outputs, numbers, examples)


@compiled
def add_count(count, outputs, labels, examples, sums, into):
    """Adds what a task counts of the chosen examples, and destroys their outputs.

    Args:
        count: Its place in ``COUNTS``.
        outputs: Of the chosen examples.
        labels: Of all examples.
        examples: The chosen ones.
        sums: Room for three numbers of each.
        into: float64, one number, or one of each output.

    Returns:
        Whether all outputs are finite.
    """
    finite = True
    for i in range(outputs.size):
        finite &= abs(outputs[i]) < F(math.inf)
    classes, numbers = labels
    if count == _RIGHT:
        into[0] += _right(outputs, classes, examples, sums)
    elif count == _CROSS_ENTROPIES:
        into[0] += _cross_entropy(outputs, classes, examples, sums)
    elif count == _SQUARED_ERRORS:
        _add_squared_errors(outputs, numbers, examples, into)
    elif count == _BITS_RIGHT:
        into[0] += _bits_right(outputs, numbers, examples)
    return finite


@compiled
def _exponentials(logits, peak, total):
    """Replaces logits by their exponentials, each example's divided by its largest; the sums are ``total``."""
    count = peak.size
    peak[:] = -math.inf
    total[:] = 0
    for c in range(logits.size // count):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            peak[i] = maximum(peak[i], row[i])
    for c in range(logits.size // count):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            row[i] = exp(row[i] - peak[i])
        for i in range(count):
            total[i] += row[i]


@compiled
def _cross_entropy_gradient(logits, classes, examples, sums):
    count = examples.size
    peak, total = sums[:count], sums[count : 2 * count]
    _exponentials(logits, peak, total)
    for c in range(logits.size // count):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            row[i] = row[i] / total[i] / F(count)
    for i in range(count):
        logits[classes[examples[i]] * count + i] -= F(1) / F(count)


@compiled
def _cross_entropy(logits, classes, examples, sums):
    """The sum of all cross-entropies."""
    count = examples.size
    peak, total, own = sums[:count], sums[count : 2 * count], sums[2 * count : 3 * count]
    for i in range(count):
        own[i] = logits[classes[examples[i]] * count + i]
    _exponentials(logits, peak, total)
    for i in range(count):
        own[i] = log(total[i]) + (peak[i] - own[i])
    return sum_of(own)


@compiled
def _squared_error_gradient(outputs, numbers, examples):
    count = examples.size
    for j in range(outputs.size // count):
        row = outputs[j * count : (j + 1) * count]
        for i in range(count):
            row[i] = (row[i] - numbers[examples[i], j]) * F(2 / outputs.size)


@compiled
def _add_squared_errors(outputs, numbers, examples, into):
    count = examples.size
    for j in range(outputs.size // count):
        row = outputs[j * count : (j + 1) * count]
        for i in range(count):
            row[i] -= numbers[examples[i], j]
        into[j] += sum_of_products(row, row)


@compiled
def _binary_cross_entropy_gradient(logits, numbers, examples):
    count = examples.size
    for j in range(logits.size // count):
        row = logits[j * count : (j + 1) * count]
        for i in range(count):
            row[i] = (sigmoid(row[i]) - numbers[examples[i], j]) / F(logits.size)


@compiled
def _bits_right(logits, numbers, examples):
    """Counts logits that are above zero where the bit is one, and not where it is zero."""
    count = examples.size
    right = 0
    for j in range(logits.size // count):
        for i in range(count):
            right += (logits[j * count + i] > 0) == (numbers[examples[i], j] > F(0.5))
    return right


@compiled
def _right(logits, classes, examples, best):
    """Counts examples whose label is the first largest logit."""
    count = examples.size
    chosen = np.zeros(count, np.int64)
    best[:count] = -math.inf
    for c in range(logits.size // count):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            chosen[i] = c if row[i] > best[i] else chosen[i]
        for i in range(count):
            best[i] = row[i] if row[i] > best[i] else best[i]
    right = 0
    for i in range(count):
        right += chosen[i] == classes[examples[i]]
    return right
