"""A user's own examples, read from files of arrays."""

import pickle
import sys

import numpy as np
import pytest
import torch
from helpers_files import archive, images, loaded, opened
from helpers_proxies import scores

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data import from_files
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _as_a_new_process():
    """Files of an earlier test may have had the same path."""
    from_files._opened.cache_clear()
    yield
    from_files._opened.cache_clear()


# --- arrays ---


def test_an_archive_of_classes(tmp_path):
    inputs, labels = archive(tmp_path / "a.npz")
    data = loaded("npz", tmp_path / "a.npz")
    known = {row.astype(np.float32).tobytes(): label for row, label in zip(inputs, labels, strict=True)}
    rows = torch.cat([part.inputs for part in (data.train, data.validation, data.test)])
    assert len(torch.unique(rows, dim=0)) == 32
    found = torch.cat([part.labels for part in (data.train, data.validation, data.test)])
    assert [known[row.numpy().tobytes()] for row in rows] == found.tolist()
    s = ProxySettings(dataset="npz", path=tmp_path / "a.npz", batch_size=4)
    assert (s.sizes, s.n_features, s.n_outputs, s.data.available) == ((24, 8, 8), 3, 4, 40)
    assert "divides the same examples in another way" in s.caveat


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 5)])
def test_an_archive_of_numbers(shape, tmp_path):
    labels = np.random.default_rng(1).normal(size=shape)
    inputs, _ = archive(tmp_path / "a.npz", labels=labels)
    data = loaded("npz_regression", tmp_path / "a.npz")
    known = {row.astype(np.float32).tobytes(): label for row, label in zip(inputs, labels, strict=True)}
    expected = np.array([known[row.numpy().tobytes()] for row in data.train.inputs]).reshape(16, -1)
    np.testing.assert_array_equal(data.train.labels, expected.astype(np.float32))
    assert ProxySettings(dataset="npz_regression", path=tmp_path / "a.npz").n_outputs == expected.shape[1]


@pytest.mark.parametrize(("shape", "image"), [((6, 4), (1, 6, 4)), ((3, 6, 4), (3, 6, 4)), ((7,), None)])
def test_bytes_and_images(shape, image, tmp_path):
    pixels = images(40, shape)
    archive(tmp_path / "a.npz", inputs=pixels)
    dataset = opened("npz", tmp_path / "a.npz")
    assert (dataset.image, dataset.n_features) == (image, int(np.prod(shape)))
    rows, _ = dataset.examples(0, 40)
    known = {(row / np.float32(255)).astype(np.float32).tobytes() for row in pixels.reshape(40, -1)}
    assert {row.tobytes() for row in rows} == known


def bad(place, value):
    numbers = np.random.default_rng(0).normal(size=(40, 3))
    numbers[place] = value
    return numbers


ARRAY_FAULTS = {
    "NaN": ({"inputs": bad((7, 1), np.nan)}, r"inputs of example 7 hold nan; expected finite"),
    "infinite": ({"inputs": bad((3, 0), -np.inf)}, r"inputs of example 3 hold -inf"),
    "too large": ({"inputs": bad((3, 0), 1e300)}, r"example 3 hold 1e\+300; expected finite numbers of float32"),
    "whole inputs": ({"inputs": np.ones((40, 3), int)}, r"inputs are int64 of the shape \[40, 3\]; expected floats or"),
    "a row": ({"inputs": np.ones(40)}, r"inputs are float64 of the shape \[40\]"),
    "few": ({"inputs": np.ones((8, 2)), "labels": np.arange(8)}, r"a\.npz has 8 examples; expected at least 20"),
    "fewer labels": ({"labels": np.arange(39)}, r"labels have the shape \[39\]; expected 40 rows"),
    "a single label": ({"labels": np.array(3)}, r"labels have the shape \[\]; expected 40 rows"),
    "numbers": ({"labels": np.ones(40)}, r"labels are float64 .*expected whole numbers .* or npz_regression"),
    "negative": ({"labels": np.arange(40) - 1}, r"labels reach from -1 to 38 and have 40 different values"),
    "a gap": ({"labels": np.arange(40) % 3 * 2}, r"labels reach from 0 to 4 and have 3 different values; .*from 0 on"),
    "one class": ({"labels": np.zeros(40, int)}, r"from 0 to 0 and have 1 different values; .*at least two"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ARRAY_FAULTS)
def test_faults_of_arrays(fault, tmp_path):
    arrays, message = ARRAY_FAULTS[fault]
    archive(tmp_path / "a.npz", **arrays)
    with pytest.raises(ConfigError, match=message):
        opened("npz", tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.arange(40),
            r"labels are int64 .*; expected floats \[examples, targets\] for npz_regression, or npz as the",
        ),
        (np.ones((40, 2, 2)), r"labels are float64 of the shape \[40, 2, 2\]"),
        (bad((5, 2), np.nan), r"labels of example 5 hold nan"),
        (bad((slice(None), 1), 2.5), r"target 1 is the same number in all labels"),
    ],
)
def test_faults_of_targets(labels, message, tmp_path):
    archive(tmp_path / "a.npz", labels=labels)
    with pytest.raises(ConfigError, match=message):
        opened("npz_regression", tmp_path / "a.npz")


def test_faults_of_archives(tmp_path):
    path = tmp_path / "a.npz"
    archive(path)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", np.ones(3))
    half = len(whole) // 2
    changed = whole[:half] + bytes(8) + whole[half + 8 :]
    pickled = pickle.dumps({"inputs": 1})
    one_array = (tmp_path / "one.npy").read_bytes()
    for content in (whole[:half], changed, b"", b"inputs, labels", pickled, one_array):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.npz is no \.npz file of plain arrays"):
            opened("npz", path)
    np.savez(path, inputs=np.array([{}] * 40, dtype=object), labels=np.arange(40))
    with pytest.raises(ConfigError, match=r"is no \.npz file of plain arrays: Object arrays cannot be loaded"):
        opened("npz", path)
    np.savez(path, input=np.ones((40, 2)), labels=np.arange(40))
    with pytest.raises(ConfigError, match=r"has no array 'inputs'; it has input, labels; did you mean 'input'\?"):
        opened("npz", path)
    with pytest.raises(ConfigError, match=r"missing\.npz cannot be read: No such file"):
        opened("npz", tmp_path / "missing.npz")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        opened("npz", tmp_path)


# --- safetensors ---


def test_without_its_package_safetensors_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(b"x")
    with pytest.raises(ConfigError, match="safetensors needs the package safetensors: install it with pip install"):
        opened("safetensors", tmp_path / "a.safetensors")


def test_tensors_are_the_same_as_arrays(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="no safetensors")
    inputs, labels = archive(tmp_path / "a.npz")
    numpy.save_file({"inputs": inputs, "labels": labels}, tmp_path / "a.safetensors")
    one, other = loaded("npz", tmp_path / "a.npz"), loaded("safetensors", tmp_path / "a.safetensors")
    assert torch.equal(one.train.inputs, other.train.inputs)
    assert torch.equal(one.test.labels, other.test.labels)
    numpy.save_file({"inputs": inputs, "labels": inputs}, tmp_path / "b.safetensors")
    targets = loaded("safetensors_regression", tmp_path / "b.safetensors").train
    assert torch.equal(targets.inputs, targets.labels)


def test_faults_of_tensors(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy", reason="no safetensors")
    path = tmp_path / "a.safetensors"
    numpy.save_file({"inputs": np.ones((40, 2)), "labels": np.arange(40)}, path)
    for content in (b"", b"no tensors", path.read_bytes()[:-8]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.safetensors is no \.safetensors file that numpy can hold"):
            opened("safetensors", path)
    numpy.save_file({"inputs": np.ones((40, 2))}, path)
    with pytest.raises(ConfigError, match=r"has no array 'labels'; it has inputs"):
        opened("safetensors", path)


def test_a_network_is_trained_on_them(tmp_path):
    """Two blobs that a network tells apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    archive(tmp_path / "a.npz", inputs=rng.normal(size=(400, 2)) + 4 * labels[:, None], labels=labels)
    s = ProxySettings(dataset="npz", path=tmp_path / "a.npz", batch_size=20, widths=(8,))
    assert scores(Proxy(s, TorchKernel(), "cpu"), [Training(Formula.parse("tanh(x)"), "", 0)])[0] > 0.95
