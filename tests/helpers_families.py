"""Networks, data sets and a task from outside of the package, as someone who adds them would write them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rlsearch.errors import ConfigError
from rlsearch.proxies.data import DATASETS, Dataset
from rlsearch.proxies.networks import NETWORKS, Layer, Network
from rlsearch.proxies.sequence_tasks import IGNORED, NEXT_TOKENS
from rlsearch.proxies.tasks import BITS, NEXT_TOKEN, REGRESSION, Task


@DATASETS.add
class Spirals(Dataset):
    """Points on five arms of a spiral, each seen through six random waves: six numbers, five classes."""

    name = "spirals"
    sizes = (400, 200, 200)
    n_features = 6
    n_classes = 5

    def examples(self, seed, count):
        rng = np.random.default_rng(seed)
        labels = rng.integers(self.n_classes, size=count)
        radius = rng.uniform(0.2, 1, size=count)
        angle = 3 * radius + labels * 2 * np.pi / self.n_classes
        points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        waves = np.random.default_rng(0).normal(size=(2, self.n_features))
        return np.sin(2 * points @ waves), labels


@dataclass(frozen=True, slots=True)
class Regression(Task):
    """Labels are numbers, outputs their estimates; the loss is the mean squared error."""

    def n_outputs(self, dataset):
        return 1

    def checked_labels(self, dataset, labels):
        if not np.isfinite(labels).all():
            raise ConfigError(f"labels of {dataset.name} are not all finite")
        return labels.astype(np.float32)

    def loss(self, outputs, labels):
        return (outputs[..., 0] - labels).square().mean(dim=1).sum()

    def count(self, outputs, labels):
        return (outputs[..., 0] - labels).square().sum(dim=1)

    def scores(self, counts, labels):
        """Shares of the variance that are explained."""
        spread = float((labels - labels.mean()).square().sum())
        return 1 - counts / spread


@DATASETS.add
class Ridge(Dataset):
    """A wave across a square."""

    name = "ridge"
    sizes = (400, 200, 200)
    n_features = 2
    task = Regression(name="regression", score="R2", unit="R2", gain="of R2", scale="of 1", worst=-1.0)

    def examples(self, seed, count):
        inputs = np.random.default_rng(seed).uniform(-1, 1, size=(count, 2))
        return inputs, np.sin(2 * inputs.sum(axis=1))


@DATASETS.add
class Waves(Dataset):
    """Two waves over a line, which go on outside of it: between -1 and 1, and outside up to 2 on either side."""

    name = "waves"
    sizes = (400, 200, 200)
    n_features = 1
    n_targets = 2
    task = REGRESSION
    has_outside = True

    def examples(self, seed, count):
        return self._at(np.random.default_rng(seed).uniform(-1, 1, size=(count, 1)))

    def outside(self, seed, count):
        rng = np.random.default_rng((seed, 1))
        return self._at(rng.uniform(1, 2, size=(count, 1)) * rng.choice((-1, 1), size=(count, 1)))

    def _at(self, inputs):
        return inputs, np.concatenate([np.sin(3 * inputs), 5 * inputs**2], axis=1)


@DATASETS.add
class Sums(Dataset):
    """Two numbers of four bits, and the four lowest bits of their sum."""

    name = "sums"
    sizes = (400, 200, 200)
    n_features = 8
    n_targets = 4
    task = BITS

    def examples(self, seed, count):
        numbers = np.random.default_rng(seed).integers(16, size=(2, count, 1))
        bits = (numbers >> np.arange(4)) & 1
        return np.concatenate(list(bits), axis=1), (numbers.sum(axis=0) >> np.arange(4)) & 1


@DATASETS.add
class Steps(Dataset):
    """Four letters of eight, each as far from the one before as that from its own; what is asked for is the next."""

    name = "steps"
    sizes = (400, 200, 200)
    n_features = 4
    n_classes = 8
    n_tokens = 8
    task = NEXT_TOKEN

    def examples(self, seed, count):
        first, step = np.random.default_rng(seed).integers(8, size=(2, count, 1))
        letters = (first + step * np.arange(5)) % 8
        return letters[:, :4], letters[:, 4]


@DATASETS.add
class Walks(Dataset):
    """Eight letters of twelve, each as far from the one before; after the first one nothing is asked for."""

    name = "walks"
    sizes = (400, 200, 200)
    n_features = 8
    n_classes = 12
    n_tokens = 12
    by_position = True
    task = NEXT_TOKENS

    def examples(self, seed, count):
        first, step = np.random.default_rng(seed).integers(12, size=(2, count, 1))
        letters = (first + step * np.arange(9)) % 12
        labels = letters[:, 1:].copy()
        labels[:, 0] = IGNORED
        return letters[:, :8], labels


@NETWORKS.add
class Residual(Network):
    """Every layer but the first adds to what it is given; all have the first one's width."""

    name = "residual"

    def layers(self, settings):
        sizes = (settings.n_features, *settings.widths, settings.n_outputs)
        return tuple(Layer(a, b) for a, b in pairwise(sizes))

    def check(self, settings):
        if len(set(settings.widths)) > 1:
            raise ValueError(f"the residual network has one width, got {list(settings.widths)}")

    def forward(self, network, inputs):
        x = network.hidden(0, inputs)
        for i in range(1, network.depth):
            x = x + network.hidden(i, x)
        return network.head(x)


@NETWORKS.add
class Pyramid(Network):
    """A plain chain whose layers halve: the first of ``widths`` says how wide, their number how deep."""

    name = "pyramid"
    native = True

    def layers(self, settings):
        widths = [settings.widths[0] >> i for i in range(len(settings.widths))]
        return tuple(Layer(a, b) for a, b in pairwise((settings.n_features, *widths, settings.n_outputs)))

    def forward(self, network, inputs):
        x = inputs
        for i in range(network.depth):
            x = network.hidden(i, x)
        return network.head(x)
