"""Functions that are mirror images of each other, ``f(x)``, ``-f(x)``, ``f(-x)`` and ``-f(-x)``.

Between linear layers a network can hardly tell them apart: its weights take the signs. They stay different functions,
for where there are residual connections or gates, or the cost differs, signs matter; but to people they are one idea.
"""

from functools import lru_cache

import numpy as np

from rlsearch.formula.formula import Formula, fingerprint_grid, fingerprint_of

MOST_IMAGES = 4
"""Functions that are mirror images of one another, itself included."""


@lru_cache(maxsize=4096)
def mirror_key(formula: Formula) -> str:
    """A hash that mirror images share: the least of the fingerprints of all four.

    Of a function of several inputs, all of them change their signs together; parameters keep theirs. As fingerprints,
    keys are compared within one machine only.
    """
    grids = {name: fingerprint_grid(name) for name in formula.arguments}
    there = formula(**grids)
    mirrored = formula(**{name: -grid if name in formula.inputs else grid for name, grid in grids.items()})
    with np.errstate(invalid="ignore"):
        images = (there, -there, mirrored, -mirrored)
        return min(fingerprint_of(values, formula.parameters) for values in images)
