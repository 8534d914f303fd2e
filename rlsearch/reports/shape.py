"""The shape of a function: its curve and its slope, beside ReLU and GELU."""

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from rlsearch.formula import Formula
from rlsearch.formula.backends import NUMPY
from rlsearch.formula.program import run_with_slopes
from rlsearch.reports.drawing import BOTTOM, LEFT, RIGHT, WIDTH, Picture, Scale, axes, legend, polyline, reach, svg

REACH, POINTS = 4.0, 161
"""Where inputs of a layer lie, after normalisation; the points are 0.05 apart."""

LIMITS = (-4.0, 6.0)
"""Of the vertical axis: what leaves it runs out of the picture."""

KNOWN = {"second": ("ReLU", Formula.parse("relu(x)")), "third": ("GELU", Formula.parse("gelu(x)"))}
"""What one knows the shape of, by the class of its line."""

HEIGHT = 300.0

Floats = NDArray[np.float64]


def shape_pictures(formula: Formula) -> list[Picture]:
    """The curve of a function and its slope; further inputs than the first are held at 1."""
    functions = {"first": ("this function", formula), **KNOWN}
    computed = {kind: (name, *value_and_slope(function)) for kind, (name, function) in functions.items()}
    values = {kind: (name, value) for kind, (name, value, _) in computed.items()}
    slopes = {kind: (name, slope) for kind, (name, _, slope) in computed.items()}
    held = f" {', '.join(formula.inputs[1:])} held at 1." if len(formula.inputs) > 1 else ""
    return [
        Picture("Its curve", _lines(f"The curve of {formula} beside ReLU and GELU", values), held),
        Picture("Its slope", _lines(f"The slope of {formula} beside those of ReLU and GELU", slopes), held),
    ]


def value_and_slope(formula: Formula) -> tuple[Floats, Floats]:
    """The values and the slopes by the first input from -:data:`REACH` to :data:`REACH`, each ``[POINTS]``.

    Parameters have their start values.
    """
    x = np.linspace(-REACH, REACH, POINTS)
    formula = formula.with_values()
    inputs = [x if name == formula.inputs[0] else np.ones_like(x) for name in formula.inputs]
    with np.errstate(all="ignore"):
        value, slopes = run_with_slopes(formula.program, NUMPY, inputs)
    # A slope that is the same everywhere is one number.
    return np.asarray(value, dtype=np.float64), np.broadcast_to(np.asarray(slopes[0], dtype=np.float64), x.shape)


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
