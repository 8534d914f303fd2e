"""What the data sets that are read from files of the user's have in common."""

import hashlib
from abc import abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rlsearch.errors import ConfigError
from rlsearch.proxies.data.base import Dataset, Examples


class FileDataset(Dataset):
    """A data set of files that the user has: a subclass says how they are read.

    They are read when the data set is opened, once per process and path.
    """

    needs_path = True
    _digest: str | None = None

    def opened(self, path: Path | None) -> Dataset:
        """What lies at a path."""
        return self if path is None else _opened(type(self), path.absolute())

    def digest(self) -> str | None:
        """That of all files."""
        return self._digest

    @abstractmethod
    def read(self, path: Path) -> str:
        """Takes over what the files hold, and what they say of the data set.

        Args:
            path: Of a file or a folder, absolute.

        Returns:
            A digest of all that was read.

        Raises:
            ConfigError: If the files are not there, or not of the format.
        """

    @classmethod
    def of(cls, path: Path) -> Self:
        """A new object, with what lies at a path."""
        dataset = cls()
        dataset._digest = dataset.read(path)
        return dataset


@lru_cache(maxsize=4)
def _opened(cls: type[FileDataset], path: Path) -> FileDataset:
    return cls.of(path)


class ImageFiles(FileDataset):
    """Published images, of which some files are for training and others for testing.

    The test part is drawn from the test files, so no search ever sees one of them. The others are divided between
    training and validation by the seed. Every channel is shifted and scaled to mean 0 and variance 1, by the mean and
    deviation of the published training images.

    Attributes:
        mean: Of each channel, of values from 0 to 1.
        deviation: The standard deviation of each channel.
    """

    image: tuple[int, int, int]
    mean: ClassVar[tuple[float, ...]]
    deviation: ClassVar[tuple[float, ...]]

    _inputs: NDArray[np.uint8]
    _labels: NDArray[np.uint8]
    _training: int
    """Examples of the training files, which come first."""

    @property
    def caveat(self) -> str:
        """The test files are the same for ever."""
        return (
            f"{self.name} cannot be generated anew: another seed divides the training files in another way; no search "
            "has seen the test files, but they are the same for every seed, so intervals are too narrow"
        )

    def parts(self, seed: int, sizes: tuple[int, ...]) -> list[Examples]:
        """Training and validation from the training files, test from the test files."""
        *seen, test = sizes
        of_training, of_test = np.random.default_rng(seed).spawn(2)
        tests = len(self._labels) - self._training
        for name, wanted, there in (("training", sum(seen), self._training), ("test", test, tests)):
            if wanted > there:
                raise ConfigError(f"the {name} files of {self.name} hold {there} examples; the sizes want {wanted}")
        training_rows = of_training.permutation(self._training)
        test_rows = self._training + of_test.permutation(tests)[:test]
        cuts = np.split(training_rows, np.cumsum(seen))[:-1]
        return [self._examples(rows) for rows in (*cuts, test_rows)]

    def examples(self, seed: int, count: int) -> Examples:
        """Those of the training files, shuffled by the seed."""
        return self._examples(np.random.default_rng(seed).permutation(self._training)[:count])

    def _examples(self, rows: NDArray[np.intp]) -> Examples:
        channels = self._inputs[rows].reshape(len(rows), len(self.mean), -1).astype(np.float32) / 255
        mean, deviation = (np.array(values, np.float32)[:, None] for values in (self.mean, self.deviation))
        return ((channels - mean) / deviation).reshape(len(rows), -1), self._labels[rows]

    def _take(
        self, training: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], test: tuple[NDArray[Any], NDArray[Any]]
    ) -> None:
        files = [*training, test]
        self._inputs = np.concatenate([inputs for inputs, _ in files])
        self._labels = np.concatenate([labels for _, labels in files])
        self._training = len(self._labels) - len(test[1])
        self.available = len(self._labels)


def content(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def checked_classes(path: Path, labels: NDArray[np.uint8], n_classes: int) -> NDArray[np.uint8]:
    """Labels that are below the number of classes.

    Raises:
        ConfigError: If one is not, with the first such.
    """
    if labels.max(initial=0) >= n_classes:
        first = int(np.argmax(labels >= n_classes))
        raise ConfigError(f"{path}: example {first} has the label {labels[first]}; expected 0 to {n_classes - 1}")
    return labels


def digest_of(contents: list[bytes]) -> str:
    """Stands for the contents of files in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for data in contents:
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
