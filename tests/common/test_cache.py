import json
import os

import pytest

from rlsearch.common.cache import cache_file, cache_folder, kept
from rlsearch.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(path):
    return json.loads(path.read_text())["value"]


def write(value, path):
    path.write_text(json.dumps({"value": value}))


def made_by(calls):
    return lambda: calls.append(1) or len(calls)


def test_where_the_cache_is(monkeypatch, folder):
    assert cache_folder() == folder
    monkeypatch.delenv("RLSEARCH_CACHE")
    assert cache_folder().name == "rlsearch"


def test_a_file_is_named_by_its_kind_and_all_that_decides_it(folder):
    path = cache_file("data", "seed 1", ".npz")
    assert path.parent == folder
    assert path.name.startswith("data-")
    assert path.suffix == ".npz"
    assert path == cache_file("data", "seed 1", ".npz")
    assert len({path, cache_file("data", "seed 2", ".npz"), cache_file("other", "seed 1", ".npz")}) == 3


def test_made_once(folder):
    path, calls = cache_file("data", "", ".json"), []
    assert [kept(path, read, made_by(calls), write) for _ in range(3)] == [1, 1, 1]
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{", "{}", "3", "null"])
def test_a_damaged_file_is_made_anew(content):
    path, calls = cache_file("data", "", ".json"), []
    kept(path, read, made_by(calls), write)
    path.write_text(content)
    assert [kept(path, read, made_by(calls), write) for _ in range(2)] == [2, 2]


def test_a_file_that_its_reader_refuses_is_made_anew():
    def refuse(path):
        raise ConfigError("of another machine")

    path, calls = cache_file("data", "", ".json"), []
    assert [kept(path, refuse, made_by(calls), write) for _ in range(2)] == [1, 2]


def test_a_folder_that_cannot_be_written_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "file" / "cache"))
    path, calls = cache_file("data", "", ".json"), []
    assert [kept(path, read, made_by(calls), write) for _ in range(2)] == [1, 2]


def test_a_full_disk_leaves_nothing_behind(folder):
    def full(value, path):
        path.write_text("half of it")
        raise OSError(28, "No space left on device")

    assert kept(cache_file("data", "", ".json"), read, lambda: 5, full) == 5
    assert list(folder.iterdir()) == []


def test_what_making_raises_is_not_the_caches():
    with pytest.raises(KeyError):
        kept(cache_file("data", "", ".json"), read, lambda: {}["missing"], write)


def test_processes_do_not_write_into_each_others_files(folder):
    seen = []
    kept(cache_file("data", "", ".json"), read, lambda: 5, lambda value, path: seen.append(path.name))
    assert str(os.getpid()) in seen[0]
