import io
import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers_proxies import of_the_package
from mnist1d.data import get_dataset_args, make_dataset

from rlsearch.proxies.data import DATASETS, load
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.sequence_tasks import FACTS, IGNORED, NEXT_TOKENS
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.tasks import CLASSIFICATION, NEXT_TOKEN

torch.set_num_threads(1)

NAMES = [name for name in of_the_package(DATASETS) if not DATASETS[name].needs_path]
CLASSES = (CLASSIFICATION, NEXT_TOKEN, NEXT_TOKENS, FACTS)
PARTS = ("train", "validation", "test")


def small(dataset="mnist1d", **values):
    sizes = {"train_size": 40, "validation_size": 20, "test_size": 12, "batch_size": 4}
    if DATASETS[dataset].by_position:
        sizes |= {"network": "transformer", "widths": (16,)}
    return ProxySettings(dataset=dataset, **sizes | values)


def everything(dataset):
    parts = [getattr(dataset, name) for name in PARTS]
    return torch.cat([p.inputs for p in parts]), torch.cat([p.labels for p in parts])


def fresh(settings):
    """Loads as a new process would."""
    load._load.cache_clear()
    return load_dataset(settings)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))
    load._load.cache_clear()
    yield tmp_path / "cache"
    load._load.cache_clear()


@pytest.fixture
def generated(monkeypatch):
    """Counts how often mnist1d's generator is run."""
    calls = []

    def counting(arguments):
        calls.append(arguments)
        return make_dataset(arguments)

    monkeypatch.setattr("mnist1d.data.make_dataset", counting)
    return calls


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_dtypes(name):
    dataset, declared = load_dataset(small(name)), DATASETS[name]
    for part, size in zip(PARTS, (40, 20, 12), strict=True):
        inputs, labels = getattr(dataset, part).inputs, getattr(dataset, part).labels
        assert inputs.shape == (size, declared.n_features)
        if declared.by_position:
            assert labels.shape == inputs.shape
        else:
            assert labels.shape == ((size,) if declared.task in CLASSES else (size, declared.n_targets))
        assert inputs.dtype == (torch.float32 if declared.n_tokens is None else torch.int64)
        assert labels.isfinite().all()
        assert inputs.isfinite().all()
        if declared.task in CLASSES:
            assert labels.dtype == torch.int64
            assert set(labels.flatten().tolist()) - {IGNORED} <= set(range(declared.n_classes))


@pytest.mark.parametrize("name", [name for name in NAMES if DATASETS[name].n_tokens is None])
def test_parts_are_disjoint_and_hold_all_classes(name):
    settings, declared = small(name, train_size=1000, validation_size=396, test_size=400), DATASETS[name]
    dataset = load_dataset(settings)
    inputs, _ = everything(dataset)
    assert len(inputs) == sum(settings.sizes)
    assert len(torch.unique(inputs, dim=0)) == len(inputs)  # no example comes twice, in one part or in two
    if declared.task is CLASSIFICATION:
        for part in (dataset.train, dataset.validation, dataset.test):
            assert set(part.labels.tolist()) == set(range(declared.n_classes))


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_says_what_it_is(name):
    declared = DATASETS[name]
    assert all(size % 4 == 0 for size in declared.sizes)
    assert declared.available is None or declared.available >= sum(declared.sizes)
    assert declared.n_features >= 1


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    settings = ProxySettings(dataset="digits")
    inputs, labels = everything(load_dataset(settings))
    assert (inputs.min(), inputs.max()) == (0, 1)  # 0 to 16 in the set
    original, truth = load_digits(return_X_y=True)
    known = {row.tobytes(): label for row, label in zip((original / 16).astype(np.float32), truth, strict=True)}
    assert [known[row.numpy().tobytes()] for row in inputs] == labels.tolist()
    assert labels[:20].tolist() != truth[:20].tolist()  # shuffled


def test_mnist1d_is_the_packages_own(cache):
    """The parts in a row are what the package's generator makes of 80 examples (72, up to a multiple of 10)."""
    arguments = get_dataset_args(as_dict=True) | {"num_samples": 80, "train_split": 1.0, "seed": 7}
    made = make_dataset(SimpleNamespace(**arguments))
    inputs, labels = everything(load_dataset(small(data_seed=7)))
    np.testing.assert_array_equal(inputs, made["x"][:72].astype(np.float32))
    np.testing.assert_array_equal(labels, made["y"][:72])


@pytest.mark.parametrize("name", NAMES)
def test_depends_on_the_seed_only(name, cache):
    first = everything(fresh(small(name, data_seed=3)))
    for path in cache.glob("*"):
        path.unlink()
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    again = everything(fresh(small(name, data_seed=3)))
    other = everything(fresh(small(name, data_seed=4)))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize("name", NAMES)
def test_global_random_numbers_are_untouched(name, cache):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    fresh(small(name, data_seed=5))
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected


def test_global_random_numbers_are_restored_when_the_generator_fails(cache, monkeypatch):
    def failing(arguments):
        random.seed(0)
        np.random.seed(0)
        raise RuntimeError("out of templates")

    monkeypatch.setattr("mnist1d.data.make_dataset", failing)
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    with pytest.raises(RuntimeError, match="out of templates"):
        fresh(small())
    assert (random.random(), np.random.random()) == expected


# --- the cache ---


def test_generated_once_per_machine(cache, generated):
    first = everything(fresh(small()))
    (path,) = cache.iterdir()
    assert path.name.startswith("mnist1d-")
    assert path.suffix == ".npz"
    again = everything(fresh(small()))
    assert len(generated) == 1
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert load_dataset(small()) is load_dataset(small())  # and read once per process


def test_what_the_cache_holds_is_what_is_used(cache, generated):
    fresh(small())
    (path,) = cache.iterdir()
    with path.open("wb") as file:
        np.savez(file, inputs=np.full((72, 40), 3.0), labels=np.full(72, 4))
    inputs, labels = everything(fresh(small()))
    assert (inputs == 3).all()
    assert (labels == 4).all()
    assert len(generated) == 1


def test_other_seeds_and_sizes_have_files_of_their_own(cache, generated):
    for settings in (small(), small(data_seed=1), small(train_size=44), small()):
        fresh(settings)
    assert len(generated) == len(list(cache.iterdir())) == 3


def _archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


DAMAGE = {
    "empty": lambda good: b"",
    "no archive": lambda good: b"this is not an archive",
    "one array": lambda good: good[:4] + b"\0" * 100,
    "a tenth is left": lambda good: good[: len(good) // 10],
    "the end is missing": lambda good: good[:-40],
    "zeros in the middle": lambda good: good[: len(good) // 2] + bytes(64) + good[len(good) // 2 + 64 :],
    "the header of an array": lambda good: good.replace(b"descr", b"dexcr"),
    "labels are missing": lambda good: _archive(inputs=np.zeros((72, 40))),
    "an array of objects": lambda good: _archive(inputs=np.array([{}], dtype=object), labels=np.zeros(72)),
    "a pickle": lambda good: pickle.dumps({"inputs": 1}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_file_is_made_anew(damage, cache, generated):
    expected = everything(fresh(small()))
    (path,) = cache.iterdir()
    good = path.read_bytes()
    path.write_bytes(DAMAGE[damage](good))
    inputs, labels = everything(fresh(small()))
    assert torch.equal(inputs, expected[0])
    assert torch.equal(labels, expected[1])
    assert len(generated) == 2
    fresh(small())
    assert len(generated) == 2  # the new file serves
    assert [p.name for p in cache.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path, monkeypatch, generated):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "file" / "cache"))
    first, second = everything(fresh(small())), everything(fresh(small()))
    assert torch.equal(first[0], second[0])
    assert len(generated) == 2
    load._load.cache_clear()


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch, generated):
    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    fresh(small())
    assert list(cache.iterdir()) == []
    assert len(generated) == 1
