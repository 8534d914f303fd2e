"""One member's whole training and its scoring, compiled by numba; see :mod:`rlsearch.proxies.native`.

Everything is feature-major: a matrix has a row per feature and a column per example (in the convolutional net per
position and example, positions first). So normalisation, softmax and argmax run over rows that lie side by side and
become vector instructions, windows are copies of whole rows, and a last row of ones in a layer's input makes its bias
a row of its weights: neither the sum of the bias's gradient nor its addition is a pass of its own.

This file is not imported under its own name: :func:`~rlsearch.proxies.native.load_trainer` copies it into the
machine's cache folder, where numba keeps the machine code beside it.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from rlsearch.kernels.numba_functions import F, abs, exp, maximum, sqrt
from rlsearch.kernels.numba_source import load_interpreter

_interpreter = load_interpreter()
_value, _value_and_slope = _interpreter.value, _interpreter.value_and_slope

_compiled = numba.njit(error_model="numpy")

# The columns of a plan, which has a row per layer and one for the head; offsets count numbers of a buffer.
INPUTS, OUTPUTS, POSITIONS_IN, POSITIONS, WEIGHTS, NORM, X, SLOPE, HAT, RATE = range(10)
N_FIELDS = 10

_TAPS = 4  # of a convolution; PopulationConv1d.kernel_size
_BETA1, _BETA2, _EPSILON, _MOMENTUM = 0.9, 0.999, 1e-8, 0.9  # torch's defaults; _optimiser's momentum
_NORM_EPSILON = 1e-5  # torch's layer_norm
_SMALL = 1_000_000  # multiply-adds up to which OpenBLAS takes operands as they are (sgemm_small_kernel_permit_skylakex.c)


@intrinsic
def _sgemm(typing, address, turned, m, n, k, a, a_step, b, b_step, c, c_step):
    """Calls BLAS for ``c[m, n] = a[m, k] @ b[k, n]``, row-major, each row ``step`` numbers after the one before."""
    integers = [numba.int64] * 3
    signature = numba.void(
        numba.int64, numba.boolean, *integers, a, numba.int64, b, numba.int64, c, numba.int64
    )

    def generate(context, builder, signature, arguments):
        address, turned, m, n, k, *rest = arguments
        real, integer, character = ir.FloatType(), ir.IntType(32), ir.IntType(8)
        pointers = {kind: kind.as_pointer() for kind in (real, integer, character)}

        def data(position):
            return context.make_array(signature.args[position])(context, builder, arguments[position]).data

        def passed(value):
            return cgutils.alloca_once_value(builder, value)

        def number(value):
            return passed(builder.trunc(value, integer))

        order = [character] * 2 + [integer] * 3 + [real, real, integer, real, integer, real, real, integer]
        kind = ir.FunctionType(ir.VoidType(), [pointers[each] for each in order])
        # BLAS is column-major: it sees every matrix transposed, and computes c.T = b.T @ a.T.
        swapped = builder.select(turned, character(ord("T")), character(ord("N")))
        a_step, b_step, c_step = rest[1], rest[3], rest[5]
        builder.call(
            builder.inttoptr(address, kind.as_pointer()),
            [
                passed(character(ord("N"))),
                passed(swapped),
                number(n),
                number(m),
                number(k),
                passed(real(1.0)),
                data(7),
                number(b_step),
                data(5),
                number(a_step),
                passed(real(0.0)),
                data(9),
                number(c_step),
            ],
        )
        return context.get_dummy_value()

    return signature, generate


@_compiled
def _product(sgemm, turned, m, n, k, a, b, c):
    """``c[m, n] = a[m, k] @ b[k, n]``; where ``turned``, a is stored as ``[k, m]``.

    In pieces that BLAS does not copy first, which are up to twice as fast; a large product is left whole.
    """
    pieces = (m * n * k + _SMALL - 1) // _SMALL
    rows = ((m + pieces - 1) // pieces + 3) // 4 * 4
    if rows < 8:
        rows = m
    for start in range(0, m, rows):
        count = min(rows, m - start)
        if turned:
            _sgemm(sgemm, True, count, n, k, a[start:], m, b, n, c[start * n :], n)
        else:
            _sgemm(sgemm, False, count, n, k, a[start * k :], k, b, n, c[start * n :], n)


@_compiled
def _gather(inputs, examples, into):
    """Writes the chosen examples as columns."""
    count, features = examples.size, inputs.shape[1]
    for i in range(count):
        source = inputs[examples[i]]
        for j in range(features):
            into[j * count + i] = source[j]


@_compiled
def _unfold(flow, channels, positions_in, positions, count, into):
    """Writes the windows of a sequence: row ``4 c + tap`` of position p is row c at position ``2 p + tap - 1``."""
    for row in range(channels * _TAPS):
        source = flow[row // _TAPS * positions_in * count : (row // _TAPS + 1) * positions_in * count]
        target = into[row * positions * count : (row + 1) * positions * count]
        for position in range(positions):
            at = 2 * position + row % _TAPS - 1
            if 0 <= at < positions_in:
                target[position * count : (position + 1) * count] = source[at * count : (at + 1) * count]
            else:
                target[position * count : (position + 1) * count] = 0


@_compiled
def _fold(windows, channels, positions_in, positions, count, into):
    """Adds up what :func:`_unfold` spread."""
    into[: channels * positions_in * count] = 0
    for row in range(channels * _TAPS):
        target = into[row // _TAPS * positions_in * count : (row // _TAPS + 1) * positions_in * count]
        source = windows[row * positions * count : (row + 1) * positions * count]
        for position in range(positions):
            at = 2 * position + row % _TAPS - 1
            if 0 <= at < positions_in:
                a, b = target[at * count : (at + 1) * count], source[position * count : (position + 1) * count]
                for i in range(count):
                    a[i] += b[i]


@_compiled
def _average(flow, channels, positions, count, into):
    """Writes the mean over positions."""
    for channel in range(channels):
        target = into[channel * count : (channel + 1) * count]
        target[:] = 0
        for position in range(channel * positions, (channel + 1) * positions):
            source = flow[position * count : (position + 1) * count]
            for i in range(count):
                target[i] += source[i]
        for i in range(count):
            target[i] /= F(positions)


@_compiled
def _spread(gradient, channels, positions, count, into):
    """Hands the gradient of a mean back to its positions."""
    for channel in range(channels):
        source = gradient[channel * count : (channel + 1) * count]
        for position in range(channel * positions, (channel + 1) * positions):
            target = into[position * count : (position + 1) * count]
            for i in range(count):
                target[i] = source[i] / F(positions)


@_compiled
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


@numba.njit(error_model="numpy", fastmath={"reassoc"})  # NaN lives; the sum's order is fixed by its length
def _sum_of_products(a, b):
    total = F(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@numba.njit(error_model="numpy", fastmath={"reassoc"})
def _sum(a):
    total = F(0)
    for i in range(a.size):
        total += a[i]
    return total


@_compiled
def _normalise_back(d, outputs, columns, scale, hat, rate, scale_gradient, shift_gradient, sums):
    """Takes the gradient through :func:`_normalise`, in place."""
    plain, tilted = sums[:columns], sums[columns : 2 * columns]
    plain[:] = 0
    tilted[:] = 0
    for j in range(outputs):
        row, normal = d[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        scale_gradient[j], shift_gradient[j] = _sum_of_products(row, normal), _sum(row)
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


@_compiled
def _turn(a, rows, columns, into):
    """Transposes; sixteen columns at a time stay in the first-level cache."""
    for start in range(0, columns, 16):
        stop = min(start + 16, columns)
        for j in range(rows):
            row = a[j * columns : (j + 1) * columns]
            for i in range(start, stop):
                into[i * rows + j] = row[i]


@_compiled
def _softmax_gradient(logits, labels, examples, sums):
    """Replaces logits by the gradient of the mean cross-entropy."""
    count = examples.size
    classes = logits.size // count
    peak, total = sums[:count], sums[count : 2 * count]
    peak[:] = logits[:count]
    total[:] = 0
    for c in range(1, classes):
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


@_compiled
def _forward(sgemm, program, plan, weights, inputs, examples, buffers, slopes):
    """Computes the logits of the chosen examples into ``buffers[3]``; where wanted, with all that training needs."""
    instructions, constants, starts, results, n_slots = program
    work, flow, other, logits = buffers
    count, head = examples.size, len(plan) - 1
    convolving = plan[0, POSITIONS_IN] > 1
    _gather(inputs, examples, flow if convolving else work[plan[0, X] :])
    for layer in range(head + 1):
        n_in, n_out = plan[layer, INPUTS], plan[layer, OUTPUTS]
        positions_in, positions = plan[layer, POSITIONS_IN], plan[layer, POSITIONS]
        columns = positions * count
        x, z = work[plan[layer, X] :], work[plan[layer, SLOPE] :]
        if convolving and layer < head:
            _unfold(flow, n_in // _TAPS, positions_in, positions, count, x)
        elif convolving:
            _average(flow, n_in, positions_in, count, x)
        x[n_in * columns : (n_in + 1) * columns] = 1
        if layer == head:
            z = logits
        _product(sgemm, True, n_out, columns, n_in + 1, weights[plan[layer, WEIGHTS] :], x, z)
        if layer == head:
            break
        if plan[layer, NORM] >= 0:
            scale, shift = weights[plan[layer, NORM] :], weights[plan[layer, NORM] + n_out :]
            _normalise(z, n_out, columns, scale, shift, work[plan[layer, HAT] :], work[plan[layer, RATE] :], other)
        size = n_out * columns
        source = z[:size].reshape(1, size)
        target = (flow if convolving else work[plan[layer + 1, X] :])[:size].reshape(1, size)
        if slopes:  # which take the place of what was activated
            _value_and_slope(instructions, constants, starts, results, n_slots, source, target, source)
        else:
            _value(instructions, constants, starts, results, n_slots, source, target)


@_compiled
def _backward(sgemm, plan, weights, gradient, count, buffers):
    """Computes the gradient of all weights from that of the logits, which is ``buffers[3]``."""
    work, flow, other, d = buffers
    head = len(plan) - 1
    convolving = plan[0, POSITIONS_IN] > 1
    for layer in range(head, -1, -1):
        n_in, n_out = plan[layer, INPUTS], plan[layer, OUTPUTS]
        positions_in, positions = plan[layer, POSITIONS_IN], plan[layer, POSITIONS]
        columns = positions * count
        if layer < head:
            slope = work[plan[layer, SLOPE] : plan[layer, SLOPE] + n_out * columns]
            for i in range(slope.size):
                d[i] *= slope[i]
            norm = plan[layer, NORM]
            if norm >= 0:
                hat, rate = work[plan[layer, HAT] :], work[plan[layer, RATE] :]
                scale, shift_gradient = weights[norm:], gradient[norm + n_out :]
                _normalise_back(d, n_out, columns, scale, hat, rate, gradient[norm:], shift_gradient, other)
        at = plan[layer, WEIGHTS]
        _turn(d, n_out, columns, other)
        _product(sgemm, False, n_in + 1, n_out, columns, work[plan[layer, X] :], other, gradient[at:])
        if layer == 0:
            break
        _product(sgemm, False, n_in, columns, n_out, weights[at:], d, other)
        if not convolving:
            flow, other = other, flow
        elif layer == head:
            _spread(other, n_in, positions_in, count, flow)
        else:
            _fold(other, n_in // _TAPS, positions_in, positions, count, flow)
        d = flow


@_compiled
def _adam(weights, gradient, mean, square, rate, step):
    correction = F(1 / math.sqrt(1 - _BETA2**step))
    rate = F(rate / (1 - _BETA1**step))
    for i in range(weights.size):
        g = gradient[i]
        mean[i] += (g - mean[i]) * F(1 - _BETA1)
        square[i] = square[i] * F(_BETA2) + g * g * F(1 - _BETA2)
        weights[i] -= rate * mean[i] / (sqrt(square[i]) * correction + F(_EPSILON))


@_compiled
def _sgd(weights, gradient, momentum, rate):
    for i in range(weights.size):
        momentum[i] = momentum[i] * F(_MOMENTUM) + gradient[i]
        weights[i] -= F(rate) * momentum[i]


@_compiled
def _right(logits, labels, examples, best, chosen):
    """Returns how many of the examples have their label as the first largest logit, or -1 if a logit is not finite."""
    count = examples.size
    classes = logits.size // count
    finite = True
    for i in range(logits.size):
        finite &= abs(logits[i]) < F(math.inf)
    if not finite:
        return -1
    best[:count] = logits[:count]
    chosen[:count] = 0
    for c in range(1, classes):
        row = logits[c * count : (c + 1) * count]
        for i in range(count):
            chosen[i] = c if row[i] > best[i] else chosen[i]
        for i in range(count):
            best[i] = row[i] if row[i] > best[i] else best[i]
    right = 0
    for i in range(count):
        right += chosen[i] == labels[examples[i]]
    return right


_REALS, _WHOLE = "float32[::1]", "int64[::1]"
_PROGRAM = "Tuple((int32[:, ::1], float32[::1], int32[::1], int32[::1], int64))"
_BUFFERS = f"UniTuple({_REALS}, 4)"
_DATA = f"float32[:, ::1], {_WHOLE}"


@numba.njit(
    f"boolean(int64, {_PROGRAM}, int64[:, ::1], UniTuple({_REALS}, 4), {_DATA}, int64[:, ::1], {_BUFFERS}, boolean, "
    "float64)",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def train(sgemm, program, plan, state, inputs, labels, orders, buffers, adam, rate):
    """Trains one member.

    Args:
        sgemm: The address of BLAS's function.
        program: A packed formula; see ``numba_source.py``.
        plan: The layers, ``[layers + 1, N_FIELDS]``.
        state: Weights, their gradient, and two of the optimiser's, each of one size.
        inputs: ``[examples, features]``.
        labels: ``[examples]``.
        orders: Rows of the examples of every batch, ``[steps, batch]``.
        buffers: Scratch: what is kept between the passes, two of what flows between layers, and the logits.
        adam: Adam, or else momentum.
        rate: The learning rate.

    Returns:
        Whether the training came to its end. It is left as soon as the head's bias is NaN: it stays so, and with it
        every logit of that class.
    """
    weights, gradient, first, second = state
    head = plan[len(plan) - 1]
    bias = head[WEIGHTS] + head[INPUTS] * head[OUTPUTS]
    count = orders.shape[1]
    buffers = (buffers[0], buffers[1], buffers[2], buffers[3][: head[OUTPUTS] * count])
    for step in range(len(orders)):
        examples = orders[step]
        _forward(sgemm, program, plan, weights, inputs, examples, buffers, True)
        _softmax_gradient(buffers[3], labels, examples, buffers[1])
        _backward(sgemm, plan, weights, gradient, count, buffers)
        if adam:
            _adam(weights, gradient, first, second, rate, step + 1)
        else:
            _sgd(weights, gradient, first, rate)
        if math.isnan(weights[bias]):
            return False
    return True


@numba.njit(
    f"int64(int64, {_PROGRAM}, int64[:, ::1], {_REALS}, {_DATA}, int64, {_BUFFERS})",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def score(sgemm, program, plan, weights, inputs, labels, rows, buffers):
    """Returns how many examples are classified rightly, ``rows`` at a time, or -1 where a logit is not finite."""
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
