"""What a user's code leaves behind, and what it raises."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from rlsearch.common.users_code import FAILURES, LONGEST_MESSAGE, as_message, seed_of, users_code, what_was_raised


def draw():
    return random.random(), np.random.random(), torch.rand(1).item()


def disturb(folder):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    os.chdir(folder)
    torch.set_grad_enabled(False)


@pytest.mark.parametrize("fails", [False, True])
def test_what_it_changes_is_put_back(tmp_path, fails):
    here, states = os.getcwd(), (random.getstate(), torch.get_rng_state())
    expected = np.random.get_state()[1].copy()
    try:
        with users_code(3):
            disturb(tmp_path)
            draw()
            if fails:
                raise SystemExit(3)
    except FAILURES:
        assert fails
    assert os.getcwd() == here
    assert torch.is_grad_enabled()
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], expected)


def test_a_gradient_mode_that_is_off_stays_off():
    with torch.no_grad():
        with users_code(0):
            torch.set_grad_enabled(True)
        assert not torch.is_grad_enabled()


def test_an_output_that_it_closes_is_open_again():
    code = """
import sys
from rlsearch.common.users_code import users_code

print("before")
with users_code(0):
    print("within")
    sys.stdout.close()
    sys.stderr.close()
print("after")
print("errors", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nwithin\nafter\n", "errors\n")


def test_its_random_numbers_follow_from_the_seed():
    found = []
    for outside, seed in ((1, 7), (2, 7), (1, 8)):
        random.seed(outside)
        with users_code(seed):
            found.append(draw())
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_folder_that_is_gone(tmp_path, monkeypatch):
    """Before the block, and within it: then nothing can be put back, and nothing is raised."""
    for gone in ("before", "within"):
        folder = tmp_path / gone
        folder.mkdir()
        monkeypatch.chdir(folder)
        if gone == "before":
            folder.rmdir()
        with users_code(0):
            os.chdir(tmp_path)
            if gone == "within":
                folder.rmdir()
        assert not folder.exists()


FORKING = """
import os
from rlsearch.common.users_code import users_code
for ending in ("raise", "exit", "return"):
    try:
        with users_code(0):
            child = os.fork()
            if not child and ending == "raise":
                raise ValueError("the child's")
            if not child and ending == "exit":
                raise SystemExit(0)
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    finally:
        print(ending, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_ends_with_the_block():
    ran = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout.split()) == (0, ["raise", "exit", "return"])
    assert "ValueError: the child's" in ran.stderr


def test_a_seed_of_texts():
    """The digest's first four bytes, so the same for ever; texts are told apart however they are cut."""
    assert seed_of("a", "b") == seed_of("a", "b")
    assert len({seed_of("a", "b"), seed_of("ab"), seed_of("b", "a"), seed_of("a")}) == 4
    assert 0 <= seed_of() < 2**32


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("two\nlines, é, \N{GRINNING FACE}", "two\nlines, é, \N{GRINNING FACE}"),
        ("a\udce9b\0c\x1b[31m", "a\\udce9b\\x00c\\x1b[31m"),
        (3, "3"),
        (10**5000, "a int that cannot be printed: its text raised ValueError"),
        (MuteError(), "a MuteError that cannot be printed: its text raised RuntimeError"),
        ("x" * LONGEST_MESSAGE, "x" * LONGEST_MESSAGE),
        ("x" * (LONGEST_MESSAGE + 1), "x" * (LONGEST_MESSAGE - 3) + "..."),
        ("\0" * LONGEST_MESSAGE, ("\\x00" * LONGEST_MESSAGE)[: LONGEST_MESSAGE - 3] + "..."),
    ],
    ids=range(9),
)
def test_a_message(value, text):
    assert as_message(value) == text
    assert as_message(value).encode()


def test_a_message_of_megabytes_is_cut_first():
    assert len(as_message("é" * 10_000_000)) == LONGEST_MESSAGE


def test_what_was_raised():
    assert what_was_raised(KeyError("k")) == "KeyError: 'k'"
    assert what_was_raised(MuteError()).startswith("MuteError: a MuteError that cannot be printed")
