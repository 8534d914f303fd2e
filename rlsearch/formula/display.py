"""How a formula looks in a notebook: its text beside a small curve, as HTML that needs nothing else."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rlsearch.formula.formula import Formula

WIDTH, HEIGHT = 120, 60
REACH = 4.0
LOW, HIGH = -2.0, 4.0
"""The part of the plane that a small curve shows: x from -REACH to REACH, y from LOW to HIGH."""


def curve_svg(formula: "Formula") -> str:
    """A small curve over the first input as SVG; further inputs are held at 1."""
    x = np.linspace(-REACH, REACH, 81)
    values = formula(**{name: x if name == formula.inputs[0] else np.ones_like(x) for name in formula.inputs})
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


def formula_html(formula: "Formula") -> str:
    """A formula's text beside its curve."""
    return f'<span style="vertical-align:middle">{curve_svg(formula)}</span> <code>{escape(str(formula))}</code>'


def table_html(columns: list[str], rows: list[list[str]]) -> str:
    """A plain table; cells are HTML already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
