"""The texts that are read, how they are divided, and the passages drawn from them."""

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from rlsearch.errors import ConfigError
from rlsearch.proxies.data import DATASETS, text, text_files
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.settings import ProxySettings

torch.set_num_threads(1)

TEXT = DATASETS["text"]
CHARACTERS = "".join(map(chr, range(32, 127))) + "\n"


@pytest.fixture(autouse=True)
def _as_a_new_process():
    """Files of an earlier test may have had the same path."""
    text._read.cache_clear()
    text._of.cache_clear()
    yield
    text._read.cache_clear()
    text._of.cache_clear()


def words(tokens):
    return ["".join(CHARACTERS[token] for token in row) for row in tokens]


def passages(dataset, seed=0, sizes=(40, 12, 8)):
    """Of each part: its passages of nine characters, as texts."""
    return [words(np.column_stack(part)) for part in dataset.parts(seed, sizes)]


def folder_of(path, texts):
    for name, content in texts.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- tokens and passages ---


def test_every_byte_is_a_token(tmp_path):
    """Printable ASCII in its order, and one token for all the rest: here also half of a letter and a bell."""
    line = bytes(range(32, 127)) + "\n\t\x07é".encode()
    (tmp_path / "a").write_bytes(line)
    (whole,) = text._read(tmp_path / "a").parts[0]
    cut = round(0.8 * len(line))
    parts = [tokens for part in text._read(tmp_path / "a").parts for tokens in part]
    assert np.concatenate(parts).tolist() == [*range(95), 95, 95, 95, 95, 95]
    assert len(whole) == cut


def test_a_single_file_is_cut_into_three_blocks(tmp_path):
    """80, 10 and 10 of 100 numbered words; every passage is a piece of its own block."""
    content = "".join(f"{number:03d} " for number in range(100))
    (tmp_path / "numbers").write_text(content)
    dataset = TEXT.opened(tmp_path / "numbers")
    blocks = content[:320], content[320:360], content[360:]
    for part, block in zip(passages(dataset, sizes=(312, 32, 32)), blocks, strict=True):
        # All that there are: each beginning once.
        assert sorted(part) == sorted(block[i : i + 9] for i in range(len(block) - 8))


@pytest.mark.parametrize("lengths", [(9, 9, 9), (0, 30, 3, 9, 8, 11), (20, 1, 2, 20)])
def test_no_passage_reaches_from_one_text_into_the_next(lengths):
    """Texts too short for a passage have none, and move none of the others."""
    tokens = [np.full(length, number, np.uint8) for number, length in enumerate(lengths)]
    count = sum(max(0, length - 8) for length in lengths)
    inputs, following = TEXT._passages("train", tokens, np.random.default_rng(0), count)
    assert (inputs == following[:, None]).all()
    for number, length in enumerate(lengths):
        assert (following == number).sum() == max(0, length - 8)


def test_too_few_passages(tmp_path):
    (tmp_path / "short.txt").write_text("x" * 200)
    dataset = TEXT.opened(tmp_path / "short.txt")
    message = r"the validation part of .*short\.txt has 12 passages of 9 characters; expected the 16 of validation_size"
    with pytest.raises(ConfigError, match=message):
        dataset.parts(0, (100, 16, 4))


# --- the parts ---


def test_whole_files_are_divided_whatever_the_seed(tmp_path):
    """About as 80 to 10 to 10; a passage tells its file by its letter, and each file is of one part."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
    folder = folder_of(tmp_path, {f"{letter}-{i}.txt": letter * 100 for i, letter in enumerate(letters)})
    dataset = TEXT.opened(folder)
    owners = []
    for seed in range(3):
        owners.append([set("".join(part)) for part in passages(dataset, seed, (1600, 200, 200))])
        assert [len(part) for part in owners[-1]] == [32, 4, 4]
        assert set.union(*owners[-1]) == set(letters)
    assert owners[0] == owners[1] == owners[2]


def test_the_seed_draws_other_passages():
    one, again, other = (passages(TEXT, seed) for seed in (1, 1, 2))
    assert one == again
    assert all(a != b for a, b in zip(one, other, strict=True))


def test_sizes_of_one_part_do_not_change_the_others():
    few, many = TEXT.parts(0, (40, 12, 8)), TEXT.parts(0, (40, 12, 400))
    for i in range(2):
        np.testing.assert_array_equal(few[i][0], many[i][0])


def test_content_decides_and_not_a_name(tmp_path):
    texts = {f"{i}.txt": f"{i}" * 60 for i in range(20)}
    one = folder_of(tmp_path / "one", texts)
    other = folder_of(tmp_path / "other", {f"x/{19 - i}.md": content for i, content in enumerate(texts.values())})
    assert TEXT.opened(one).digest() == TEXT.opened(other).digest()
    assert passages(TEXT.opened(one), 3) == passages(TEXT.opened(other), 3)
    (one / "7.txt").write_text("7" * 59 + "8")
    text._read.cache_clear()
    assert TEXT.opened(one).digest() != TEXT.opened(other).digest()


def test_a_file_that_lies_there_twice_counts_once(tmp_path):
    texts = {f"{i}.txt": f"{i}" * 60 for i in range(20)}
    once = TEXT.opened(folder_of(tmp_path / "once", texts))
    twice = TEXT.opened(folder_of(tmp_path / "twice", texts | {"copy.txt": texts["0.txt"]}))
    assert once.digest() == twice.digest()


# --- the files ---


def test_files_of_a_folder_are_told_by_their_suffix(tmp_path):
    texts = {"a.txt": "one", "b/c.md": "two", "d.bin": "no", "e.py": "three", ".hidden/f.txt": "no", ".g.txt": "no"}
    assert sorted(text_files.read_texts(folder_of(tmp_path, texts))) == [b"one", b"three", b"two"]


def test_a_file_named_itself_has_any_suffix(tmp_path):
    (tmp_path / "a.bin").write_text("one")
    assert text_files.read_texts(tmp_path / "a.bin") == [b"one"]


def test_no_more_is_read_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MOST_BYTES", 25)
    folder = folder_of(tmp_path, {"a.txt": "a" * 10, "b.txt": "b" * 10, "c.txt": "c" * 10, "d.txt": "d" * 10})
    assert sorted(text_files.read_texts(folder)) == [b"a" * 10, b"b" * 10, b"c" * 5]


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"missing does not exist; expected a file or a folder of texts"):
        text_files.read_texts(tmp_path / "missing")
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"there is no text in .*; expected a file, or a folder with \.c, .*\.txt"):
        text_files.read_texts(tmp_path)


def test_the_standard_library_is_read_without_being_run():
    """Its modules are there as they lie in their folder, and neither tests nor what was installed."""
    loaded = set(sys.modules)
    texts = set(text_files.read_texts(None))
    assert set(sys.modules) == loaded
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in ("argparse.py", "json/decoder.py"):
        assert (root / name).read_bytes() in texts
    for name in ("idlelib/help.py", "encodings/cp037.py", "pydoc_data/topics.py"):
        assert not (root / name).exists() or (root / name).read_bytes() not in texts
    assert Path(pytest.__file__).read_bytes() not in texts


def test_help_texts_are_pages(tmp_path):
    (tmp_path / "topics.py").write_text("# made\ntopics = {'a': 'A page.\\n', 'b': 'Another.'}\n")
    assert list(text_files._help_texts(tmp_path / "topics.py")) == [b"A page.\n", b"Another."]
    assert list(text_files._help_texts(tmp_path / "missing.py")) == []


def test_the_library_has_enough_for_all_parts():
    lengths = [sum(map(len, part)) for part in text._read(None).parts]
    shares = np.array(lengths) / sum(lengths)
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.03)
    assert min(lengths) > 300_000


# --- settings ---


def test_reading_a_config_opens_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "read_texts", lambda path: pytest.fail("a file was read"))
    settings = [ProxySettings(dataset="text"), ProxySettings(dataset="text", path=tmp_path / "missing")]
    for s in settings:
        assert s.task.score == "minus cross-entropy"
        assert (s.sizes, s.n_features, s.n_outputs) == ((38_400, 8000, 8000), 8 * 12, 96)
        assert "no search has seen the test files" in s.caveat


def test_a_path_gives_the_same_object_again(tmp_path, monkeypatch):
    assert TEXT.opened(tmp_path) is TEXT.opened(tmp_path)
    assert TEXT.opened(None) is TEXT
    monkeypatch.chdir(tmp_path)
    assert TEXT.opened(Path("a")) is TEXT.opened(tmp_path / "a")


def test_files_that_changed_are_another_proxys(tmp_path):
    """A run keeps the digest of the texts that it began with."""
    (tmp_path / "a.txt").write_text("abcdefghij" * 100)
    values = {"dataset": "text", "path": tmp_path / "a.txt", "batch_size": 4}
    begun = ProxySettings.check(values | {"train_size": 40, "validation_size": 8, "test_size": 8}).completed()
    data = load_dataset(begun)
    assert begun.data_digest == TEXT.opened(tmp_path / "a.txt").digest()
    assert data.train.inputs.shape == (40, 8)
    assert data.train.inputs.dtype == torch.int64
    (tmp_path / "a.txt").write_text("abcdefghij" * 101)
    text._read.cache_clear()
    with pytest.raises(ConfigError, match="the files of text have changed"):
        begun.completed()
