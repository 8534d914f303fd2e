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
from rlsearch.kernels.numba_functions import F
from rlsearch.proxies.networks.norms import NORM_EPSILON
from rlsearch.proxies.trainers import (
    native_input,
    native_loss,
    native_norm,
    native_optimiser,
    native_plan,
    native_product,
    native_sum,
)
from rlsearch.proxies.trainers.native_input import embed, embed_back, gather
from rlsearch.proxies.trainers.native_loss import add_count, loss_gradient
from rlsearch.proxies.trainers.native_norm import normalise, normalise_back
from rlsearch.proxies.trainers.native_optimiser import update
from rlsearch.proxies.trainers.native_plan import (
    CHANNELS,
    HAT,
    INPUT,
    NOWHERE,
    OUTPUTS,
    POSITIONS,
    POSITIONS_IN,
    RATE,
    SCALE,
    SHIFT,
    SLOPE,
    TAPS,
    WEIGHTS,
)
from rlsearch.proxies.trainers.native_product import add_product
from rlsearch.proxies.trainers.native_sum import sum_of

_modules = (native_input, native_loss, native_norm, native_optimiser, native_plan, native_product, native_sum)
compiled = Compiler("trainer", sys.modules[__name__], numba_functions, *_modules, str(NORM_EPSILON))

# Types of arguments, which :func:`train` describes.
_REALS, _INDICES = "float32[::1]", "int64[::1]"
_FIELDS = f"int32[:, ::1], {_REALS}, int32[::1], int32[::1], int64"
_VALUE, _VALUE_AND_SLOPES = (f"FunctionType(void({_FIELDS}{n * ', float32[:, ::1]'}))" for n in (2, 3))
_LIBRARY, _PROGRAM = f"Tuple((int64, {_VALUE}, {_VALUE_AND_SLOPES}))", f"Tuple(({_FIELDS}))"
_NETWORK, _BUFFERS = f"Tuple((int64[:, ::1], {_INDICES}))", f"UniTuple({_REALS}, 4)"
_INPUTS, _LABELS = "Tuple((float32[:, ::1], int64[:, ::1]))", f"Tuple(({_INDICES}, float32[:, ::1]))"

# Of a layer of several taps; see rlsearch.proxies.networks.base.Layer.
_STRIDE, _PAD = 2, 1


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
            bias_gradient[j] += sum_of(block[j * count : (j + 1) * count])
        if wanted:
            add_product(sgemm, False, False, n_in, count, n_out, matrix, block, d_x[at:])


@compiled()
def _normalised(layer, count, weights, z, work, spare):
    """Normalises every position, where the network does."""
    size, centred = layer[OUTPUTS] * count, layer[SHIFT] != NOWHERE
    if layer[SCALE] != NOWHERE:
        scale, shift = weights[layer[SCALE] :], weights[layer[SHIFT] :]
        for position in range(layer[POSITIONS]):
            hat, rate = work[layer[HAT] + position * size :], work[layer[RATE] + position * count :]
            normalise(z[position * size :], layer[OUTPUTS], count, scale, shift, centred, hat, rate, spare)


@compiled()
def _normalised_back(layer, count, weights, d, work, gradient, spare):
    size, centred = layer[OUTPUTS] * count, layer[SHIFT] != NOWHERE
    if layer[SCALE] != NOWHERE:
        scale, scale_d, shift_d = weights[layer[SCALE] :], gradient[layer[SCALE] :], gradient[layer[SHIFT] :]
        for position in range(layer[POSITIONS]):
            hat, rate = work[layer[HAT] + position * size :], work[layer[RATE] + position * count :]
            block = d[position * size :]
            normalise_back(block, layer[OUTPUTS], count, scale, centred, hat, rate, scale_d, shift_d, spare)


# With a signature it is compiled once, and not for each value of the last argument.
@compiled(f"void({_LIBRARY}, {_PROGRAM}, {_NETWORK}, {_REALS}, {_INPUTS}, {_INDICES}, {_BUFFERS}, boolean)")
def _forward(library, program, network, weights, inputs, examples, buffers, slopes):
    """Computes the outputs of the chosen examples into ``buffers[3]``; where wanted, with all that training needs."""
    sgemm, value, value_and_slopes = library
    instructions, constants, starts, results, n_slots = program
    plan, table = network
    work, spare, _, outputs = buffers
    numbers, tokens = inputs
    count = examples.size
    first = work[plan[0, INPUT] + _pads(plan[0], count) :]
    if table[0] == NOWHERE:
        gather(numbers, examples, first)
    else:
        embed(tokens, examples, weights[table[0] :], table[1], first)
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
        if slopes:
            value_and_slopes(instructions, constants, starts, results, n_slots, source, target, source)
        else:
            value(instructions, constants, starts, results, n_slots, source, target)
    head = plan[len(plan) - 1]
    x = work[head[INPUT] :]
    _average(x, head[POSITIONS_IN], head[CHANNELS] * count)
    _linear(sgemm, head, count, weights, x, outputs)


@compiled()
def _backward(sgemm, network, weights, gradient, tokens, examples, buffers):
    """Computes the gradient of all weights from that of the outputs, which is ``buffers[3]``."""
    plan, table = network
    work, d_x, d_z, d = buffers
    count = examples.size
    gradient[:] = 0
    for i in range(len(plan) - 1, -1, -1):
        layer = plan[i]
        if i < len(plan) - 1:
            slope = work[layer[SLOPE] : layer[SLOPE] + layer[POSITIONS] * layer[OUTPUTS] * count]
            for j in range(slope.size):
                d[j] *= slope[j]
            _normalised_back(layer, count, weights, d, work, gradient, d_x)
        wanted = i > 0 or table[0] != NOWHERE
        _linear_back(sgemm, layer, count, weights, work[layer[INPUT] :], d, gradient, d_x, wanted)
        if i == len(plan) - 1:
            _spread(d_x, layer[POSITIONS_IN], layer[CHANNELS] * count)
        d = d_x[_pads(layer, count) :]
        d_x, d_z = d_z, d_x
    if table[0] != NOWHERE:
        embed_back(tokens, examples, d, table[1], gradient[table[0] :])


@compiled()
def _score(library, program, network, weights, part, rows, buffers, count, into):
    """Adds up what is counted on a part, and says whether all outputs are finite."""
    inputs, labels = part
    plan, _ = network
    # One of the two has all examples and the other none.
    size = len(labels[0]) + len(labels[1])
    for start in range(0, size, rows):
        examples = np.arange(start, min(start + rows, size))
        used = (buffers[0], buffers[1], buffers[2], buffers[3][: plan[len(plan) - 1, OUTPUTS] * examples.size])
        _forward(library, program, network, weights, inputs, examples, used, False)
        if not add_count(count, used[3], labels, examples, used[1], into):
            return False
    return True


_ARGUMENTS = (
    _LIBRARY,
    _PROGRAM,
    _NETWORK,
    f"UniTuple({_REALS}, 4)",
    _BUFFERS,
    f"UniTuple(Tuple(({_INPUTS}, {_LABELS})), 3)",
    f"Tuple((int64[:, ::1], float64[::1], {_INDICES}))",
    "Tuple((boolean, float64))",
    "UniTuple(int64, 2)",
    "float64[:, :, ::1]",
    "int64",
)


@compiled(f"boolean({', '.join(_ARGUMENTS)})")
def train(library, program, network, state, buffers, data, schedule, optimiser, task, counts, rows):
    """Trains one member and scores it.

    A training is left as soon as the head's first bias is NaN: it stays so, and with it every value of that output.

    Args:
        library: The address of BLAS's function, and the two functions of the interpreter.
        program: A packed formula; see ``numba_source.py``.
        network: The layers and the table of a :class:`~rlsearch.proxies.trainers.native_plan.Plan`.
        state: The initial weights, their gradient, and two of the optimiser's, which are 0; each of one size.
        buffers: What is kept between the passes, two of what flows between layers, and the outputs.
        data: Three parts: to train on, to score on, and outside the range of training, which may be empty. Each has
            its inputs, as numbers and as tokens, and its labels, as classes and as numbers; one of two is empty.
        schedule: Rows of the examples of every batch, ``[steps, batch]``; the learning rate of every step; and after
            how many steps the member is scored, the last time after all.
        optimiser: Whether it is Adam, or else gradient descent with momentum, and the weight decay.
        task: The numbers of its loss and of what it counts; see ``native_loss.py``.
        counts: Zeros; become what is counted at every evaluation, ``[2, evaluations, 1 or outputs]``.
        rows: How many examples are scored at a time.

    Returns:
        Whether all outputs were finite.
    """
    weights, gradient, _, _ = state
    orders, rates, scored_after = schedule
    plan, _ = network
    head = plan[len(plan) - 1]
    bias = head[WEIGHTS] + head[CHANNELS] * head[OUTPUTS]
    inputs, labels = data[0]
    used = (buffers[0], buffers[1], buffers[2], buffers[3][: head[OUTPUTS] * orders.shape[1]])
    done = 0
    for evaluation in range(scored_after.size):
        for step in range(done, scored_after[evaluation]):
            examples = orders[step]
            _forward(library, program, network, weights, inputs, examples, used, True)
            loss_gradient(task[0], used[3], labels, examples, used[1])
            _backward(library[0], network, weights, gradient, inputs[1], examples, used)
            update(optimiser, state, rates[step], step + 1)
            if math.isnan(weights[bias]):
                return False
        done = scored_after[evaluation]
        for i in range(len(counts)):
            into = counts[i, evaluation]
            if not _score(library, program, network, weights, data[1 + i], rows, buffers, task[1], into):
                return False
    return True
