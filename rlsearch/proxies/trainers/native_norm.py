"""Normalisation over a layer's features for :mod:`rlsearch.proxies.trainers.native_step`."""

import numba

from rlsearch.kernels.numba_functions import F, sqrt
from rlsearch.proxies.networks.norms import NORM_EPSILON
from rlsearch.proxies.trainers.native_sum import sum_of, sum_of_products

compiled = numba.njit(error_model="numpy")


@compiled
def normalise(z, outputs, columns, scale, shift, centred, hat, rate, mean):
    """Normalises columns over their features, in place, and keeps what the backward pass needs.

    Args:
        z: What is normalised, ``[outputs, columns]``.
        outputs: Features.
        columns: Examples.
        scale: Of each feature.
        shift: Of each feature, where ``centred``.
        centred: Whether it is layer normalisation, or else that by the root of the mean square.
        hat: Becomes the normalised values before scale and shift.
        rate: Becomes what each column was multiplied by.
        mean: Room for a number of each column.
    """
    mean[:columns] = 0
    rate[:columns] = 0
    if centred:
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
        rate[i] = F(1) / sqrt(rate[i] / F(outputs) + F(NORM_EPSILON))
    for j in range(outputs):
        row, normal = z[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        factor, term = scale[j], shift[j] if centred else F(0)
        for i in range(columns):
            normal[i] = (row[i] - mean[i]) * rate[i]
        for i in range(columns):
            row[i] = normal[i] * factor + term


@compiled
def normalise_back(d, outputs, columns, scale, centred, hat, rate, scale_gradient, shift_gradient, sums):
    """Takes the gradient through :func:`normalise`, in place, and adds to those of scale and shift."""
    plain, tilted = sums[:columns], sums[columns : 2 * columns]
    plain[:] = 0
    tilted[:] = 0
    for j in range(outputs):
        row, normal = d[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        scale_gradient[j] += sum_of_products(row, normal)
        if centred:
            shift_gradient[j] += sum_of(row)
        factor = scale[j]
        for i in range(columns):
            row[i] *= factor
        if centred:
            for i in range(columns):
                plain[i] += row[i]
        for i in range(columns):
            tilted[i] += row[i] * normal[i]
    for j in range(outputs):
        row, normal = d[j * columns : (j + 1) * columns], hat[j * columns : (j + 1) * columns]
        for i in range(columns):
            row[i] = rate[i] * (row[i] - (plain[i] + normal[i] * tilted[i]) / F(outputs))
