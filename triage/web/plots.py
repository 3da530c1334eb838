"""Geometry of the plots: numbers in, rectangles and words out; ``plots.html`` draws them as SVG.

No plot says anything by colour alone: what was seen is filled, what it is compared with is an outline. Every plot
has a title, a description and, beside it on the page, a table of the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 8, 12, 30
STRIP = 44
"""Height of the strip below the rates that shows how many studies they are of."""

CHARACTER = 10.0
"""Room for a character of the labels, also where a narrow page draws them larger."""

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A bar. ``kind`` names its class in the stylesheet, ``told`` is read out and shown by the pointer."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class Whisker:
    """A value with its interval: a dot on an upright line."""

    x: float
    y: float
    low_y: float
    high_y: float
    told: str


@dataclass(frozen=True, slots=True)
class Label:
    """A word at a place."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """What one SVG holds, in its own units. ``name`` makes the ids of title and description."""

    name: str
    title: str
    description: str
    left: Sequence[Label]
    below: Sequence[Label]
    rectangles: Sequence[Rectangle] = ()
    whiskers: Sequence[Whisker] = ()
    width: int = WIDTH
    height: int = HEIGHT


def percent(share: float | None) -> str:
    """A share as a person reads it."""
    return "" if share is None else f"{100 * share:.1f} %"


def paired_bars(
    name: str,
    title: str,
    description: str,
    labels: Sequence[str],
    filled: tuple[str, Sequence[float]],
    outlined: tuple[str, Sequence[float]],
) -> Plot:
    """Two distributions over the same bins, as shares: what each is called, and its value in each bin."""
    top = nice_top(max([*filled[1], *outlined[1], 0.0]))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    bar = step * 0.38
    rectangles = []
    for number, label in enumerate(labels):
        for offset, kind, (what, values) in ((0.1, "filled", filled), (0.52, "outlined", outlined)):
            share = values[number]
            y = _y(share, top)
            x = LEFT + (number + offset) * step
            told = f"{label}: {what} {percent(share)}"
            rectangles.append(Rectangle(_r(x), _r(y), _r(bar), _r(HEIGHT - BOTTOM - y), kind, told))
    every = _every(labels, step)
    below = [
        Label(_r(LEFT + (number + 0.5) * step), HEIGHT - BOTTOM + 18, label)
        for number, label in enumerate(labels)
        if number % every == 0
    ]
    return Plot(name, title, description, _percent_axis(top, HEIGHT - BOTTOM), below, rectangles)


def rates(
    name: str,
    title: str,
    description: str,
    days: Sequence[tuple[str, float | None, tuple[float, float], int]],
) -> Plot:
    """A share for each day with its interval, and under it how many studies that day had.

    Each day is its name, share (None: of nothing), interval and number of studies.
    """
    base = HEIGHT - BOTTOM - STRIP
    top = nice_top(max([min(1.0, interval[1]) for _, share, interval, _ in days if share is not None], default=0.0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(days))
    most = max([n for *_, n in days], default=0)
    whiskers, rectangles = [], []
    for number, (day, share, (low, high), n) in enumerate(days):
        x = LEFT + (number + 0.5) * step
        if share is not None:
            y, low_y, high_y = (_r(_y(value, top, base)) for value in (share, low, high))
            whiskers.append(Whisker(_r(x), y, low_y, high_y, f"{day}: {percent(share)} of {n}"))
        tall = (STRIP - 18) * n / most if most else 0.0
        bar = Rectangle(
            _r(x - 0.4 * step), _r(HEIGHT - BOTTOM - tall), _r(0.8 * step), _r(tall), "count", f"{day}: {n}"
        )
        rectangles.append(bar)
    every = _every([day[5:] for day, *_ in days], step)
    below = [
        Label(_r(LEFT + (number + 0.5) * step), HEIGHT - BOTTOM + 18, day[5:])
        for number, (day, *_) in enumerate(days)
        if number % every == 0
    ]
    left = [*_percent_axis(top, base), Label(LEFT - 6, HEIGHT - BOTTOM - STRIP + 30, f"n {most}")]
    return Plot(name, title, description, left, below, rectangles, whiskers)


def nice_top(value: float) -> float:
    """The end of an axis of shares: the next round number, at least 5 % and at most 100 %."""
    if value >= 1.0:
        return 1.0
    wanted = max(value, 0.05)
    scale = 10.0 ** math.floor(math.log10(wanted))
    return min(1.0, next(step * scale for step in _STEPS if step * scale >= wanted * (1 - 1e-9)))


def _every(labels: Sequence[str], step: float) -> int:
    longest = max((len(label) for label in labels), default=0)
    return max(1, math.ceil((longest + 1) * CHARACTER / step))


def _percent_axis(top: float, base: float) -> list[Label]:
    return [Label(LEFT - 6, _r(_y(share, top, base) + 5), f"{100 * share:.3g} %") for share in (0.0, top / 2, top)]


def _y(share: float, top: float, base: float = HEIGHT - BOTTOM) -> float:
    return base - (base - TOP) * min(share, top) / top


def _r(number: float) -> float:
    return round(number, 1)
