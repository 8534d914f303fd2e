"""A function of two inputs as a picture: bands of colour over the plane, whose borders are its contours."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rlsearch.formula.formula import Formula

EDGES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Where a band ends and the next begins, above 0 and below: a published gated unit reaches to about 16 within +-4."""

SHADES = (0.12, 0.25, 0.4, 0.57, 0.76, 1.0)
"""How much of its colour each band has, the one next to 0 first; around 0 there is none."""

ABOVE, BELOW = (0, 114, 178), (213, 94, 0)
"""Blue and vermilion of Okabe and Ito 2008, which the colour-blind can tell apart."""

Floats = NDArray[np.float64]


def line(reach: float, points: int) -> Floats:
    """The middles of so many equal cells from ``-reach`` to ``reach``."""
    step = 2 * reach / points
    return np.linspace(-reach + step / 2, reach - step / 2, points)


def plane(reach: float, points: int) -> tuple[Floats, Floats]:
    """The first and the second input over a square, each ``[points, points]``.

    The first one grows to the right, the second one upwards: the first row is the uppermost.
    """
    x, g = np.meshgrid(line(reach, points), line(reach, points)[::-1])
    return x, g


def values_over(formula: "Formula", first: Floats, second: Floats) -> Floats:
    """The values of a formula of two inputs; of more, the others are held at 1."""
    held = [np.ones_like(first)] * (len(formula.inputs) - 2)
    return np.broadcast_to(formula(first, second, *held), first.shape)


def bands(values: Floats) -> NDArray[np.float64]:
    """The number of its band for every value: 0 around 0, 1 to 6 above and -1 to -6 below; NaN for NaN."""
    numbers: Floats = np.sign(values) * np.searchsorted(EDGES, np.abs(values), side="right")
    return numbers


def paths(numbers: Floats) -> Mapping[int, str]:
    """The cells of each band as the data of an SVG path, whose lines are one unit wide, as a cell is.

    Cells of a row that lie side by side are one line. Cells without a number are left out.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for row, of_row in enumerate(numbers):
        # Where a number differs from the one before, a line begins.
        starts = np.flatnonzero(np.append(True, of_row[1:] != of_row[:-1])).tolist()
        for start, end in zip(starts, [*starts[1:], len(of_row)], strict=True):
            if np.isfinite(of_row[start]):
                found[int(of_row[start])].append(f"M{start} {row + 0.5:g}h{end - start}")
    return {number: "".join(lines) for number, lines in sorted(found.items())}


def colour(number: int) -> str:
    """The colour of a band on white ground, such as ``"#0072b2"``."""
    full = ABOVE if number > 0 else BELOW
    share = SHADES[abs(number) - 1] if number else 0.0
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in full)
