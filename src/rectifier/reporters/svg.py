"""Line and bar charts as inline SVG: a few kilobytes each, readable without a script, coloured by the page's style.

Every text is escaped here. Classes, not colours, are written: ``s0`` … ``s6`` are the page's series, so that the dark
look and print need no second drawing.
"""

from __future__ import annotations

import html
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .words import count, number

__all__ = ["SERIES", "Bar", "Line", "bars", "label", "lines", "nice", "powers"]

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 14, 12, 46
SERIES = 7
# Markers of more points than this show under the pointer alone, to which they tell their value.
_MARKED = 64


@dataclass(frozen=True)
class Line:
    """One series: its name and its points, in order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Bar:
    """One bar from x − width/2 to x + width/2; ``kind`` is a class of the style, such as ``"never"``."""

    x: float
    width: float
    height: float
    told: str
    kind: str = "s0"
    label: str = ""


def lines(
    series: Sequence[Line], *, x_title: str, y_title: str, log: bool = False, labels: Sequence[str] | None = None
) -> str:
    """A line chart. labels: names of x = 0, 1, 2, …, where x is no number but a place in a row."""
    drawn = [Line(line.name, [point for point in line.points if _shown(point[1], log)]) for line in series]
    xs = [x for line in drawn for x, _ in line.points] or [0.0]
    ys = [y for line in drawn for _, y in line.points] or [1.0]
    tall = labels is not None and max(map(len, labels)) * len(labels) > 50
    box = _Box(
        (min(xs), max(xs)) if labels is None else (0.0, len(labels) - 1.0), _range(ys, log), log, 44 if tall else 0
    )
    if labels is None:
        across = [(x, count(int(x))) for x in nice(*box.across, 6) if x == int(x)]
    else:
        every = max(1, math.ceil(len(labels) / 16))
        across = [(float(place), labels[place]) for place in range(0, len(labels), every)]
    parts = [*box.frame(across, x_title, y_title)]
    for place, line in enumerate(drawn):
        parts += _line(box, line, place, labels)
    return _svg(parts, box.height) + _legend([line.name for line in series])


def bars(items: Sequence[Bar], *, ticks: Sequence[tuple[float, str]], x_title: str, y_title: str) -> str:
    """A bar chart over an axis of numbers."""
    left, right = min(bar.x - bar.width for bar in items), max(bar.x + bar.width for bar in items)
    box = _Box((left, right), (0.0, max(1.0, 1.12 * max(bar.height for bar in items))), False, 0)
    parts = [*box.frame(ticks, x_title, y_title)]
    for bar in items:
        x, y = box.x(bar.x - bar.width / 2), box.y(bar.height)
        wide, tall = box.x(bar.x + bar.width / 2) - x, box.y(0.0) - y
        parts.append(
            f'<rect class="bar {bar.kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
            f"<title>{html.escape(bar.told)}</title></rect>"
        )
        if bar.label:
            parts.append(label(x + wide / 2, y - 5, bar.label, "middle"))
    return _svg(parts, box.height)


@dataclass(frozen=True)
class _Box:
    """Where numbers lie in the drawing."""

    across: tuple[float, float]
    up: tuple[float, float]
    """In powers of ten on a log axis."""
    log: bool
    extra: int
    """Room below the axis for slanted labels, in pixels."""

    @property
    def height(self) -> int:
        return _HEIGHT + self.extra

    def x(self, value: float) -> float:
        low, high = self.across
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + (room * (value - low) / (high - low) if high > low else room / 2)

    def y(self, value: float) -> float:
        return self._up(math.log10(value) if self.log else value)

    def _up(self, at: float) -> float:
        low, high = self.up
        # Halved, as the distance of two floats may be none.
        share = (at / 2 - low / 2) / (high / 2 - low / 2)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def frame(self, across: Iterable[tuple[float, str]], x_title: str, y_title: str) -> Iterable[str]:
        """Grid, ticks and titles."""
        floor = _HEIGHT - _BOTTOM
        for value, text in powers(*self.up) if self.log else [(tick, number(tick)) for tick in nice(*self.up, 5)]:
            y = self._up(value)
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
            yield label(_LEFT - 8, y + 4, text, "end")
        yield f'<path class="axis" d="M{_LEFT} {floor}H{_WIDTH - _RIGHT}"/>'
        for value, text in across:
            x = self.x(value)
            yield f'<path class="axis" d="M{x:.1f} {floor}v4"/>'
            if self.extra:
                yield f'<g transform="translate({x + 3:.1f} {floor + 14}) rotate(-35)">{label(0, 0, text, "end")}</g>'
            else:
                yield label(x, floor + 18, text, "middle")
        yield label((_LEFT + _WIDTH - _RIGHT) / 2, self.height - 6, x_title, "middle", "title")
        middle = (_TOP + floor) / 2
        yield f'<g transform="translate(13 {middle:.1f}) rotate(-90)">{label(0, 0, y_title, "middle", "title")}</g>'


def _line(box: _Box, line: Line, place: int, labels: Sequence[str] | None) -> Iterable[str]:
    if not line.points:
        return
    spots = [(box.x(x), box.y(y)) for x, y in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    # Dashes tell the lines apart where colour does not.
    yield f'<path class="line s{place % SERIES} d{place % 4}" d="M{path}"/>'
    kind = "dot" if len(line.points) <= _MARKED else "dot unseen"
    for (x, y), (at, value) in zip(spots, line.points, strict=True):
        where = f"step {count(int(at))}" if labels is None else labels[int(at)]
        told = html.escape(f"{line.name}, {where}: {number(value)}")
        dot = f'<circle class="{kind} s{place % SERIES}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
        yield f"{dot}<title>{told}</title></circle>"


def _shown(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
    """What the vertical axis spans: from 0 where nothing is below it; whole powers of ten on a log axis."""
    low, high = min(values), max(values)
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return first - (first == last), last
    low = min(0.0, low)
    return low, min(high + 0.06 * (high - low), sys.float_info.max) if high > low else low + 1


def nice(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, about as many as asked."""
    if not high > low:
        return [low]
    raw = high / most - low / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def powers(low: float, high: float) -> list[tuple[float, str]]:
    every = max(1, math.ceil((high - low) / 7))
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return [(power, f"10{str(power).translate(raised)}") for power in range(int(low), int(high) + 1, every)]


def label(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _svg(parts: Iterable[str], height: int) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" aria-hidden="true">{"".join(parts)}</svg>'


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        '<li><svg viewBox="0 0 28 10" aria-hidden="true">'
        f'<path class="line s{place % SERIES} d{place % 4}" d="M0 5H28"/></svg><bdi>{html.escape(name)}</bdi></li>'
        for place, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'
