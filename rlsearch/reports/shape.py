"""The shape of a function: its curve and its slope, beside ReLU and GELU; of a gated one contours, beside SwiGLU's."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.heat import EDGES, bands, paths, plane, values_over
from rlsearch.formula.program import run_with_slopes
from rlsearch.reports.drawing import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Picture,
    Scale,
    axes,
    legend,
    number,
    polyline,
    reach,
    svg,
    text,
)

REACH, POINTS = 4.0, 161
"""Where inputs of a layer lie, after normalisation; the points are 0.05 apart."""

LIMITS = (-4.0, 6.0)
"""Of the vertical axis: what leaves it runs out of the picture."""

KNOWN = {"second": ("ReLU", Formula.parse("relu(x)")), "third": ("GELU", Formula.parse("gelu(x)"))}
"""What one knows the shape of, by the class of its line."""

HEIGHT = 300.0

SWIGLU = Formula.parse("swiglu(x, g)")

CELLS, SIDE, SWATCH = 80, 320.0, 22.0
"""Cells along each side of a map, the length of a side, and that of a piece of colour in its key."""

_HOW_TO_READ = "Blue above 0, orange below; the bands end at the numbers on the right."

Floats = NDArray[np.float64]


def shape_pictures(formula: Formula) -> list[Picture]:
    """The curve of a function and its slope; of a function of two inputs the contours of both slopes."""
    return _contours(formula) if formula.is_gated else _curves(formula)


def _curves(formula: Formula) -> list[Picture]:
    functions = {"first": ("this function", formula), **KNOWN}
    computed = {kind: (name, *value_and_slope(function)) for kind, (name, function) in functions.items()}
    values = {kind: (name, value) for kind, (name, value, _) in computed.items()}
    slopes = {kind: (name, slope) for kind, (name, _, slope) in computed.items()}
    return [
        Picture("Its curve", _lines(f"The curve of {formula} beside ReLU and GELU", values)),
        Picture("Its slope", _lines(f"The slope of {formula} beside those of ReLU and GELU", slopes)),
    ]


def _contours(formula: Formula) -> list[Picture]:
    names, inputs = formula.inputs, plane(REACH, CELLS)
    held = [np.ones_like(inputs[0])] * (len(names) - 2)
    with np.errstate(all="ignore"):
        value, slopes = run_with_slopes(formula.with_values().program, NUMPY, [*inputs, *held])
    others = f" {', '.join(names[2:])} held at 1." if held else ""
    return [
        Picture("Its values", _map(f"The values of {formula}", names, value), f"{_HOW_TO_READ}{others}"),
        Picture("SwiGLU's values", _map("The values of SwiGLU", SWIGLU.inputs, values_over(SWIGLU, *inputs))),
        *(
            Picture(f"Its slope by {name}", _map(f"The slope of {formula} by {name}", names, slope))
            for name, slope in zip(names[:2], slopes, strict=False)
        ),
    ]


def _map(title: str, names: Sequence[str], values: object) -> Markup:
    """Bands of colour over the plane, with axes and a key."""
    x, y = Scale(-REACH, REACH, LEFT, LEFT + SIDE), Scale(-REACH, REACH, TOP + SIDE, TOP)
    # A slope that is the same everywhere is one number.
    numbers = bands(np.broadcast_to(np.asarray(values, dtype=np.float64), (CELLS, CELLS)))
    place = Markup('<g transform="translate({:g} {:g}) scale({:g})" class="map">{}</g>')
    drawn = [Markup('<path d="{}" class="{}"/>').format(data, _kind(number)) for number, data in paths(numbers).items()]
    parts = [place.format(LEFT, TOP, SIDE / CELLS, Markup("").join(drawn)), axes(x, y, names[0])]
    parts += [text(LEFT - 22, TOP + SIDE / 2 - 12, names[1], anchor="end", kind="title"), _key(LEFT + SIDE + 28)]
    return svg(title, TOP + SIDE + BOTTOM, *parts)


def _key(left: float) -> Markup:
    """The bands from the highest to the lowest, and the numbers between them."""
    parts, edges = [], [*reversed(EDGES), *(-edge for edge in EDGES)]
    for row, band in enumerate(range(len(EDGES), -len(EDGES) - 1, -1)):
        height = TOP + 8 + SWATCH * row
        cell = Markup('<g transform="translate({:g} {:g}) scale({:g})" class="map"><path d="M0 0.5h1" class="{}"/></g>')
        parts.append(cell.format(left, height, SWATCH, _kind(band)))
        if row < len(edges):
            parts.append(text(left + SWATCH + 8, height + SWATCH + 4, number(edges[row]), kind="tick"))
    return Markup("\n").join(parts)


def _kind(band: int) -> str:
    """The class of a band in the style sheet."""
    return f"above{band}" if band > 0 else f"below{-band}"


def value_and_slope(formula: Formula) -> tuple[Floats, Floats]:
    """The values and the slopes of a function of one input on +-:data:`REACH`, each ``[POINTS]``.

    Parameters have their start values.
    """
    x = np.linspace(-REACH, REACH, POINTS)
    with np.errstate(all="ignore"):
        value, (slope,) = run_with_slopes(formula.with_values().program, NUMPY, [x])
    # A slope that is the same everywhere is one number.
    return np.asarray(value, dtype=np.float64), np.broadcast_to(np.asarray(slope, dtype=np.float64), x.shape)


def _lines(title: str, curves: dict[str, tuple[str, Floats]]) -> Markup:
    shown = np.concatenate([np.clip(values, *LIMITS) for _, values in curves.values()])
    x = Scale(-REACH, REACH, LEFT, WIDTH - RIGHT)
    y = Scale(*reach(shown[np.isfinite(shown)].tolist()), HEIGHT - BOTTOM, 30.0)
    parts = [axes(x, y, "x")]
    # The function itself is drawn last, above the others.
    for kind, (_, values) in reversed(curves.items()):
        inside = np.where((values >= y.low) & (values <= y.high), values, np.nan)
        places = np.linspace(-REACH, REACH, POINTS).tolist()
        points = [(x(a), y(b) if np.isfinite(b) else np.nan) for a, b in zip(places, inside.tolist(), strict=True)]
        parts.append(polyline(points, kind))
    parts.append(legend(LEFT, 18.0, {kind: name for kind, (name, _) in curves.items()}))
    return svg(title, HEIGHT, *parts)
