"""CIFAR-10 and CIFAR-100, from the published files."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError
from rlsearch.proxies.data.base import DATASETS
from rlsearch.proxies.data.from_files import ImageFiles, checked_classes, content, digest_of

_PIXELS = 3 * 32 * 32


class _Cifar(ImageFiles):
    """Files of records: labels of a byte each, the last of them used, and then an image."""

    sizes = (40_000, 10_000, 10_000)
    n_features = _PIXELS
    image = (3, 32, 32)
    training_files: ClassVar[tuple[str, ...]]
    test_file: ClassVar[str]
    label_bytes: ClassVar[int]

    def read(self, path: Path) -> str:
        """Takes a folder of ``.bin`` files."""
        names = (*self.training_files, self.test_file)
        if not path.is_dir():
            raise ConfigError(f"{path} is no folder; expected one with {', '.join(names)}, the binary version")
        contents = [content(path / name) for name in names]
        *training, test = (self._records(path / name, data) for name, data in zip(names, contents, strict=True))
        self._take(training, test)
        return digest_of(contents)

    def _records(self, path: Path, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        size = self.label_bytes + _PIXELS
        if not data or len(data) % size:
            raise ConfigError(f"{path} has {len(data)} bytes; expected a multiple of {size}, the size of a record")
        records = np.frombuffer(data, np.uint8).reshape(-1, size)
        labels = checked_classes(path, records[:, self.label_bytes - 1], self.n_classes)
        return records[:, self.label_bytes :], labels


@DATASETS.add
class Cifar10(_Cifar):
    """CIFAR-10 (Krizhevsky 2009): the folder of ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.

    Images of three colours, 32 by 32, of ten classes.
    """

    name = "cifar10"
    n_classes = 10
    mean = (0.4914, 0.4822, 0.4465)
    deviation = (0.2470, 0.2435, 0.2616)
    training_files = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_file = "test_batch.bin"
    label_bytes = 1


@DATASETS.add
class Cifar100(_Cifar):
    """CIFAR-100 (Krizhevsky 2009): the folder of ``train.bin`` and ``test.bin``; of its two labels the fine one.

    Images of three colours, 32 by 32, of a hundred classes.
    """

    name = "cifar100"
    n_classes = 100
    mean = (0.5071, 0.4865, 0.4409)
    deviation = (0.2673, 0.2564, 0.2762)
    training_files = ("train.bin",)
    test_file = "test.bin"
    label_bytes = 2
