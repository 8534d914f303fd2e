"""How a formula looks in a notebook: its text beside a small picture, as HTML that needs nothing else.

The picture is a curve, and of a function of several inputs the contours over the first two.
"""

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from rlsearch.formula.heat import bands, colour, paths, plane, values_over

if TYPE_CHECKING:
    from rlsearch.formula.formula import Formula

WIDTH, HEIGHT = 120, 60
REACH = 4.0
LOW, HIGH = -2.0, 4.0
"""The part of the plane that a small curve shows: x from -REACH to REACH, y from LOW to HIGH."""


def curve_svg(formula: "Formula") -> str:
    """A small curve of a formula of one input as SVG."""
    x = np.linspace(-REACH, REACH, 81)
    values = formula(x)
    across = (x + REACH) * WIDTH / (2 * REACH)
    down = (HIGH - np.broadcast_to(values, x.shape)) * HEIGHT / (HIGH - LOW)

    # The line is broken where the curve leaves the picture.
    pieces, pen_is_down = [], False
    for left, top in zip(across.tolist(), down.tolist(), strict=True):
        is_inside = bool(0 <= top <= HEIGHT)
        if is_inside:
            pieces.append(f"{'L' if pen_is_down else 'M'}{left:.1f} {top:.1f}")
        pen_is_down = is_inside
    zero = HIGH * HEIGHT / (HIGH - LOW)
    axes = f"M0 {zero:.1f}H{WIDTH}M{WIDTH / 2:.1f} 0V{HEIGHT}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="curve of {escape(str(formula))}">'
        f'<path d="{axes}" stroke="currentColor" opacity="0.3" fill="none"/>'
        f'<path d="{"".join(pieces)}" stroke="#0072B2" stroke-width="2" fill="none"/></svg>'
    )


CELLS = 40
"""Along each side of a small picture of contours."""


def contours_svg(formula: "Formula") -> str:
    """The contours over the first two inputs as SVG: blue above 0, vermilion below."""
    drawn = paths(bands(values_over(formula, *plane(REACH, CELLS))))
    lines = "".join(f'<path d="{data}" stroke="{colour(number)}"/>' for number, data in drawn.items())
    return (
        f'<svg width="{HEIGHT}" height="{HEIGHT}" viewBox="0 0 {CELLS} {CELLS}" role="img" '
        f'aria-label="contours of {escape(str(formula))}"><g shape-rendering="crispEdges">{lines}</g>'
        f'<path d="M0 {CELLS / 2:g}H{CELLS}M{CELLS / 2:g} 0V{CELLS}" stroke="#888" stroke-width="0.5"/></svg>'
    )


def formula_html(formula: "Formula") -> str:
    """A formula's text beside its picture."""
    picture = contours_svg(formula) if formula.is_gated else curve_svg(formula)
    return f'<span style="vertical-align:middle">{picture}</span> <code>{escape(str(formula))}</code>'


def table_html(columns: list[str], rows: list[list[str]]) -> str:
    """A plain table; cells are HTML already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
