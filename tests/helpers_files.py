"""Small files of the formats that data sets are read from, written for a test."""

import gzip

import numpy as np

from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.settings import ProxySettings

SMALL = {"train_size": 16, "validation_size": 8, "test_size": 8, "batch_size": 4, "widths": (8,)}


def images(count, shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=(count, *shape)).astype(np.uint8)


def classes(count, n_classes=10):
    return (np.arange(count) % n_classes).astype(np.uint8)


def cifar10(folder, per_file=6, tests=12):
    """Returns all images and labels, those for testing last."""
    folder.mkdir(exist_ok=True)
    inputs, labels = images(5 * per_file + tests, (3, 32, 32)), classes(5 * per_file + tests)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    rows = np.concatenate([labels[:, None], inputs.reshape(len(inputs), -1)], axis=1)
    for name, part in zip(names, np.split(rows, [per_file * i for i in range(1, 6)]), strict=True):
        (folder / name).write_bytes(part.tobytes())
    return inputs, labels


def cifar100(folder):
    folder.mkdir(exist_ok=True)
    inputs, labels = images(40, (3, 32, 32)), classes(40, 100)
    coarse = np.full((40, 1), 19, np.uint8)
    rows = np.concatenate([coarse, labels[:, None], inputs.reshape(40, -1)], axis=1)
    (folder / "train.bin").write_bytes(rows[:28].tobytes())
    (folder / "test.bin").write_bytes(rows[28:].tobytes())
    return inputs, labels


def idx(numbers):
    sizes = b"".join(size.to_bytes(4, "big") for size in numbers.shape)
    return bytes((0, 0, 8, numbers.ndim)) + sizes + numbers.tobytes()


def mnist(folder, packed=False):
    folder.mkdir(exist_ok=True)
    inputs, labels = images(40, (28, 28)), classes(40)
    for part, name in ((slice(0, 28), "train"), (slice(28, 40), "t10k")):
        for kind, numbers in (("images-idx3", inputs[part]), ("labels-idx1", labels[part])):
            if packed:
                (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(numbers)))
            else:
                (folder / f"{name}-{kind}-ubyte").write_bytes(idx(numbers))
    return inputs, labels


def archive(path, inputs=None, labels=None, **others):
    """Writes forty examples of three features and four classes, unless others are wanted."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 3)) if inputs is None else inputs
    labels = np.arange(40) % 4 if labels is None else labels
    np.savez(path, inputs=inputs, labels=labels, **others)
    return inputs, labels


def loaded(dataset, path, **values):
    return load_dataset(ProxySettings.check({"dataset": dataset, "path": path, **SMALL, **values}))


def opened(dataset, path):
    return DATASETS[dataset].opened(path)


def put(path, place, value):
    """Changes one byte."""
    data = bytearray(path.read_bytes())
    data[place] = value
    path.write_bytes(data)
