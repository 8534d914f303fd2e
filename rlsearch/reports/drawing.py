"""Pictures as inline SVG: axes, marks and labels, all text escaped.

Pictures are narrow, so that their letters can be read on a telephone too. Colours come from the style sheet, by class,
and every mark has a form of its own: nothing is told by colour alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

WIDTH = 480.0
"""Of every picture, in its own units; a letter is 12 high."""

LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 10.0, 38.0
"""Room around the axes, for their numbers and titles."""

MAX_TICKS = 6

GRID = 2
"""Dots lie on places so far apart: those of a large run would make a large page."""

MAX_LABEL_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what is said of it.

    Attributes:
        title: What it shows.
        svg: The picture.
        caption: How to read it.
    """

    title: str
    svg: Markup
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps numbers to places, linearly or by their logarithm.

    Attributes:
        low: The smallest number.
        high: The largest.
        start: The place of the smallest.
        end: The place of the largest.
        log: Whether equal ratios lie equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a number; what lies outside goes to the nearer end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if self.log:
            powers = 2.0 ** np.arange(math.floor(math.log2(self.low)), math.ceil(math.log2(self.high)) + 1)
            within = (1.0, 1.5) if math.log2(self.high / self.low) < 2.5 else (1.0,)
            candidates = np.outer(powers, within).ravel().tolist()
        else:
            step = round_step((self.high - self.low) / MAX_TICKS)
            first = math.ceil(self.low / step - 1e-9)
            candidates = [step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [tick for tick in candidates if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9) + 1e-12]


def round_step(step: float) -> float:
    """The smallest of 1, 2, 5, 10 and so on that is not below ``step``."""
    if not step > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def reach(values: Iterable[float], *, margin: float = 0.05) -> tuple[float, float]:
    """The ends of an axis that shows all finite ``values``, with a little room beyond."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    room = margin * (high - low) or 0.5
    return low - room, high + room


def log_reach(values: Iterable[float]) -> tuple[float, float]:
    """The same for an axis of ratios."""
    low, high = reach([math.log2(value) for value in values if value > 0])
    return 2.0**low, 2.0**high


def svg(title: str, height: float, *parts: Markup) -> Markup:
    """A picture of the width :data:`WIDTH`.

    Args:
        title: What is to be seen, in words, for those who do not see it.
        height: In its own units.
        *parts: What it consists of.
    """
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, title, Markup("\n").join(parts)
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", kind: str = "") -> Markup:
    """A line of text; ``anchor`` is start, middle or end, ``kind`` a class of the style sheet."""
    return Markup('<text x="{:.4g}" y="{:.4g}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, kind, words)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return Markup('<path d="M{:.4g} {:.4g}L{:.4g} {:.4g}" class="{}"/>').format(x1, y1, x2, y2, kind)


def polyline(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    """A line through points; one that is not finite is a gap."""
    path, pen_is_down = [], False
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            path.append(f"{'L' if pen_is_down else 'M'}{x:.1f} {y:.1f}")
        pen_is_down = math.isfinite(x) and math.isfinite(y)
    return Markup('<path d="{}" class="{}"/>').format("".join(path), kind)


def dots(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    """Many dots as one path; those that fall on one place are drawn once."""
    places = dict.fromkeys((GRID * round(x / GRID), GRID * round(y / GRID)) for x, y in points)
    return Markup('<path d="{}" class="dots {}"/>').format("".join(f"M{x} {y}h0" for x, y in places), kind)


MARKS = {
    "better": "M-3.5 -5L5.5 0L-3.5 5Z",
    "worse": "M3.5 -5L-5.5 0L3.5 5Z",
    "open": "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z",
    "found": "M-4.5 0A4.5 4.5 0 1 1 4.5 0A4.5 4.5 0 1 1 -4.5 0Z",
    "baseline": "M-4 -4H4V4H-4Z",
}
"""The forms of marks by their class: a triangle that points to the better side, and so on."""


def mark(x: float, y: float, kind: str, title: str = "") -> Markup:
    """A mark; ``title`` is shown where the pointer rests on it."""
    shown = Markup("<title>{}</title>").format(title) if title else ""
    return Markup('<path d="{}" transform="translate({:.4g} {:.4g})" class="mark {}">{}</path>').format(
        MARKS[kind], x, y, kind, shown
    )


def axes(x: Scale, y: Scale, x_title: str, y_title: str = "") -> Markup:
    """A grid with numbers and titles: the x axis below, the y axis on the left, its title above it."""
    parts = []
    for tick in x.ticks:
        parts.append(line(x(tick), y.start, x(tick), y.end, "grid"))
        parts.append(text(x(tick), y.start + 15, number(tick), anchor="middle", kind="tick"))
    for tick in y.ticks:
        parts.append(line(x.start, y(tick), x.end, y(tick), "grid"))
        parts.append(text(x.start - 6, y(tick) + 4, number(tick), anchor="end", kind="tick"))
    parts.append(text((x.start + x.end) / 2, y.start + 32, x_title, anchor="middle", kind="title"))
    if y_title:
        parts.append(text(2, y.end - 9, y_title, kind="title"))
    return Markup("\n").join(parts)


def x_axis(x: Scale, top: float, bottom: float, title: str) -> Markup:
    """The x axis of a picture whose rows have labels of their own, with lines from top to bottom."""
    parts = []
    for tick in x.ticks:
        parts.append(line(x(tick), top, x(tick), bottom, "grid"))
        parts.append(text(x(tick), bottom + 14, number(tick), anchor="middle", kind="tick"))
    parts.append(text((x.start + x.end) / 2, bottom + 31, title, anchor="middle", kind="title"))
    return Markup("\n").join(parts)


def legend(x: float, y: float, lines: Mapping[str, str]) -> Markup:
    """Names of lines beside a piece of each, in a row.

    Args:
        x: Where the row begins.
        y: Its height.
        lines: Names by the class of the line.
    """
    parts = []
    for kind, name in lines.items():
        parts.append(line(x, y - 4, x + 20, y - 4, kind))
        parts.append(text(x + 25, y, name, kind="tick"))
        # A letter is about seven wide.
        x += 25 + 7 * len(name) + 14
    return Markup("\n").join(parts)


def number(value: float) -> str:
    """A number of an axis."""
    return f"{value + 0.0:.4g}".replace("-", "\N{MINUS SIGN}")  # + 0.0 turns -0.0 to 0.0


def short(label: str) -> str:
    """A label with as many characters as a picture has room for."""
    return (
        label if len(label) <= MAX_LABEL_CHARACTERS else label[: MAX_LABEL_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def step_points(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """The corners of a staircase that keeps each height until the next x."""
    points: list[tuple[float, float]] = []
    for x, y in zip(xs, ys, strict=True):
        if points:
            points.append((x, points[-1][1]))
        points.append((x, y))
    return points


def thinned(values: NDArray[np.float64], most: int = 240) -> NDArray[np.intp]:
    """The places of at most ``most`` values that stand for all, first and last among them."""
    return np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(np.intp))
