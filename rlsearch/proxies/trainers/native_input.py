"""Examples as the first layer of :mod:`rlsearch.proxies.trainers.native_step` sees them: a column of each."""

import numba
import numpy as np

compiled = numba.njit(error_model="numpy")


@compiled
def gather(inputs, examples, into):
    """Writes the chosen examples as columns."""
    count, features = examples.size, inputs.shape[1]
    for i in range(count):
        source = inputs[examples[i]]
        for j in range(features):
            into[j * count + i] = source[j]


@compiled
def embed(tokens, examples, table, width, into):
    """Writes the numbers that stand for the chosen examples' tokens as columns.

    Args:
        tokens: Of all examples, ``[examples, length]``.
        examples: The chosen ones.
        table: The numbers of each token, ``[tokens, width]``, flat.
        width: How many.
        into: ``[length * width, examples]``, flat.
    """
    count = examples.size
    at = np.empty(count, np.int64)
    for place in range(tokens.shape[1]):
        for i in range(count):
            at[i] = tokens[examples[i], place] * width
        for j in range(width):
            row = into[(place * width + j) * count :][:count]
            for i in range(count):
                row[i] = table[at[i] + j]


@compiled
def embed_back(tokens, examples, d, width, table_gradient):
    """Adds the gradient of what :func:`embed` wrote to that of the table."""
    count = examples.size
    at = np.empty(count, np.int64)
    for place in range(tokens.shape[1]):
        for i in range(count):
            at[i] = tokens[examples[i], place] * width
        for j in range(width):
            row = d[(place * width + j) * count :][:count]
            for i in range(count):
                table_gradient[at[i] + j] += row[i]
