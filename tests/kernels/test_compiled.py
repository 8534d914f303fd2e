"""Machine code is kept in the cache folder, from one process to the next, as long as nothing it depends on changes."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")
from rlsearch.kernels import compiled
from rlsearch.kernels.compiled import Compiler, load_generated
from rlsearch.kernels.generated import load_module

TOY = """
import sys
import helper
from rlsearch.kernels.compiled import Compiler

compiled = Compiler("toy", sys.modules[__name__], helper)

@compiled("float64(float64)")
def scaled(x):
    return helper.FACTOR * x

@compiled()
def total(values):
    result = 0.0
    for value in values:
        result += scaled(value)
    return result
"""

USE = """
import logging, sys
logging.basicConfig(level=logging.WARNING, format="%(message)s")
import numpy as np, toy
print(toy.total(np.arange(4.0)), *(sum(f.stats.cache_hits.values()) for f in (toy.scaled, toy.total)))
"""


@pytest.fixture
def toy(tmp_path):
    """Runs the toy in a process of its own: what it computes, and how often machine code was found."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "helper.py").write_text("FACTOR = 2.0\n")

    def run(cache="cache", use=USE, **more):
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        environment = {**os.environ, "RLSEARCH_CACHE": str(tmp_path / cache), "PYTHONPATH": paths, **more}
        result = subprocess.run(
            [sys.executable, "-c", use], env=environment, capture_output=True, text=True, check=True
        )
        return result.stdout.split(), result.stderr

    return run


def folders(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache" / "kernels").iterdir())


def test_another_process_finds_the_machine_code(toy, tmp_path):
    assert toy()[0] == ["12.0", "0", "0"]
    assert toy()[0] == ["12.0", "1", "1"]
    assert len(folders(tmp_path)) == 1
    assert not list(tmp_path.glob("__pycache__/*.nbi"))  # nothing beside the source


@pytest.mark.parametrize("damage", [b"", b"garbage"])
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_machine_code_is_made_anew(toy, tmp_path, ending, damage):
    toy()
    for path in tmp_path.glob(f"cache/kernels/*/*{ending}"):
        path.write_bytes(damage)
    assert toy()[0][0] == "12.0"
    assert toy()[0] == ["12.0", "1", "1"]


def test_a_change_in_the_file_itself_compiles_anew(toy, tmp_path):
    toy()
    (tmp_path / "toy.py").write_text(TOY.replace("result = 0.0", "result = 1.0"))
    assert toy()[0] == ["13.0", "0", "0"]
    assert len(folders(tmp_path)) == 2


def test_a_change_in_a_file_it_depends_on_compiles_anew(toy, tmp_path):
    """numba itself would not notice, and go on with the old factor."""
    toy()
    (tmp_path / "helper.py").write_text("FACTOR = 3.25\n")
    assert toy()[0] == ["19.5", "0", "0"]
    assert len(folders(tmp_path)) == 2


def test_reformatting_does_not_end_caching(toy, tmp_path):
    (tmp_path / "toy.py").write_text(
        TOY.replace('@compiled("float64(float64)")', '@compiled(\n    "float64(float64)"\n)')
    )
    toy()
    assert toy()[0] == ["12.0", "1", "1"]


def test_a_folder_that_cannot_be_written_compiles_in_every_process_and_says_so_once(toy, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for _ in range(2):
        output, errors = toy("file")
        assert output == ["12.0", "0", "0"]
        assert errors.count("machine code cannot be kept") == 1


def test_without_compiling_the_functions_are_pythons(toy, tmp_path):
    use = "import toy; print(type(toy.total).__name__, toy.total([1.0, 2.0]))"
    assert toy(use=use, NUMBA_DISABLE_JIT="1")[0] == ["function", "6.0"]
    assert not (tmp_path / "cache").exists()


GENERATED = """
from rlsearch.kernels.compiled import Compiler
compiled = Compiler("half", __name__)

@compiled("float64(float64)")
def half(x):
    return x / {by}
"""


def test_a_generated_module_is_written_once(monkeypatch, tmp_path):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))
    module = load_generated("half", GENERATED.format(by=2), "a function that it calls")
    assert module.half(3.0) == 1.5
    assert load_generated("half", GENERATED.format(by=2), "a function that it calls") is module
    assert load_generated("half", GENERATED.format(by=2), "the same function, changed") is not module
    assert load_generated("half", GENERATED.format(by=4), "a function that it calls").half(3.0) == 0.75
    assert len(list((tmp_path / "cache" / "kernels").glob("*.py"))) == 3
    again = load_module(module.__name__, tmp_path / "cache" / "kernels" / f"{module.__name__}.py")
    assert sum(again.half.stats.cache_hits.values()) == 1


def test_a_generated_module_that_cannot_be_written_is_run_from_memory(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(compiled, "_warned", [])
    with caplog.at_level(logging.WARNING, logger="rlsearch"):
        assert load_generated("half", GENERATED.format(by=8), "in memory").half(4.0) == 0.5
    assert len(caplog.records) == 1


def test_options_of_numba_are_passed_on(monkeypatch, tmp_path):
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path))
    function = Compiler("options", "a test")(error_model="python")(lambda a, b: a / b)
    with pytest.raises(ZeroDivisionError):
        function(1.0, 0.0)
    assert np.isinf(Compiler("options", "another")()(lambda a, b: a / b)(1.0, 0.0))
