"""Data sets that are made from a seed: what they ask, and what they promise of it."""

import math

import numpy as np
import pytest
import torch
from helpers_proxies import of_the_package, scores
from scipy.special import roots_legendre

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data import DATASETS, physics
from rlsearch.proxies.data.harmonics import _of as harmonics
from rlsearch.proxies.data.ranges import shell
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.sequence_tasks import IGNORED
from rlsearch.proxies.settings import ProxySettings

torch.set_num_threads(1)

WITH_OUTSIDE = [name for name in of_the_package(DATASETS) if DATASETS[name].has_outside]


# --- outside the range of training ---


@pytest.mark.parametrize("name", WITH_OUTSIDE)
def test_outside_is_the_same_question_for_other_inputs(name):
    """A target is a function of the input: an example of one side is never one of the other, and all are finite."""
    dataset = DATASETS[name]
    inputs, labels = dataset.examples(3, 4000)
    far_inputs, far_labels = dataset.outside(3, 4000)
    assert far_inputs.shape == inputs.shape
    assert far_labels.shape == labels.shape == (4000, dataset.n_targets)
    assert np.isfinite(far_labels).all()
    again = dataset.outside(3, 4000)
    np.testing.assert_array_equal(far_inputs, again[0])
    np.testing.assert_array_equal(far_labels, again[1])
    assert not np.array_equal(far_inputs, dataset.outside(4, 4000)[0])
    known = {row.tobytes() for row in inputs}
    assert not any(row.tobytes() in known for row in far_inputs)


@pytest.mark.parametrize("name", ["physics", "polynomials", "harmonics", "teacher"])
def test_inputs_have_variance_1(name):
    """The cap that harmonics leave out takes a little of it."""
    inputs, _ = DATASETS[name].examples(0, 20_000)
    assert inputs.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["physics", "polynomials"])
def test_training_is_in_the_cube_and_outside_around_it(name):
    inputs, _ = DATASETS[name].examples(0, 5000)
    far, _ = DATASETS[name].outside(0, 5000)
    reach = np.abs(far).max(axis=1) / math.sqrt(3)
    assert np.abs(inputs).max() <= math.sqrt(3)
    assert reach.min() > 1
    assert 1.49 < reach.max() <= 1.5


def test_a_shell_is_uniform():
    """Of [-2, 2] squared less [-1, 1] squared, the points with both numbers above 1 are 1 in 12."""
    points = shell(np.random.default_rng(0), 60_000, 2, 2.0)
    assert (points > 1).all(axis=1).mean() == pytest.approx(1 / 12, abs=4 * math.sqrt(1 / 12 / 60_000))
    assert np.abs(points).max(axis=1).min() > 1


def test_harmonics_leave_out_a_cap_of_30_degrees():
    axis = np.full(3, 1 / math.sqrt(3))
    inputs, _ = DATASETS["harmonics"].examples(0, 5000)
    far, _ = DATASETS["harmonics"].outside(0, 5000)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([inputs, far]), axis=1), math.sqrt(3))
    assert np.degrees(np.arccos(inputs @ axis / math.sqrt(3))).min() > 30
    assert np.degrees(np.arccos(far @ axis / math.sqrt(3))).max() <= 30


# --- physics ---


def test_the_formulas_at_a_point_worked_out_by_hand():
    """Inputs of zeros and ones: a = b = 2, c = 3, an angle of pi / 2, u = 0.6."""
    found = physics._formulas(np.array([[0, 0, 1, 0.5, 1]]))[0]
    assert found == pytest.approx(
        [
            math.exp(-((math.pi / 4) ** 2) / 2) / (2 * math.sqrt(2 * math.pi)),
            2 * (2 + 3 * 0.6),
            (2 - 0.6 * 2) / 0.8,
            math.sqrt(8),
            5,
            0,
            4 * math.tanh(0.4),
            2 * math.sin(1) ** 2,
        ],
        abs=1e-12,
    )


def test_resonance_is_finite_where_the_frequencies_are_equal():
    assert physics._formulas(np.zeros((1, 5)))[0, 7] == 2


def test_targets_are_standardised_in_the_same_way_for_every_seed():
    inputs, targets = DATASETS["physics"].examples(5, 200_000)
    assert np.abs(targets.mean(axis=0)).max() < 0.012  # four standard errors are 0.009
    assert np.abs(targets.std(axis=0) - 1).max() < 0.012
    mean, deviation = physics._moments()
    np.testing.assert_allclose(targets * deviation + mean, physics._formulas(inputs / math.sqrt(3)), rtol=0, atol=1e-11)
    far_inputs, far = DATASETS["physics"].outside(6, 50)
    np.testing.assert_allclose(far * deviation + mean, physics._formulas(far_inputs / math.sqrt(3)), rtol=0, atol=1e-11)


def test_the_moments_of_a_force_in_closed_form():
    """Of a (b + c u sin(angle)) the mean is 2 * 2, since u has mean 0; the variance follows from those of factors."""
    mean, deviation = physics._moments()
    assert mean[1] == pytest.approx(4, rel=5e-3)
    square = 4 + 1 / 3  # of a, b and c
    assert deviation[1] ** 2 == pytest.approx(square**2 + square**2 * 0.36 / 3 / 2 - 16, rel=1e-2)


# --- polynomials ---


def test_polynomials_are_of_degree_four():
    """Along a line the fifth differences of a polynomial of degree 4 are zero, and the fourth are not."""
    dataset = DATASETS["polynomials"]
    line = np.linspace(-1, 1, 6)[:, None] * np.array([0.9, -0.7, 0.4, 0.8]) + 0.1
    targets = dataset._targets(np.random.default_rng(0), line)
    assert np.abs(np.diff(targets, 5, axis=0)).max() < 1e-12
    assert np.abs(np.diff(targets, 4, axis=0)).min() > 1e-3


def test_polynomials_have_mean_0_and_variance_1():
    """Exactly, over the cube: here by a quadrature that is exact for the squares of degree 8."""
    nodes, weights = roots_legendre(5)
    grid = np.stack(np.meshgrid(*[nodes] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    shares = np.einsum("i,j,k,l->ijkl", *[weights / 2] * 4).reshape(-1)
    targets = DATASETS["polynomials"]._targets(np.random.default_rng(1), grid)
    np.testing.assert_allclose(shares @ targets, 0, atol=1e-12)
    np.testing.assert_allclose(shares @ targets**2, 1, atol=1e-12)


def test_another_seed_has_other_polynomials():
    inputs = np.random.default_rng(0).uniform(-1, 1, (50, 4))
    one, again, other = (DATASETS["polynomials"]._targets(np.random.default_rng(seed), inputs) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


def test_inside_and_outside_have_the_same_polynomials():
    """With every coefficient solved for from the examples inside, those outside follow."""
    dataset = DATASETS["polynomials"]
    inputs, targets = dataset.examples(7, 400)
    far_inputs, far_targets = dataset.outside(7, 400)

    def monomials(x):
        exponents = [e for e in np.ndindex(5, 5, 5, 5) if sum(e) <= 4]
        return np.stack([(x**e).prod(axis=1) for e in exponents], axis=1)

    coefficients = np.linalg.lstsq(monomials(inputs), targets)[0]
    np.testing.assert_allclose(monomials(far_inputs) @ coefficients, far_targets, rtol=0, atol=1e-8)


# --- harmonics ---


def test_harmonics_are_those_of_the_tables():
    """Of an arbitrary direction; an odd order has the Condon-Shortley sign."""
    directions = np.random.default_rng(0).normal(size=(9, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    inputs, found = harmonics(directions)
    x, y, z = directions.T
    np.testing.assert_allclose(inputs, math.sqrt(3) * directions)
    np.testing.assert_allclose(found[:, 0], -math.sqrt(15) * x * z)  # (2, 1)
    np.testing.assert_allclose(found[:, 1], math.sqrt(105) * x * y * z)  # (3, -2)
    np.testing.assert_allclose(found[:, 2], -math.sqrt(35 / 8) * (x**3 - 3 * x * y**2))  # (3, 3)
    np.testing.assert_allclose(found[:, 3], 3 / 8 * (35 * z**4 - 30 * z**2 + 3))  # (4, 0)


def test_harmonics_are_orthonormal():
    """By a quadrature over the sphere that is exact up to degree 12."""
    heights, weights = roots_legendre(8)
    longitudes = np.arange(16) * math.pi / 8
    z, longitude = (grid.ravel() for grid in np.meshgrid(heights, longitudes, indexing="ij"))
    flat = np.sqrt(1 - z**2)
    _, targets = harmonics(np.stack([flat * np.cos(longitude), flat * np.sin(longitude), z], axis=1))
    shares = np.repeat(weights / 2 / 16, 16)
    np.testing.assert_allclose((targets * shares[:, None]).T @ targets, np.eye(8), atol=1e-12)


# --- teacher ---


def test_a_teacher_is_its_formula():
    """Written out for one input, with the numbers drawn in the order in which the teacher draws them."""
    inputs = np.random.default_rng(5).normal(size=(3, 20))
    classes = DATASETS["teacher"]._classes(np.random.default_rng(8), inputs)
    rng = np.random.default_rng(8)
    weights, shifts = rng.normal(0, 0.3, (20, 64)), rng.uniform(-math.pi, math.pi, 64)
    mixture, others = rng.normal(size=(64, 8)), rng.normal(size=(4096, 20))

    def logits(x):
        given = [sum(x[i] * weights[i, unit] for i in range(20)) + shifts[unit] for unit in range(64)]
        hidden = [math.sin(value) for value in given[:32]] + [math.copysign(1, value) for value in given[32:]]
        return np.array([sum(hidden[unit] * mixture[unit, c] for unit in range(64)) for c in range(8)])

    known = np.array([logits(x) for x in others])
    expected = [np.argmax((logits(x) - known.mean(axis=0)) / known.std(axis=0)) for x in inputs]
    assert classes.tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_classes_of_a_teacher_are_about_equally_frequent(seed):
    _, labels = DATASETS["teacher"].examples(seed, 10_000)
    shares = np.bincount(labels, minlength=8) / 10_000
    assert 0.5 / 8 < shares.min() <= shares.max() < 1.7 / 8


def test_another_seed_is_another_teacher():
    inputs = np.random.default_rng(0).normal(size=(2000, 20))
    one, again, other = (DATASETS["teacher"]._classes(np.random.default_rng(seed), inputs) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one == other).mean() < 0.25  # an eighth by chance


# --- products ---


def test_products_are_products():
    inputs, labels = DATASETS["products"].examples(0, 16_384)
    values = 2 ** np.arange(14)
    assert set(np.unique(inputs)) == {-1, 1}
    bits = (inputs + 1) // 2
    first, second = bits[:, :7] @ values[:7], bits[:, 7:] @ values[:7]
    np.testing.assert_array_equal(first * second, labels @ values)
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 16_384


def test_another_seed_divides_the_same_products_anew():
    dataset = DATASETS["products"]
    assert sum(dataset.sizes) == dataset.available
    assert "divides the same examples in another way" in dataset.caveat
    one, other = ({row.tobytes() for row in dataset.examples(seed, 8000)[0]} for seed in (1, 2))
    assert len(one) == 8000
    # By chance half of them are among the first 8000 of 16384 again.
    assert 3700 < len(one & other) < 4100


# --- what they are for ---


@pytest.mark.parametrize("name", ["harmonics", "physics", "polynomials", "products", "teacher"])
def test_a_straight_line_is_no_good_activation(name):
    """Two layers of it are a linear map, which none of the questions is answered by."""
    values = {"widths": (32, 32), "epochs": 4, "learning_rate": 0.02, "schedule": "cosine", "test_size": 4}
    proxy = Proxy(ProxySettings.check({"dataset": name, "train_size": 4000, **values}), TorchKernel(), "cpu")
    members = [Training(Formula.parse(text), "", 0) for text in ("gelu(x)", "x")]
    curved, straight = scores(proxy, members)
    assert curved > straight + 0.05


# --- memorisation ---


def test_a_key_has_one_value_in_all_parts_and_stands_nowhere_else():
    """A pair of letters has the same label whenever it comes; each of the 1024 comes about 39 times in 40,000."""
    dataset = DATASETS["memorisation"]
    facts, labelled = {}, 0
    for letters, labels in dataset.parts(3, (1000, 100, 148)):
        assert (labels[:, ::2] == IGNORED).all()
        keys = zip(letters[:, ::2].ravel().tolist(), letters[:, 1::2].ravel().tolist(), strict=True)
        for key, value in zip(keys, labels[:, 1::2].ravel().tolist(), strict=True):
            assert facts.setdefault(key, value) == value
            labelled += 1
    assert labelled == 32 * 1248
    assert len(facts) == 32**2
    assert set(facts.values()) == set(range(32))


def test_another_seed_is_another_dictionary():
    """Values of one are right of the other by chance: one in 32."""
    dataset = DATASETS["memorisation"]
    facts = []
    for seed in (3, 4):
        letters, labels = dataset.examples(seed, 4000)
        table = np.zeros((32, 32), int)
        table[letters[:, ::2], letters[:, 1::2]] = labels[:, 1::2]
        facts.append(table)
    assert (facts[0] == facts[1]).mean() == pytest.approx(1 / 32, abs=0.03)


def test_facts_are_for_networks_that_answer_at_every_position():
    with pytest.raises(ConfigError, match=r"memorisation has a label at every position, .* expected .* transformer"):
        ProxySettings.check({"dataset": "memorisation"})
