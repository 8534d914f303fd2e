"""The compiled functions of the native trainer each by itself, beside torch's own and autograd."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlsearch.proxies.networks.norms import NORM_EPSILON
from rlsearch.proxies.tasks import BITS, CLASSIFICATION, CLASSIFICATION_LOSS, REGRESSION

pytest.importorskip("numba", reason="numba is not installed")
from rlsearch.proxies.trainers.native_input import embed, embed_back, gather
from rlsearch.proxies.trainers.native_loss import COUNTS, LOSSES, add_count, loss_gradient
from rlsearch.proxies.trainers.native_norm import normalise, normalise_back
from rlsearch.proxies.trainers.native_optimiser import update
from rlsearch.proxies.trainers.native_plan import SUMS
from rlsearch.proxies.trainers.native_sum import sum_of, sum_of_products

TASKS = pytest.mark.parametrize("task", [CLASSIFICATION, CLASSIFICATION_LOSS, REGRESSION, BITS], ids=lambda t: t.name)
SCALES = pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
N_EXAMPLES, N_OUTPUTS = 50, 7


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def columns(x):
    """What is ``[examples, features]`` as the trainer has it."""
    return np.ascontiguousarray(x.T).ravel()


def chosen(count=N_EXAMPLES):
    """Rows of the examples in an order of their own, some of them twice."""
    return np.random.default_rng(1).integers(count, size=20)


def labels_of(task):
    """The pair of labels, of which a task has one, and that one."""
    rng = np.random.default_rng(2)
    classes, numbers = np.empty(0, np.int64), np.empty((0, 0), np.float32)
    if task is REGRESSION:
        numbers = random(N_EXAMPLES, N_OUTPUTS, seed=3)
    elif task is BITS:
        numbers = rng.integers(2, size=(N_EXAMPLES, N_OUTPUTS)).astype(np.float32)
    else:
        classes = rng.integers(N_OUTPUTS, size=N_EXAMPLES)
    return (classes, numbers), torch.from_numpy(classes if len(classes) else numbers)


def counted(task, outputs, examples, n_counts):
    """Whether all is finite, and what is counted, of outputs ``[examples, outputs]``."""
    into, sums = np.zeros(n_counts), np.empty(SUMS * len(examples), np.float32)
    labels, _ = labels_of(task)
    finite = add_count(COUNTS.index(task.native_count), columns(outputs), labels, examples, sums, into)
    return finite, into


# --- losses ---


@TASKS
@SCALES
def test_gradients_of_losses(task, scale):
    """Of outputs that are as large as those of a network which knows nothing, and of one that is too sure."""
    examples = chosen()
    outputs = scale * random(len(examples), N_OUTPUTS)
    both, labels = labels_of(task)
    flat, sums = columns(outputs), np.empty(SUMS * len(examples), np.float32)
    loss_gradient(LOSSES.index(task.native_loss), flat, both, examples, sums)
    leaf = torch.from_numpy(outputs).requires_grad_()
    task.loss(leaf[None], labels[examples][None]).backward()
    np.testing.assert_allclose(flat.reshape(N_OUTPUTS, -1).T, leaf.grad.numpy(), rtol=2e-5, atol=1e-8)


# --- counts ---


@TASKS
@SCALES
def test_counts(task, scale):
    examples = chosen()
    outputs = scale * random(len(examples), N_OUTPUTS)
    _, labels = labels_of(task)
    expected = task.count(torch.from_numpy(outputs)[None], labels[examples])[0].numpy()
    finite, into = counted(task, outputs, examples, expected.size)
    assert finite
    np.testing.assert_allclose(into, expected.ravel(), rtol=1e-5)


@TASKS
def test_counts_are_added_up(task):
    examples = chosen()
    outputs = random(len(examples), N_OUTPUTS)
    n_counts = N_OUTPUTS if task is REGRESSION else 1
    pieces = [counted(task, outputs[rows], examples[rows], n_counts)[1] for rows in (slice(0, 4), slice(4, 20))]
    np.testing.assert_allclose(sum(pieces), counted(task, outputs, examples, n_counts)[1], rtol=1e-5)


@TASKS
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_outputs_that_are_not_finite_are_told(task, value):
    examples = chosen()
    outputs = random(len(examples), N_OUTPUTS)
    outputs[11, 3] = value
    assert not counted(task, outputs, examples, N_OUTPUTS)[0]


def test_the_first_of_equal_logits_is_chosen():
    """As torch's argmax. The classes of three of these four examples are the first largest."""
    logits = np.array([[0, 5, 5], [1, 1, 1], [2, 2, 3], [0, 0, -1]], np.float32)
    labels = (np.array([1, 0, 2, 1]), np.empty((0, 0), np.float32))
    into = np.zeros(1)
    arguments = columns(logits), labels, np.arange(4), np.empty(SUMS * 4, np.float32), into
    assert add_count(COUNTS.index("right"), *arguments)
    assert into == [3]
    assert CLASSIFICATION.count(torch.from_numpy(logits)[None], torch.from_numpy(labels[0])).tolist() == [3]


def test_a_logit_of_zero_says_no():
    logits = np.array([[0.0, 0.0, -0.0]], np.float32)
    labels = (np.empty(0, np.int64), np.array([[0, 1, 0]], np.float32))
    into = np.zeros(1)
    add_count(COUNTS.index("bits_right"), columns(logits), labels, np.arange(1), np.empty(SUMS, np.float32), into)
    assert into == [2]


# --- inputs ---


def test_examples_are_columns():
    inputs, examples = random(N_EXAMPLES, 6), chosen()
    into = np.empty(6 * len(examples), np.float32)
    gather(inputs, examples, into)
    assert np.array_equal(into, columns(inputs[examples]))


def test_tokens_are_columns_of_their_numbers():
    """The gradient of the table is added to what is there; a token may be at several places and in many examples."""
    n_tokens, width, length = 5, 4, 3
    tokens, examples = np.random.default_rng(0).integers(n_tokens, size=(N_EXAMPLES, length)), chosen()
    table = random(n_tokens, width)
    into = np.empty(length * width * len(examples), np.float32)
    embed(tokens, examples, table.ravel(), width, into)
    leaf = torch.from_numpy(table).requires_grad_()
    expected = functional.embedding(torch.from_numpy(tokens[examples]), leaf).flatten(1)
    assert np.array_equal(into, columns(expected.detach().numpy()))

    d, before = random(len(examples), length * width, seed=4), random(n_tokens * width, seed=5)
    gradient = before.copy()
    embed_back(tokens, examples, columns(d), width, gradient)
    expected.backward(torch.from_numpy(d))
    np.testing.assert_allclose(gradient - before, leaf.grad.flatten().numpy(), rtol=1e-4, atol=1e-5)


# --- normalisation ---


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_normalisation_and_its_gradients(kind):
    """Features ``[9]`` of 20 examples; gradients of scale and shift are added to what is there."""
    n_features, count = 9, 20
    z, d = 3 * random(count, n_features) + 1, random(count, n_features, seed=1)
    scale, shift = random(n_features, seed=2), random(n_features, seed=3)
    values, hat = columns(z), np.empty(n_features * count, np.float32)
    rate, room = np.empty(count, np.float32), np.empty(2 * count, np.float32)
    normalise(values, n_features, count, scale, shift, kind == "layer", hat, rate, room)

    x, factor, term = (torch.from_numpy(each).requires_grad_() for each in (z, scale, shift))
    if kind == "layer":
        expected = functional.layer_norm(x, (n_features,), factor, term, NORM_EPSILON)
    else:
        expected = functional.rms_norm(x, (n_features,), factor, NORM_EPSILON)
    np.testing.assert_allclose(values.reshape(n_features, count).T, expected.detach().numpy(), rtol=1e-5, atol=1e-6)

    expected.backward(torch.from_numpy(d))
    flowing, scale_d, shift_d = columns(d), np.ones(n_features, np.float32), np.ones(n_features, np.float32)
    normalise_back(flowing, n_features, count, scale, kind == "layer", hat, rate, scale_d, shift_d, room)
    np.testing.assert_allclose(flowing.reshape(n_features, count).T, x.grad.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scale_d - 1, factor.grad.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shift_d - 1, term.grad.numpy() if kind == "layer" else 0, rtol=1e-4, atol=1e-5)


# --- optimisers ---


@pytest.mark.parametrize(
    ("is_adam", "decay", "optimiser"),
    [
        (True, 0.0, torch.optim.Adam),
        (True, 0.3, lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.3)),
        (False, 0.0, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
    ],
    ids=["adam", "adamw", "sgd"],
)
def test_optimisers(is_adam, decay, optimiser):
    """Five steps of random gradients at rates that change."""
    state = [random(30), *(np.zeros(30, np.float32) for _ in range(3))]
    leaf = torch.from_numpy(state[0].copy()).requires_grad_()
    reference = optimiser([leaf], 0.1)
    for step in range(1, 6):
        rate, gradient = 0.1 / step, random(30, seed=step)
        state[1][:] = gradient
        update((is_adam, decay), tuple(state), rate, step)
        reference.param_groups[0]["lr"] = rate
        leaf.grad = torch.from_numpy(gradient)
        reference.step()
    np.testing.assert_allclose(state[0], leaf.detach().numpy(), rtol=1e-5, atol=1e-6)


# --- sums ---


@pytest.mark.parametrize("count", [0, 1, 7, 128, 1000])
def test_sums(count):
    a, b = random(count), random(count, seed=1)
    assert sum_of(a) == pytest.approx(a.sum(dtype=float), abs=1e-4)
    assert sum_of_products(a, b) == pytest.approx(float(a.astype(float) @ b), abs=1e-4)


def test_a_sum_with_nan_is_nan():
    a = random(100)
    a[70] = math.nan
    assert math.isnan(sum_of(a))
    assert math.isnan(sum_of_products(a, np.zeros(100, np.float32)))
