"""Functions that are mirror images of each other: ``f(x)``, ``-f(x)``, ``f(-x)`` and ``-f(-x)``.

Between linear layers a network can hardly tell them apart: its weights take the signs. They stay different functions,
for where there are residual connections or gates, or the cost differs, signs matter; but to people they are one idea.

The inputs of a gated unit come from two linear layers, each of which takes a sign of its own, and which may be
exchanged: ``f(x, g)`` and ``f(g, x)`` differ by the names of the weights.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from rlsearch.formula.formula import Formula, fingerprint_grid, fingerprint_of

Floats = NDArray[np.float64]

MOST_IMAGES = 16
"""Functions that are mirror images of one another, itself included: those of two inputs. Of one input there are 4."""


@lru_cache(maxsize=4096)
def mirror_key(formula: Formula) -> str:
    """A hash that mirror images share: the least of the fingerprints of all of them.

    A function of more than two inputs, which no network here has, is an image of those alone whose inputs change their
    signs together. Parameters keep their signs. As fingerprints, keys are compared within one machine only.
    """
    keys: list[str] = []
    for values in _reflected(formula):
        with np.errstate(invalid="ignore"):
            keys += [fingerprint_of(values, formula.parameters), fingerprint_of(-values, formula.parameters)]
    return min(keys)


@lru_cache(maxsize=4096)
def exchange_key(formula: Formula) -> str:
    """A hash that functions share which differ by the order of their inputs, as ``f(x, g)`` and ``f(g, x)``."""
    names = formula.inputs
    parameters = _grids_of_parameters(formula)
    images = [formula(**dict(zip(names, grids, strict=True)), **parameters) for grids in _ordered(names)]
    return min(fingerprint_of(values, formula.parameters) for values in images)


def _grids_of_parameters(formula: Formula) -> dict[str, Floats]:
    return {letter: fingerprint_grid(letter) for letter in formula.parameters}


def _ordered(names: tuple[str, ...]) -> Iterator[tuple[Floats, ...]]:
    """Yields the grids of so many inputs in every order; those of more than two in one."""
    # A function of g alone is the same as one of x.
    grids = tuple(fingerprint_grid(name) for name in ("x", *names[1:]))
    return permutations(grids) if len(grids) <= 2 else iter([grids])


def _reflected(formula: Formula) -> Iterator[Floats]:
    """Yields the function's values at all images of its grid."""
    names = formula.inputs
    together = [(1.0,) * len(names), (-1.0,) * len(names)]
    signs = list(product((1.0, -1.0), repeat=len(names))) if len(names) <= 2 else together
    for grids, of_inputs in product(_ordered(names), signs):
        inputs = {name: sign * grid for name, sign, grid in zip(names, of_inputs, grids, strict=True)}
        yield formula(**inputs, **_grids_of_parameters(formula))
