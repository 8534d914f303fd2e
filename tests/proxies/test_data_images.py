"""Published images, read from files: here from small ones that are written for each test."""

import gzip
import zlib

import numpy as np
import pytest
import torch
from helpers_files import SMALL, archive, cifar10, cifar100, classes, idx, loaded, mnist, opened, put
from helpers_proxies import of_the_package

from rlsearch.errors import ConfigError
from rlsearch.proxies.data import DATASETS, from_files
from rlsearch.proxies.settings import ProxySettings, proxy_name

torch.set_num_threads(1)

NEED_PATH = [name for name in of_the_package(DATASETS) if DATASETS[name].needs_path]


@pytest.fixture(autouse=True)
def _as_a_new_process():
    """Files of an earlier test may have had the same path."""
    from_files._opened.cache_clear()
    yield
    from_files._opened.cache_clear()


# --- published images ---


@pytest.mark.parametrize(("name", "write"), [("cifar10", cifar10), ("cifar100", cifar100), ("mnist", mnist)])
def test_images_are_told_with_their_labels_and_parts(name, write, tmp_path):
    """Every row comes from the files, scaled; those of the test files are in the test part alone."""
    inputs, labels = write(tmp_path)
    dataset, data = opened(name, tmp_path), loaded(name, tmp_path)
    shape = (len(dataset.mean), 1)
    scaled = inputs.reshape(len(inputs), len(dataset.mean), -1) / 255
    scaled = (scaled - np.reshape(dataset.mean, shape)) / np.reshape(dataset.deviation, shape)
    known = scaled.reshape(len(inputs), -1).astype(np.float32)
    seen = []
    for part in (data.train, data.validation, data.test):
        distances = np.abs(part.inputs.numpy()[:, None, :50] - known[None, :, :50]).max(axis=2)
        rows = distances.argmin(axis=1)
        np.testing.assert_allclose(part.inputs, known[rows], atol=1e-5)
        assert part.labels.tolist() == labels[rows].tolist()
        seen.append(set(rows.tolist()))
    training = set(range(len(inputs) - 12))
    assert seen[0] | seen[1] <= training
    assert not seen[0] & seen[1]
    assert len(seen[2]) == 8
    assert not seen[2] & training
    assert dataset.available == len(inputs)
    assert np.prod(dataset.image) == dataset.n_features == known.shape[1]


@pytest.mark.parametrize(("name", "write"), [("cifar10", cifar10), ("mnist", mnist)])
def test_another_seed_divides_the_training_files_anew(name, write, tmp_path):
    write(tmp_path)
    one, again, other = (opened(name, tmp_path).parts(seed, (16, 8, 12)) for seed in (1, 1, 2))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    assert not np.array_equal(one[0][0], other[0][0])
    rows = [sorted(row.tobytes() for row in parts[2][0]) for parts in (one, other)]
    assert rows[0] == rows[1]
    assert "no search has seen the test files" in opened(name, tmp_path).caveat


def test_the_fine_label_of_cifar100_is_used(tmp_path):
    """All coarse ones are 19."""
    cifar100(tmp_path)
    assert set(loaded("cifar100", tmp_path).train.labels.tolist()) <= set(range(28))
    assert len(set(loaded("cifar100", tmp_path).train.labels.tolist())) == 16


def test_a_packed_file_is_the_same_as_an_unpacked_one(tmp_path):
    mnist(tmp_path / "plain")
    mnist(tmp_path / "packed", packed=True)
    plain, packed = loaded("mnist", tmp_path / "plain"), loaded("mnist", tmp_path / "packed")
    assert torch.equal(plain.train.inputs, packed.train.inputs)
    assert opened("mnist", tmp_path / "plain").digest() == opened("mnist", tmp_path / "packed").digest()


def test_fashion_is_read_like_digits(tmp_path):
    inputs, _ = mnist(tmp_path)
    data = loaded("fashion_mnist", tmp_path, train_size=20)
    assert data.train.inputs.min() >= (inputs.min() / 255 - 0.2860) / 0.3530 - 1e-6
    assert data.train.inputs.max() == pytest.approx((1 - 0.2860) / 0.3530)


def test_more_than_there_is(tmp_path):
    mnist(tmp_path)
    with pytest.raises(ConfigError, match=r"the training files of mnist hold 28 examples; the sizes want 32"):
        loaded("mnist", tmp_path, train_size=24)
    with pytest.raises(ConfigError, match=r"the test files of mnist hold 12 examples; the sizes want 16"):
        loaded("mnist", tmp_path, train_size=4, test_size=16)
    with pytest.raises(ConfigError, match=r"mnist has 40 examples, got parts of \(50000, 10000, 10000\)"):
        ProxySettings(dataset="mnist", path=tmp_path).completed()


def cut(path, count):
    path.write_bytes(path.read_bytes()[:count])


CIFAR_FAULTS = {
    "missing": (lambda f: (f / "data_batch_3.bin").unlink(), r"data_batch_3\.bin cannot be read: No such file"),
    "truncated": (lambda f: cut(f / "data_batch_2.bin", 9000), r"data_batch_2\.bin has 9000 bytes; .*multiple of 3073"),
    "empty": (lambda f: cut(f / "test_batch.bin", 0), r"test_batch\.bin has 0 bytes"),
    "label": (lambda f: put(f / "data_batch_1.bin", 2 * 3073, 10), r"example 2 has the label 10; expected 0 to 9"),
}


@pytest.mark.parametrize("fault", CIFAR_FAULTS)
def test_faults_of_cifar(fault, tmp_path):
    cifar10(tmp_path)
    damage, message = CIFAR_FAULTS[fault]
    damage(tmp_path)
    with pytest.raises(ConfigError, match=message):
        opened("cifar10", tmp_path)


MNIST_FAULTS = {
    "missing": (lambda f: (f / "t10k-labels-idx1-ubyte").unlink(), r"t10k-labels-idx1-ubyte cannot be read"),
    "magic": (
        lambda f: put(f / "train-images-idx3-ubyte", 2, 13),
        r"train-images-idx3-ubyte begins with the bytes 00 00 0d 03; expected 00 00 08 03",
    ),
    "swapped": (
        lambda f: (f / "train-images-idx3-ubyte").write_bytes((f / "train-labels-idx1-ubyte").read_bytes()),
        r"begins with the bytes 00 00 08 01; expected 00 00 08 03",
    ),
    "truncated": (lambda f: cut(f / "t10k-images-idx3-ubyte", 5000), r"has 5000 bytes; expected 9424, for 12 examples"),
    "size": (lambda f: put(f / "train-images-idx3-ubyte", 11, 32), r"has images of 32 by 28; expected 28 by 28"),
    "none": (lambda f: (f / "t10k-labels-idx1-ubyte").write_bytes(idx(classes(0))), r"holds no examples"),
    "label": (lambda f: put(f / "t10k-labels-idx1-ubyte", 8 + 5, 77), r"example 5 has the label 77; expected 0 to 9"),
    "unequal": (
        lambda f: (f / "t10k-labels-idx1-ubyte").write_bytes(idx(classes(11))),
        r"has 12 images; expected as many as t10k-labels-idx1-ubyte has labels, 11",
    ),
}


@pytest.mark.parametrize("fault", MNIST_FAULTS)
def test_faults_of_idx_files(fault, tmp_path):
    mnist(tmp_path)
    damage, message = MNIST_FAULTS[fault]
    damage(tmp_path)
    with pytest.raises(ConfigError, match=message):
        opened("mnist", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"abc" * 100, mtime=0)[:-12], zlib.compress(b"abc")],
    ids=["other", "cut", "zlib"],
)
def test_faults_of_packed_files(content, tmp_path):
    mnist(tmp_path, packed=True)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"train-images-idx3-ubyte\.gz is no whole gzip file"):
        opened("mnist", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion_mnist"])
def test_a_file_where_a_folder_is_expected(name, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(ConfigError, match=rf"{path.name} is no folder; expected one with .*train|batch"):
            opened(name, path)


# --- settings of all sets that need files ---


@pytest.mark.parametrize("name", NEED_PATH)
def test_reading_a_config_opens_no_file(name, tmp_path):
    """The files need not be there to read a config, nor to say how its scores are called."""
    s = ProxySettings.check({"dataset": name, "path": tmp_path / "missing", **SMALL})
    assert s.task is DATASETS[name].task
    assert proxy_name(s, "torch", "cpu").startswith(f"{name}-mlp-")
    with pytest.raises(ConfigError, match="missing"):
        s.completed()
    with pytest.raises(ConfigError, match=f"{name} is read from files: expected a path"):
        ProxySettings.check({"dataset": name, **SMALL})


def test_files_are_read_once(tmp_path, monkeypatch):
    mnist(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    first = opened("mnist", tmp_path)
    assert opened("mnist", tmp_path) is first
    assert opened("mnist", tmp_path.relative_to(tmp_path.parent)) is first
    assert opened("fashion_mnist", tmp_path) is not first


@pytest.mark.parametrize(("name", "write"), [("cifar10", cifar10), ("mnist", mnist), ("npz", archive)])
def test_a_changed_file_is_another_digest(name, write, tmp_path):
    path = tmp_path / "a.npz" if name == "npz" else tmp_path
    write(path)
    begun = ProxySettings.check({"dataset": name, "path": path, **SMALL}).completed()
    assert begun.data_digest == opened(name, path).digest()
    file = max((f for f in tmp_path.iterdir()), key=lambda f: f.stat().st_size)
    if name == "npz":
        archive(path, labels=np.arange(40) % 5)
    else:
        put(file, -1, 255 - file.read_bytes()[-1])
    from_files._opened.cache_clear()
    with pytest.raises(ConfigError, match=f"the files of {name} have changed"):
        begun.completed()
