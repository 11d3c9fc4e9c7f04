"""Plots as SVG without a script: numbers in, ticks and paths for templates/training/_plot.html out.

Everything here is pure. Series are told apart by dash, marker or hatching as well as by colour, and each plot carries
the table that says the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 340, 232
TOP, RIGHT, BOTTOM = 20, 318, 192
"""Edges of the area inside the axes, in units of the drawing; its left edge depends on the labels there."""
LEFT = 44

Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """``ink`` is a text colour of the stylesheet; ``fill`` is empty, ``solid``, ``pale`` or ``hatch``."""

    ink: str = "text-base-content"
    dash: str = ""
    fill: str = ""
    width: float = 2


@dataclass(frozen=True)
class Mark:
    path: str
    look: Look


@dataclass(frozen=True)
class Key:
    """An entry of the legend: marks on a field of 28 by 12, and their words."""

    marks: list[Mark]
    label: str


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Table:
    """The first cell of a row is its heading."""

    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Plot:
    """``key`` is unique on the page; ``summary`` says for those who do not see it what can be seen."""

    key: str
    title: str
    summary: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    legend: list[Key]
    x_label: str = ""
    y_label: str = ""
    words: str = ""
    left: float = LEFT
    table: Table | None = None
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    top: int = field(default=TOP, init=False)
    right: int = field(default=RIGHT, init=False)
    bottom: int = field(default=BOTTOM, init=False)


@dataclass(frozen=True)
class Axis:
    """Places values between ``start`` (of ``low``) and ``end`` (of ``high``)."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def list_steps(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at or below ``low`` to at or above ``high``."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def show_number(number: float) -> str:
    """A tick's text: short, with a true minus sign."""
    return f"{number:.6g}".replace("-", "−")


def draw_line(points: Iterable[Point]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def draw_steps(edges: Sequence[float], tops: Sequence[float], base: float) -> str:
    """The outline of a histogram whose bars stand on ``base``."""
    bars = "".join(f"V{top:g}H{end:g}" for top, end in zip(tops, edges[1:], strict=True))
    return f"M{edges[0]:g} {base:g}{bars}V{base:g}Z"


def draw_bar(left: float, right: float, top: float, base: float) -> str:
    return f"M{left:g} {base:g}V{top:g}H{right:g}V{base:g}Z"


def draw_across(low: float, high: float, y: float) -> str:
    """An interval lying at ``y``, with ends."""
    return f"M{low:g} {y - 4:g}v8M{low:g} {y:g}H{high:g}M{high:g} {y - 4:g}v8"


def draw_upright(x: float, low: float, high: float) -> str:
    """An interval standing at ``x``, with ends."""
    return f"M{x - 4:g} {low:g}h8M{x:g} {low:g}V{high:g}M{x - 4:g} {high:g}h8"


def draw_marker(shape: str, x: float, y: float) -> str:
    """One of ``circle``, ``square``, ``triangle``, ``diamond`` and ``cross``, about 8 wide."""
    return {
        "circle": f"M{x - 4:g} {y:g}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
        "square": f"M{x - 4:g} {y - 4:g}h8v8h-8Z",
        "triangle": f"M{x:g} {y - 5:g}l5 9h-10Z",
        "diamond": f"M{x:g} {y - 5.5:g}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z",
        "cross": f"M{x - 4:g} {y - 4:g}l8 8m0 -8l-8 8",
    }[shape]
