import numpy as np
import pytest
from helpers_exports import FORMULAS, executed, inputs_of, names_imported

from rlsearch import Formula, export


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_the_function_is_the_formula_to_the_last_bit(formula, dtype):
    values = inputs_of(formula, dtype)
    ours = executed(formula, "numpy")["activation"](*values)
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, formula(*values))


def test_whole_numbers_count_as_float64():
    formula = Formula.parse("x * sigmoid(g)")
    ours = executed(formula, "numpy")["activation"]([[1], [2]], 3)
    assert ours.dtype == np.float64
    np.testing.assert_array_equal(ours, formula(np.array([[1], [2]]), 3))


@pytest.mark.parametrize("text", ["max(x, 1e300)", "x + exp(1000)", "x * (exp(1000) - exp(1000))"])
def test_odd_constants(text):
    values = np.array([-1.0, 0.0, 2.0], np.float32)
    ours = executed(Formula.parse(text), "numpy")["activation"](values)
    np.testing.assert_array_equal(ours, Formula.parse(text)(values))


def test_scipy_is_imported_only_where_it_is_needed():
    assert names_imported(export("x * tanh(x)", "numpy")) == {"numpy"}
    assert names_imported(export("gelu(x)", "numpy")) == {"numpy", "scipy"}


def test_golden():
    assert (
        export("x * tanh(x)", "numpy").partition("\n\n")[2]
        == '''\
"""The activation function x * tanh(x).

Written by rlsearch. Standalone: needs only numpy.
"""

import numpy as np


def activation(x):
    """Elementwise x * tanh(x), of arrays of real numbers whose shapes broadcast."""
    x = _floating(x)
    # float16 is computed in float32 and rounded once.
    dtype = np.result_type(x)
    x = x.astype(np.promote_types(dtype, np.float32))
    with np.errstate(all="ignore"):
        t0 = np.tanh(x)
        t1 = x * t0
        return t1.astype(dtype)


def _floating(values):
    """Whole numbers and truth values count as float64."""
    values = np.asarray(values)
    return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)
'''
    )
