"""MNIST and Fashion-MNIST, from the published files."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError, why
from rlsearch.proxies.data.base import DATASETS
from rlsearch.proxies.data.from_files import ImageFiles, checked_classes, content, digest_of

_SIDE = 28
_TRAINING = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_UNSIGNED_BYTES = 8
"""In the third byte of an idx file: the type of its numbers. The fourth byte is the number of its dimensions."""


class _Mnist(ImageFiles):
    """Four idx files, compressed by gzip or not."""

    sizes = (50_000, 10_000, 10_000)
    n_features = _SIDE**2
    n_classes = 10
    image = (1, _SIDE, _SIDE)

    def read(self, path: Path) -> str:
        """Takes a folder of idx files."""
        if not path.is_dir():
            names = ", ".join(_TRAINING + _TEST)
            raise ConfigError(f"{path} is no folder; expected one with {names}, each as it is or as .gz")
        contents = {name: _unpacked(path / name) for name in _TRAINING + _TEST}
        self._take([self._pair(path, contents, *_TRAINING)], self._pair(path, contents, *_TEST))
        return digest_of(list(contents.values()))

    def _pair(
        self, folder: Path, contents: Mapping[str, bytes], images: str, labels: str
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pixels = _idx(folder / images, contents[images], (_SIDE, _SIDE)).reshape(-1, self.n_features)
        classes = checked_classes(folder / labels, _idx(folder / labels, contents[labels], ()), self.n_classes)
        if len(pixels) != len(classes):
            raise ConfigError(
                f"{folder / images} has {len(pixels)} images; expected as many as {labels} has labels, {len(classes)}"
            )
        return pixels, classes


@DATASETS.add
class Mnist(_Mnist):
    """MNIST (LeCun, Cortes and Burges 1998): grey images of ten digits, 28 by 28, from a folder of four idx files."""

    name = "mnist"
    mean = (0.1307,)
    deviation = (0.3081,)


@DATASETS.add
class FashionMnist(_Mnist):
    """Fashion-MNIST (Xiao and others 2017, arXiv 1708.07747): clothes of ten kinds, in files as those of MNIST."""

    name = "fashion_mnist"
    mean = (0.2860,)
    deviation = (0.3530,)


def _unpacked(path: Path) -> bytes:
    packed = path.with_name(f"{path.name}.gz")
    if path.exists() or not packed.exists():
        return content(path)
    try:
        return gzip.decompress(content(packed))
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{packed} is no whole gzip file: {why(error)}") from error


def _idx(path: Path, data: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The numbers of an idx file, ``[count, *shape]``.

    The format: two zeros, the type of numbers, the number of dimensions, each dimension as four bytes with the highest
    first, and the numbers (yann.lecun.com/exdb/mnist).
    """
    magic = bytes((0, 0, _UNSIGNED_BYTES, 1 + len(shape)))
    if data[:4] != magic:
        raise ConfigError(f"{path} begins with the bytes {data[:4].hex(' ')}; expected {magic.hex(' ')}")
    header = 4 * (2 + len(shape))
    count, *found = (int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4))
    if tuple(found) != shape:
        raise ConfigError(f"{path} has images of {found[0]} by {found[1]}; expected {shape[0]} by {shape[1]}")
    expected = header + count * int(np.prod(shape, dtype=int))
    if not count:
        raise ConfigError(f"{path} holds no examples, as its header says")
    if len(data) != expected:
        raise ConfigError(f"{path} has {len(data)} bytes; expected {expected}, for {count} examples as its header says")
    return np.frombuffer(data, np.uint8, offset=header).reshape(count, *shape)
