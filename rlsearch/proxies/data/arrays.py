"""A user's own examples, as two arrays in one file."""

import hashlib
import zlib
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError, nearest
from rlsearch.proxies.data.base import DATASETS, Examples
from rlsearch.proxies.data.from_files import FileDataset
from rlsearch.proxies.tasks import CLASSIFICATION, REGRESSION

_SHARES = (0.6, 0.2, 0.2)
"""Of all examples, for training, validation and test, unless the config says other sizes."""


class ArrayFile(FileDataset):
    """One file with the arrays ``inputs`` and ``labels``, an example per row.

    Inputs are ``[examples, features]``, or images ``[examples, height, width]`` or
    ``[examples, channels, height, width]``. Bytes (uint8) are divided by 255; floats are used as they are, so they are
    best scaled to about mean 0 and variance 1 before they are written. Labels are

    - of a classification, whole numbers ``[examples]``: all from 0 on;
    - of a regression, floats ``[examples, targets]`` or ``[examples]``, used as they are too.

    The seed divides the examples among the parts. A subclass says how the arrays of its format are read.
    """

    _inputs: NDArray[np.float32]
    _labels: NDArray[Any]

    def read(self, path: Path) -> str:
        """Takes a file."""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
        arrays = self.arrays(path)
        for name in ("inputs", "labels"):
            if name not in arrays:
                there = ", ".join(sorted(arrays)) or "none"
                raise ConfigError(f"{path} has no array {name!r}; it has {there}{nearest(name, arrays)}")
        inputs, labels = arrays["inputs"], arrays["labels"]
        self._take_inputs(path, inputs)
        if len(labels.shape) == 0 or len(labels) != len(inputs):
            raise ConfigError(f"{path}: labels have the shape {list(labels.shape)}; expected {len(inputs)} rows")
        if self.task == CLASSIFICATION:
            self._take_classes(path, labels)
        else:
            self._take_targets(path, labels)
        return digest

    @abstractmethod
    def arrays(self, path: Path) -> Mapping[str, NDArray[Any]]:
        """The arrays of a file, by name.

        Raises:
            ConfigError: If it is no such file.
        """

    def _take_inputs(self, path: Path, inputs: NDArray[Any]) -> None:
        if inputs.ndim not in (2, 3, 4) or (inputs.dtype != np.uint8 and inputs.dtype.kind != "f"):
            raise ConfigError(
                f"{path}: inputs are {inputs.dtype} of the shape {list(inputs.shape)}; expected floats or uint8 of "
                "[examples, features], [examples, height, width] or [examples, channels, height, width]"
            )
        count = len(inputs)
        if count < 20:
            raise ConfigError(f"{path} has {count} examples; expected at least 20")
        flat = inputs.reshape(count, -1)
        values = _finite(path, "inputs", flat)
        self._inputs = values / np.float32(255) if inputs.dtype == np.uint8 else values
        self.n_features = flat.shape[1]
        if inputs.ndim > 2:
            channels, height, width = (1, *inputs.shape[1:])[-3:]
            self.image = (channels, height, width)
        self.available = count
        train, validation, test = (int(share * count) // 4 * 4 for share in _SHARES)
        self.sizes = (train, validation, test)

    def _take_classes(self, path: Path, labels: NDArray[Any]) -> None:
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ConfigError(
                f"{path}: labels are {labels.dtype} of the shape {list(labels.shape)}; expected whole numbers "
                f"[examples] for {self.name}, or {self.name}_regression as the data set"
            )
        found = np.unique(labels)
        if len(found) < 2 or found[0] != 0 or found[-1] != len(found) - 1:
            raise ConfigError(
                f"{path}: labels reach from {found[0]} to {found[-1]} and have {len(found)} different values; expected "
                "all whole numbers from 0 on, and at least two"
            )
        self._labels = labels
        self.n_classes = len(found)

    def _take_targets(self, path: Path, labels: NDArray[Any]) -> None:
        if labels.ndim not in (1, 2) or labels.dtype.kind != "f":
            raise ConfigError(
                f"{path}: labels are {labels.dtype} of the shape {list(labels.shape)}; expected floats "
                f"[examples, targets] for {self.name}, or {self.name.removesuffix('_regression')} as the data set"
            )
        self._labels = _finite(path, "labels", labels.reshape(len(labels), -1))
        self.n_targets = self._labels.shape[1]
        constant = np.ptp(self._labels, axis=0) == 0
        if constant.any():
            raise ConfigError(f"{path}: target {constant.argmax()} is the same number in all labels; it says nothing")

    def examples(self, seed: int, count: int) -> Examples:
        """The first ``count`` after shuffling by the seed."""
        rows = np.random.default_rng(seed).permutation(len(self._inputs))[:count]
        return self._inputs[rows], self._labels[rows]


class _Npz(ArrayFile):
    def arrays(self, path: Path) -> Mapping[str, NDArray[Any]]:
        """Those of numpy's format; nothing is unpickled."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        # A TypeError: a .npy file is an array, and no archive of arrays.
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error, TypeError) as error:
            raise ConfigError(f"{path} is no .npz file of plain arrays: {error}") from error


class _Safetensors(ArrayFile):
    def arrays(self, path: Path) -> Mapping[str, NDArray[Any]]:
        """Those of the safetensors format, by its package."""
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load_file
        except ImportError as error:
            raise ConfigError(
                f"{self.name} needs the package safetensors: install it with pip install safetensors"
            ) from error
        try:
            stored: dict[str, NDArray[Any]] = load_file(path)
        except (SafetensorError, OSError, TypeError, KeyError) as error:
            raise ConfigError(f"{path} is no .safetensors file that numpy can hold: {error}") from error
        return stored


@DATASETS.add
class Npz(_Npz):
    """Classification by the arrays of a numpy file, as ``numpy.savez`` writes it; see :class:`ArrayFile`."""

    name = "npz"


@DATASETS.add
class NpzRegression(_Npz):
    """Regression on the arrays of a numpy file; see :class:`ArrayFile`."""

    name = "npz_regression"
    task = REGRESSION


@DATASETS.add
class Safetensors(_Safetensors):
    """Classification by the tensors of a safetensors file, whose package is optional; see :class:`ArrayFile`."""

    name = "safetensors"


@DATASETS.add
class SafetensorsRegression(_Safetensors):
    """Regression on the tensors of a safetensors file, whose package is optional; see :class:`ArrayFile`."""

    name = "safetensors_regression"
    task = REGRESSION


def _finite(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """As float32.

    Raises:
        ConfigError: If a number is NaN, infinite, or too large for it.
    """
    with np.errstate(over="ignore"):
        converted = values.astype(np.float32)
    wrong = ~np.isfinite(converted)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        first = values[row][wrong[row]][0]
        raise ConfigError(f"{path}: {name} of example {row} hold {first}; expected finite numbers of float32")
    return converted
