"""One member's whole training and its scoring, compiled by numba; see :mod:`rlsearch.proxies.trainers.native`.

Numbers of all examples lie side by side: a layer's values are ``[positions, features, examples]``, with one position
in the MLP. So normalisation, softmax and argmax run over rows that become vector instructions, and a convolution
needs no windows: those of a position are a matrix ``[taps * channels, examples]`` inside its input, a row of zeros
per channel before and behind, and where they overlap their gradients are added up by the product itself.

The import compiles, once per machine.
"""

import math
import sys

import numpy as np

from rlsearch.kernels import numba_functions
from rlsearch.kernels.compiled import Compiler
from rlsearch.kernels.numba_functions import F, abs, exp, maximum, sqrt
from rlsearch.kernels.numba_source import load_interpreter
from rlsearch.proxies.trainers import native_product
from rlsearch.proxies.trainers.native_product import add_product

_interpreter = load_interpreter()
_value, _value_and_slope = _interpreter.value, _interpreter.value_and_slopes

# The name of the generated module contains a digest of what that depends on.
compiled = Compiler("trainer", sys.modules[__name__], numba_functions, native_product, _interpreter.__name__)

# The columns of a plan, which has a row per layer, the head being the last; offsets count numbers of a buffer.
TAPS, CHANNELS, OUTPUTS, POSITIONS_IN, POSITIONS, WEIGHTS, NORM, INPUT, SLOPE, HAT, RATE = range(11)
N_FIELDS = 11

# Of a layer of several taps; see rlsearch.proxies.networks.base.Layer.
_STRIDE, _PAD = 2, 1

# torch's defaults, and the population trainer's momentum.
_BETA1, _BETA2, _EPSILON, _MOMENTUM = 0.9, 0.999, 1e-8, 0.9

# Of torch's layer_norm.
_NORM_EPSILON = 1e-5

# Lets a sum be split into vectors: its order is fixed by its length, and NaN stays NaN.
_REASSOCIATED = {"reassoc"}


@compiled(fastmath=_REASSOCIATED)
def _sum_of_products(a, b):
    total = F(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled(fastmath=_REASSOCIATED)
def _sum(a):
    total = F(0)
    for i in range(a.size):
        total += a[i]
    return total


@compiled()
def _gather(inputs, examples, into):
    """Writes the chosen examples as columns."""
    count, features = examples.size, inputs.shape[1]
    for i in range(count):
        source = inputs[examples[i]]
        for j in range(features):
            into[j * count + i] = source[j]


@compiled()
def _average(blocks, positions, size):
    """Writes the mean over positions into the first."""
    if positions > 1:
        mean = blocks[:size]
        for position in range(1, positions):
            block = blocks[position * size : (position + 1) * size]
            for i in range(size):
                mean[i] += block[i]
        for i in range(size):
            mean[i] /= F(positions)


@compiled()
def _spread(blocks, positions, size):
    """Hands the first position's gradient, of a mean, to all."""
    if positions > 1:
        mean = blocks[:size]
        for i in range(size):
            mean[i] /= F(positions)
        for position in range(1, positions):
            block = blocks[position * size : (position + 1) * size]
            for i in range(size):
                block[i] = mean[i]


@compiled()
def _pads(layer, count):
    """Zeros that lie before a layer's input, and as many behind it."""
    return _PAD * layer[CHANNELS] * count if layer[TAPS] > 1 else 0


@compiled()
def _linear(sgemm, layer, count, weights, x, z):
    """``z[p] = W.T @ x[window of p] + bias`` for every position p."""
    n_in, n_out = layer[TAPS] * layer[CHANNELS], layer[OUTPUTS]
    matrix = weights[layer[WEIGHTS] :]
    bias = weights[layer[WEIGHTS] + n_in * n_out :]
    for position in range(layer[POSITIONS]):
        block = z[position * n_out * count : (position + 1) * n_out * count]
        for j in range(n_out):
            block[j * count : (j + 1) * count] = bias[j]
        window = x[_STRIDE * position * layer[CHANNELS] * count :]
        add_product(sgemm, True, False, n_out, count, n_in, matrix, window, block)


@compiled()
def _linear_back(sgemm, layer, count, weights, x, d, gradient, d_x, wanted):
    """Adds to the gradient of a layer's weights, and where wanted writes that of its input."""
    n_in, n_out = layer[TAPS] * layer[CHANNELS], layer[OUTPUTS]
    matrix, matrix_gradient = weights[layer[WEIGHTS] :], gradient[layer[WEIGHTS] :]
    bias_gradient = gradient[layer[WEIGHTS] + n_in * n_out :]
    if wanted:
        d_x[: layer[POSITIONS_IN] * layer[CHANNELS] * count + 2 * _pads(layer, count)] = 0
    for position in range(layer[POSITIONS]):
        block = d[position * n_out * count : (position + 1) * n_out * count]
        at = _STRIDE * position * layer[CHANNELS] * count
        add_product(sgemm, False, True, n_in, n_out, count, x[at:], block, matrix_gradient)
        for j in range(n_out):
            bias_gradient[j] += _sum(block[j * count : (j + 1) * count])
        if wanted:
            add_product(sgemm, False, False, n_in, count, n_out, matrix, block, d_x[at:])


@compiled()
def _normalise(z, outputs, columns, scale, shift, hat, rate, mean):
    """Layer normalisation over the features, in place; keeps what the backward pass needs in ``hat`` and ``rate``."""
    mean[:columns] = 0
    rate[:columns] = 0
    for j in range(outputs):
        row = z[j * columns : (j + 1) * columns]
        for i in range(columns):
            mean[i] += row[i]
    for i in range(columns):
        mean[i] /= F(outputs)
    for j in range(outputs):
        row = z[j * columns : (j + 1) * columns]
        for i in range(columns):
            difference = row[i] - mean[i]
            rate[i] += difference * difference
    for i in range(columns):
        rate[i] = F(1) / sqrt(rate[i] / F(outputs) + F(_NORM_EPSILON))
    for j in range(outputs):
        row, normal = z[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        factor, term = scale[j], shift[j]
        for i in range(columns):
            normal[i] = (row[i] - mean[i]) * rate[i]
        for i in range(columns):
            row[i] = normal[i] * factor + term


@compiled()
def _normalise_back(d, outputs, columns, scale, hat, rate, scale_gradient, shift_gradient, sums):
    """Takes the gradient through :func:`_normalise`, in place."""
    plain, tilted = sums[:columns], sums[columns : 2 * columns]
    plain[:] = 0
    tilted[:] = 0
    for j in range(outputs):
        row, normal = d[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        scale_gradient[j] += _sum_of_products(row, normal)
        shift_gradient[j] += _sum(row)
        factor = scale[j]
        for i in range(columns):
            row[i] *= factor
        for i in range(columns):
            plain[i] += row[i]
        for i in range(columns):
            tilted[i] += row[i] * normal[i]
    for j in range(outputs):
        row, normal = d[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        for i in range(columns):
            row[i] = rate[i] * (row[i] - (plain[i] + normal[i] * tilted[i]) / F(outputs))


@compiled()
def _softmax_gradient(logits, labels, examples, sums):
    """Replaces logits by the gradient of the mean cross-entropy."""
    count = examples.size
    classes = logits.size // count
    peak, total = sums[:count], sums[count : 2 * count]
    peak[:] = -math.inf
    total[:] = 0
    for c in range(classes):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            peak[i] = maximum(peak[i], row[i])
    for c in range(classes):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            row[i] = exp(row[i] - peak[i])
        for i in range(count):
            total[i] += row[i]
    for c in range(classes):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            row[i] = row[i] / total[i] / F(count)
    for i in range(count):
        logits[labels[examples[i]] * count + i] -= F(1) / F(count)


@compiled()
def _normalised(layer, count, weights, z, work, spare):
    """Normalises every position, where the network does."""
    norm, size = layer[NORM], layer[OUTPUTS] * count
    if norm >= 0:
        scale, shift = weights[norm:], weights[norm + layer[OUTPUTS] :]
        for position in range(layer[POSITIONS]):
            hat, rate = work[layer[HAT] + position * size :], work[layer[RATE] + position * count :]
            _normalise(z[position * size :], layer[OUTPUTS], count, scale, shift, hat, rate, spare)


@compiled()
def _normalised_back(layer, count, weights, d, work, gradient, spare):
    norm, size = layer[NORM], layer[OUTPUTS] * count
    if norm >= 0:
        scale, scale_gradient, shift_gradient = weights[norm:], gradient[norm:], gradient[norm + layer[OUTPUTS] :]
        for position in range(layer[POSITIONS]):
            hat, rate = work[layer[HAT] + position * size :], work[layer[RATE] + position * count :]
            block = d[position * size :]
            _normalise_back(block, layer[OUTPUTS], count, scale, hat, rate, scale_gradient, shift_gradient, spare)


@compiled()
def _forward(sgemm, program, plan, weights, inputs, examples, buffers, slopes):
    """Computes the logits of the chosen examples into ``buffers[3]``; where wanted, with all that training needs."""
    instructions, constants, starts, results, n_slots = program
    work, spare, _, logits = buffers
    count = examples.size
    _gather(inputs, examples, work[plan[0, INPUT] + _pads(plan[0], count) :])
    for i in range(len(plan) - 1):
        layer, following = plan[i], plan[i + 1]
        x, z = work[layer[INPUT] :], work[layer[SLOPE] :]
        pad = _pads(layer, count)
        x[:pad] = 0
        x[pad + layer[POSITIONS_IN] * layer[CHANNELS] * count :][:pad] = 0
        _linear(sgemm, layer, count, weights, x, z)
        _normalised(layer, count, weights, z, work, spare)
        size = layer[POSITIONS] * layer[OUTPUTS] * count
        source = z[:size].reshape(1, size)
        target = work[following[INPUT] + _pads(following, count) :][:size].reshape(1, size)
        if slopes:  # which take the place of what was activated
            _value_and_slope(instructions, constants, starts, results, n_slots, source, target, source)
        else:
            _value(instructions, constants, starts, results, n_slots, source, target)
    head = plan[len(plan) - 1]
    x = work[head[INPUT] :]
    _average(x, head[POSITIONS_IN], head[CHANNELS] * count)
    _linear(sgemm, head, count, weights, x, logits)


@compiled()
def _backward(sgemm, plan, weights, gradient, count, buffers):
    """Computes the gradient of all weights from that of the logits, which is ``buffers[3]``."""
    work, d_x, d_z, d = buffers
    gradient[:] = 0
    for i in range(len(plan) - 1, -1, -1):
        layer = plan[i]
        if i < len(plan) - 1:
            slope = work[layer[SLOPE] : layer[SLOPE] + layer[POSITIONS] * layer[OUTPUTS] * count]
            for j in range(slope.size):
                d[j] *= slope[j]
            _normalised_back(layer, count, weights, d, work, gradient, d_x)
        _linear_back(sgemm, layer, count, weights, work[layer[INPUT] :], d, gradient, d_x, i > 0)
        if i == len(plan) - 1:
            _spread(d_x, layer[POSITIONS_IN], layer[CHANNELS] * count)
        d = d_x[_pads(layer, count) :]
        d_x, d_z = d_z, d_x


@compiled()
def _adam(weights, gradient, mean, square, rate, step):
    correction = F(1 / math.sqrt(1 - _BETA2**step))
    rate = F(rate / (1 - _BETA1**step))
    for i in range(weights.size):
        g = gradient[i]
        mean[i] += (g - mean[i]) * F(1 - _BETA1)
        square[i] = square[i] * F(_BETA2) + g * g * F(1 - _BETA2)
        weights[i] -= rate * mean[i] / (sqrt(square[i]) * correction + F(_EPSILON))


@compiled()
def _sgd(weights, gradient, momentum, rate):
    for i in range(weights.size):
        momentum[i] = momentum[i] * F(_MOMENTUM) + gradient[i]
        weights[i] -= F(rate) * momentum[i]


@compiled()
def _right(logits, labels, examples, best, chosen):
    """Counts examples whose label is the first largest logit; -1 if a logit is not finite."""
    count = examples.size
    classes = logits.size // count
    finite = True
    for i in range(logits.size):
        finite &= abs(logits[i]) < F(math.inf)
    if not finite:
        return -1
    best[:count] = -math.inf
    chosen[:count] = 0
    for c in range(classes):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            chosen[i] = c if row[i] > best[i] else chosen[i]
        for i in range(count):
            best[i] = row[i] if row[i] > best[i] else best[i]
    right = 0
    for i in range(count):
        right += chosen[i] == labels[examples[i]]
    return right


@compiled()
def _score(sgemm, program, plan, weights, part, rows, buffers):
    """Counts examples of a part that are classified rightly; -1 where a logit is not finite."""
    inputs, labels = part
    right = 0
    classes = plan[len(plan) - 1, OUTPUTS]
    chosen = np.empty(rows, np.int64)
    for start in range(0, len(labels), rows):
        examples = np.arange(start, min(start + rows, len(labels)))
        used = (buffers[0], buffers[1], buffers[2], buffers[3][: classes * examples.size])
        _forward(sgemm, program, plan, weights, inputs, examples, used, False)
        found = _right(used[3], labels, examples, buffers[1], chosen)
        if found < 0:
            return -1
        right += found
    return right


_REALS = "float32[::1]"
_ARGUMENTS = (
    "int64",
    "Tuple((int32[:, ::1], float32[::1], int32[::1], int32[::1], int64))",
    "int64[:, ::1]",
    f"UniTuple({_REALS}, 4)",
    f"UniTuple({_REALS}, 4)",
    "Tuple((float32[:, ::1], int64[::1]))",
    "int64[:, ::1]",
    "Tuple((boolean, float64))",
    "Tuple((float32[:, ::1], int64[::1]))",
    "int64",
)


@compiled(f"int64({', '.join(_ARGUMENTS)})")
def train(sgemm, program, plan, state, buffers, examples, orders, optimiser, part, rows):
    """Trains one member and scores it.

    A training is left as soon as the head's bias is NaN: it stays so, and with it every logit of that class.

    Args:
        sgemm: The address of BLAS's function.
        program: A packed formula; see ``numba_source.py``.
        plan: The layers, ``[layers + 1, N_FIELDS]``.
        state: The initial weights, their gradient, and two of the optimiser's, which are 0; each of one size.
        buffers: What is kept between the passes, two of what flows between layers, and the logits.
        examples: To train on: inputs ``[examples, features]`` and labels.
        orders: Rows of the examples of every batch, ``[steps, batch]``.
        optimiser: Whether it is Adam, or else gradient descent with momentum, and the learning rate.
        part: To score on: inputs and labels.
        rows: How many of them at a time.

    Returns:
        How many of the part are classified rightly, or -1 where a logit is not finite.
    """
    weights, gradient, first, second = state
    inputs, labels = examples
    adam, rate = optimiser
    head = plan[len(plan) - 1]
    bias = head[WEIGHTS] + head[CHANNELS] * head[OUTPUTS]
    count = orders.shape[1]
    used = (buffers[0], buffers[1], buffers[2], buffers[3][: head[OUTPUTS] * count])
    for step in range(len(orders)):
        _forward(sgemm, program, plan, weights, inputs, orders[step], used, True)
        _softmax_gradient(used[3], labels, orders[step], used[1])
        _backward(sgemm, plan, weights, gradient, count, used)
        if adam:
            _adam(weights, gradient, first, second, rate, step + 1)
        else:
            _sgd(weights, gradient, first, rate)
        if math.isnan(weights[bias]):
            return -1
    return _score(sgemm, program, plan, weights, part, rows, buffers)
