"""What tests of the native trainer ask of it, and the population trainer's answer to the same."""

import numpy as np
import torch

from rlsearch import Formula
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.trainers.population import PopulationTrainer

TEXTS = ["relu(x)", "silu(x)", "tanh(x)", "x + sin(x)", "gelu(x)", "max(x, sigmoid(x))", "x * atan(x)", "x"]
FORMULAS = [Formula.parse(text) for text in TEXTS]
SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "gelu(x)", "x + sin(x)")]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
SIZES = {"train_size": 96, "validation_size": 80, "test_size": 40, "batch_size": 32}
MEMBERS = [Training(formula, "p", k) for k, formula in enumerate(FORMULAS)]


def settings(**values):
    return ProxySettings.check(SIZES | {"widths": (12, 8), "epochs": 2, "population": 8} | values)


def weights(trainer):
    return trainer._state[0].copy()


def by_population(s, members):
    """What came of members in the population trainer, and their weights as the native trainer keeps them."""
    trainer = PopulationTrainer(s, TorchKernel(), "cpu", 8)
    found = trainer.train(members)
    network = trainer._network
    taps = 4 if s.network == "conv1d" else 1
    flat = []
    for k in range(len(members)):
        pieces = []
        for layer in network.layers:
            n_in, n_out = layer.weight[k].shape
            pieces += [layer.weight[k].reshape(n_in // taps, taps, n_out).transpose(0, 1), layer.bias[k]]
        pieces += [network.head.weight[k, :, : s.n_outputs], network.head.bias[k, :, : s.n_outputs]]
        for module in (*network.norms, network.embedding):
            pieces += [piece[k] for piece in module.parameters()]
        flat.append(torch.cat([piece.detach().flatten() for piece in pieces]).numpy())
    return found, flat


def one_by_one(trainer, members):
    """What came of members that are trained each by itself, and their weights."""
    found = [(trainer.train([member])[0], weights(trainer)) for member in members]
    return [outcome for outcome, _ in found], [kept for _, kept in found]


def assert_same_bits(a, b):
    for p, q in zip(a, b, strict=True):
        assert np.array_equal(p.view(np.int32), q.view(np.int32))


def assert_the_step_of_a_population(trainer, members):
    """The weights after a single step are the population trainer's.

    Adam divides a gradient by its own size, so one of about 0 may take half a step to either side by rounding.
    """
    s = trainer.settings
    _, expected = by_population(s, members)
    _, ours = one_by_one(trainer, members)
    for mine, theirs in zip(ours, expected, strict=True):
        if s.optimiser == "sgd":
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=3e-7)
        else:
            away = np.abs(mine - theirs)
            assert away.max() < 1.5 * s.learning_rate
            assert (away > 1e-5).mean() < 0.02


def assert_the_same_bits_again(make_trainer, members):
    """By the same trainer, by another, and in any company."""
    trainer = make_trainer()
    first, kept = one_by_one(trainer, members)
    again, kept_again = one_by_one(trainer, members[::-1])
    assert again == first[::-1]
    assert_same_bits(kept_again, kept[::-1])
    assert trainer.train(members) == first
    other, kept_other = one_by_one(make_trainer(), members)
    assert other == first
    assert_same_bits(kept_other, kept)
    return first, kept


def assert_a_nan_changes_no_bit_of_the_next(make_trainer, members):
    expected = one_by_one(make_trainer(), members)
    trainer = make_trainer()
    (outcome,) = trainer.train([Training(EXPLODING, "p", 0)])
    assert outcome is None
    assert not np.isfinite(weights(trainer)).all()
    found = one_by_one(trainer, members)
    assert found[0] == expected[0]
    assert None not in found[0]
    assert_same_bits(found[1], expected[1])
