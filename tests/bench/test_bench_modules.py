import json
import logging
from types import SimpleNamespace

import pytest
import torch

from rlsearch.bench import modules
from rlsearch.bench.modules import bench_modules, compiled, kept_bytes, why_not_compiled
from rlsearch.formula import Formula
from rlsearch.kernels.fused import fused_module

TWO = {"a": Formula.parse("x * tanh(x)"), "b": Formula.parse("sin(x)")}


@pytest.fixture
def eager_backend(monkeypatch):
    """torch.compile without a compiler."""
    monkeypatch.setattr(modules, "compiled", lambda module: torch.compile(module, fullgraph=True, backend="aot_eager"))
    monkeypatch.setattr(modules, "why_not_compiled", lambda device: "")


def test_modules(eager_backend):
    told = []
    report = bench_modules("cpu", TWO, 256, 2, SimpleNamespace(on_progress=lambda *what: told.append(what)))
    sections = ["forward of 256 elements", "forward plus backward of 256 elements", "kept for the backward pass"]
    assert list(dict.fromkeys(row.section for row in report.rows)) == sections
    for section in sections:
        assert [(row.case, row.way) for row in report.rows if row.section == section] == [
            (case, way) for case in ("nn.ReLU", "nn.GELU", "a", "b") for way in ("fused", "compiled", "eager")
        ]
    assert {row.unit for row in report.rows} == {"ns per element", "bytes per element"}
    assert all(row.plain == "eager" for row in report.rows if row.way != "eager" and "kept" not in row.section)
    assert told == [("modules", done, 4) for done in (1, 2, 3, 4)]
    assert report.to_json()


def test_bytes_that_are_kept():
    """torch keeps ReLU's output and GELU's input; of x * tanh(x) both factors; 4 bytes each."""
    x_tanh = TWO["a"]
    ways = [torch.nn.ReLU(), torch.nn.GELU(), x_tanh.to_module(), torch.nn.Identity()]
    assert [kept_bytes(way, 1000, "cpu") for way in ways] == [4000, 4000, 8000, 0]
    pytest.importorskip("numba", reason="numba is not installed")
    assert kept_bytes(fused_module(x_tanh), 1000, "cpu") == 4000


def test_without_a_compiler_torch_compile_is_left_out(monkeypatch, caplog):
    monkeypatch.setattr(modules.shutil, "which", lambda name: None)
    with caplog.at_level(logging.WARNING):
        report = bench_modules("cpu", TWO, 64, 2)
    assert {row.way for row in report.rows} == {"fused", "eager"}
    note = "torch.compile is left out: it needs a compiler, and neither g++ nor clang++ is installed"
    assert why_not_compiled("cpu") == note
    assert note in caplog.messages


def test_with_one_compiler_it_is_not(monkeypatch):
    monkeypatch.setattr(modules.shutil, "which", lambda name: name if name == "clang++" else None)
    assert why_not_compiled("cpu") == ""
    assert compiled(torch.nn.ReLU()) is not None


def test_from_the_command_line(run, eager_backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("bench", "modules", "x*x", "--elements", "64", "--rounds", "2", "--json")
    assert code == 0
    assert {row["case"] for row in json.loads(out)["rows"]} == {"nn.ReLU", "nn.GELU", "x*x"}
