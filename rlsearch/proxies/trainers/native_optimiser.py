"""Optimisers for :mod:`rlsearch.proxies.trainers.native_step`."""

import math

import numba

from rlsearch.kernels.numba_functions import F, sqrt

# torch's defaults, and the population trainer's momentum.
_BETA1, _BETA2, _EPSILON, _MOMENTUM = 0.9, 0.999, 1e-8, 0.9

compiled = numba.njit(error_model="numpy")


@compiled
def update(optimiser, state, rate, step):
    """Takes one step.

    Args:
        optimiser: Whether it is Adam, or else gradient descent with momentum, and the weight decay of the former.
        state: The weights, their gradient, and two of the optimiser's, which are 0 before the first step.
        rate: The learning rate.
        step: From 1 on.
    """
    weights, gradient, first, second = state
    is_adam, decay = optimiser
    if is_adam:
        _adam(weights, gradient, first, second, rate, decay, step)
    else:
        _descend(weights, gradient, first, rate)


@compiled
def _adam(weights, gradient, mean, square, rate, decay, step):
    # Of AdamW; without a decay this is 1.
    kept = F(1 - rate * decay)
    correction = F(1 / math.sqrt(1 - _BETA2**step))
    rate = F(rate / (1 - _BETA1**step))
    for i in range(weights.size):
        g = gradient[i]
        mean[i] += (g - mean[i]) * F(1 - _BETA1)
        square[i] = square[i] * F(_BETA2) + g * g * F(1 - _BETA2)
        weights[i] = kept * weights[i] - rate * mean[i] / (sqrt(square[i]) * correction + F(_EPSILON))


@compiled
def _descend(weights, gradient, momentum, rate):
    for i in range(weights.size):
        momentum[i] = momentum[i] * F(_MOMENTUM) + gradient[i]
        weights[i] -= F(rate) * momentum[i]
