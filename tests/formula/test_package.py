import subprocess
import sys

import pytest

import rlsearch


def run_python(code):
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_rlsearch_loads_nothing_heavy():
    loaded = run_python("import sys, rlsearch; print(*sys.modules)").split()
    assert "rlsearch" in loaded
    assert not {"torch", "stable_baselines3", "gymnasium", "numpy", "scipy", "pydantic", "matplotlib"} & set(loaded)


def test_the_language_works_without_torch():
    """Torch is made unimportable, so a lazy import would be found as well."""
    output = run_python(
        "import sys\n"
        "sys.modules['torch'] = sys.modules['stable_baselines3'] = None\n"
        "from rlsearch import Formula, Grammar, Vocabulary\n"
        "from rlsearch.formula import FormulaBuilder\n"
        "formula = Formula.parse('max(gelu(x), 1) + gmtu(g) * hard_sigmoid(x)')\n"
        "print(formula, formula.fingerprint, formula.latex(), formula.source(), formula(1.0, 2.0))\n"
        "vocabulary = Vocabulary(('mul', 'sigmoid'))\n"
        "print(vocabulary.decode(vocabulary.encode(Formula.parse('silu(x)'))))\n"
        "print(FormulaBuilder(Grammar(vocabulary), 2).mask().shape)\n"
    )
    assert output.splitlines()[-2:] == ["x * sigmoid(x)", "(2, 4)"]


def test_public_names():
    assert {"Formula", "Vocabulary", "train", "sample", "replace_activations"} <= set(rlsearch.__all__)
    for name in rlsearch.__all__:
        assert getattr(rlsearch, name) is not None
    assert dir(rlsearch) == sorted(rlsearch.__all__)
    with pytest.raises(AttributeError, match="no attribute 'formulla'"):
        _ = rlsearch.formulla
