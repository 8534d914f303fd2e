"""What the tests of all export formats share: every operator and named function, and a file that is run."""

import ast
import importlib.util
import sys

import numpy as np

from rlsearch import Formula, export
from rlsearch.formula import OPERATORS
from rlsearch.formula.named import NAMED

FORMULAS = [
    *(
        Formula((name, *operands))
        for name, operator in OPERATORS.items()
        for operands in ([("x",)] if operator.arity == 1 else [("x", "g"), ("x", 2.5), (-1.5, "x"), ("x", 0.0)])
    ),
    *(Formula.parse(named.body) for named in NAMED.values()),
    *map(Formula.parse, ("x", "g", "log(sqrt(x) / (x - g)) * sinc(x) - hard_sigmoid(elu(x))", "x * relu(y)")),
]
"""Every operator, with two inputs and with a constant on either side, every named function, and an input ``y``."""

POINTS = np.concatenate(
    [np.linspace(-9, 9, 73), [-60.0, -25.5, 25.5, 60.0], np.outer([1, -1], np.geomspace(2e-9, 2e-2, 15)).ravel()]
)
"""Among them 0, the kinks at 1, 3 and 6, and numbers on both sides of the guards at 1e-6."""


def inputs_of(formula, dtype=np.float64):
    """Numbers for every input: one runs through them in another order."""
    numbers = {"x": POINTS, "g": np.roll(POINTS[::-1], 31), "y": np.roll(POINTS, 17)}
    return [numbers[name].astype(dtype) for name in formula.inputs]


def names_imported(source):
    """The modules that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def executed(formula, form):
    """The names that an exported Python file defines."""
    namespace = {"__name__": "exported"}
    exec(compile(export(formula, form), "<exported>", "exec"), namespace)
    return namespace


def loaded(source, path):
    """The module of a source that must lie in a file."""
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
