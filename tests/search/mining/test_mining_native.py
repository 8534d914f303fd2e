"""The loops of mining are an ordinary module."""

import subprocess
import sys

import numpy as np
import pytest

from rlsearch.formula import OPERATORS, Grammar, Vocabulary
from rlsearch.formula.formula import fingerprint_grid
from rlsearch.formula.rules import ALL_RULES
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.settings import ScreeningSettings

pytest.importorskip("numba")
from rlsearch.search.mining import engine, native
from rlsearch.search.mining.source import operators_source
from rlsearch.search.mining.table import KEY_POINTS, Language

COSTS = LatencyCosts("a test's", 0.5, dict.fromkeys(OPERATORS, 1.0))


def test_it_is_imported_under_its_own_name():
    assert native.__name__ == "rlsearch.search.mining.native"
    assert native.expand.py_func.__code__.co_filename == native.__file__


def test_the_loops_can_be_stepped_through(monkeypatch):
    """As plain Python they find what the compiled ones find; the operators and hashes stay compiled."""
    grammar = Grammar(Vocabulary(("neg", "sin", "add", "mul"), ("x",), (2.0,)), 1, 4, ALL_RULES)
    compiled = engine.mine(grammar, None, ScreeningSettings(), COSTS, 1000)
    for name in ("expand", "_enter", "_is_legal", "_union", "marks_of"):
        monkeypatch.setattr(native, name, getattr(native, name).py_func)
    assert engine.mine(grammar, None, ScreeningSettings(), COSTS, 1000) == compiled


@pytest.mark.parametrize("points", [5, 64, 257])
def test_the_operators_take_a_screening_grid_of_any_size(points):
    x = np.linspace(-2, 2, points).astype(np.float32)
    operand = np.concatenate([x, np.ones_like(x)])
    into = np.empty_like(operand)
    opcode = Language.of(Grammar(Vocabulary(("tanh",))), COSTS).opcode[0, 0]
    native.apply_slopes(opcode, operand, operand, np.float32(0), into)
    np.testing.assert_allclose(into[:points], np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(into[points:], 1 - np.tanh(x) ** 2, rtol=1e-5)


def test_an_operator_is_defined_in_the_table_alone():
    source = operators_source()
    for name in OPERATORS:
        assert source.count(f"# {name} v") >= 2
    assert f"for i in range({KEY_POINTS}):" in source
    assert "for i in range(points):" in source


def test_keys_are_of_the_rounded_values():
    values = fingerprint_grid("x")[:KEY_POINTS].astype(np.float32)
    factors = np.arange(1, 2 * KEY_POINTS, 2)
    assert native.key_of(values, factors) == native.key_of(values * np.float32(1 + 1e-7), factors)
    assert native.key_of(values, factors) != native.key_of(-values, factors)


def test_another_process_loads_what_one_compiled():
    """The second of two, since this process may have another cache, from before the tests moved it."""
    code = (
        "from rlsearch.formula import OPERATORS, Grammar, Vocabulary\n"
        "from rlsearch.kernels.latency import LatencyCosts\n"
        "from rlsearch.rewards.settings import ScreeningSettings\n"
        "from rlsearch.search.mining.engine import mine\n"
        "grammar = Grammar(Vocabulary(('neg', 'add')), 1, 4)\n"
        "mine(grammar, None, ScreeningSettings(), LatencyCosts('', 0.5, dict.fromkeys(OPERATORS, 1.0)), 10)\n"
        "from rlsearch.search.mining import native\n"
        "functions = (native.apply_values, native.apply_slopes, native.expand, native.key_of, native.is_fit)\n"
        "print([sum(function.stats.cache_misses.values()) for function in functions])"
    )
    for _ in range(2):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[0, 0, 0, 0, 0]"
