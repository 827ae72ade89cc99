"""The figures of claims, as SVG that stands alone: in the page, in the documentation, light and dark.

Colours are classes (``s0`` … ``s6``), as in :mod:`rectifier.reporters.svg`; a series keeps its colour, its dash and its
place, so that it can be told without colour. Every function returns a Chart: ``caption`` says how to read the figure
and what is claimed of it, but not what came out, which other results would make untrue; ``alt`` says in numbers what a
person who cannot see it should hear.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...reporters.page import Chart
from ...reporters.svg import SERIES, label, nice, powers
from ...reporters.words import number
from .statistics import Effect, Ranking

__all__ = ["Curve", "alone", "curves", "heatmap", "intervals", "ranks"]

_WIDTH = 520
_ROW = 22


@dataclass(frozen=True)
class Curve:
    """One line: its name, its points, and (where given) the band that the seeds leave it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def curves(
    series: Sequence[Curve],
    *,
    x_title: str,
    y_title: str,
    caption: str,
    alt: str,
    log_x: bool = False,
    log_y: bool = False,
) -> Chart:
    """Lines over numbers, with bands. What is not finite, and on a log axis what is not positive, has no point."""
    drawn = [_finite(curve, log_x, log_y) for curve in series]
    top = 10 + 18 * math.ceil(len(series) / 2)
    across = _Axis([x for curve in drawn for x in curve.x], log_x, 60.0, _WIDTH - 14.0)
    heights = [y for curve in drawn for part in (curve.y, curve.low, curve.high) for y in part or ()]
    up = _Axis(heights, log_y, top + 250.0, top)
    parts = [*_key([curve.name for curve in series]), *_grid(across, up, x_title, y_title)]
    for place, curve in enumerate(drawn):
        parts += _curve(curve, place, across, up)
    return Chart(_svg(parts, top + 296), caption, alt, wide=True)


def _curve(curve: Curve, place: int, across: _Axis, up: _Axis) -> Iterator[str]:
    kind = f"s{place % SERIES} d{place % 4}"
    if not curve.x:
        return
    if curve.low and curve.high:
        edge = [*zip(curve.x, curve.high, strict=True), *zip(reversed(curve.x), reversed(curve.low), strict=True)]
        outline = "L".join(f"{across.at(x):.1f} {up.at(y):.1f}" for x, y in edge)
        yield f'<path class="band {kind}" d="M{outline}Z"/>'
    line = "L".join(f"{across.at(x):.1f} {up.at(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
    yield f'<path class="line {kind}" d="M{line}"/>'
    for x, y in zip(curve.x, curve.y, strict=True):
        told = html.escape(f"{curve.name}, {number(x)}: {number(y)}")
        dot = f'<circle class="dot {kind}" cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="3">'
        yield f"{dot}<title>{told}</title></circle>"


def _finite(curve: Curve, log_x: bool, log_y: bool) -> Curve:
    def shown(value: float, log: bool) -> bool:
        return math.isfinite(value) and (value > 0 or not log)

    low, high = curve.low or curve.y, curve.high or curve.y
    points = [
        (x, y, min(bottom, y) if shown(bottom, log_y) else y, max(top, y) if shown(top, log_y) else y)
        for x, y, bottom, top in zip(curve.x, curve.y, low, high, strict=True)
        if shown(x, log_x) and shown(y, log_y)
    ]
    xs, ys, lows, highs = ([point[place] for point in points] for place in range(4))
    return Curve(curve.name, xs, ys, lows if curve.low else None, highs if curve.high else None)


def intervals(
    effects: Sequence[Effect],
    *,
    x_title: str,
    caption: str,
    alt: str,
    reference: float | None = None,
    log: bool = False,
    groups: Sequence[str] = (),
) -> Chart:
    """One row an effect: its name, a dot, and its interval; a line at ``reference``, where nothing would differ.

    effects: their names, of which 60 letters have room, stand above their intervals.
    groups: the series that each effect belongs to, one a row, where there are several; told by colour and in a key.
    """
    names = list(dict.fromkeys(groups))
    top = 6 + 18 * math.ceil(len(names) / 2)
    floor = top + 8 + 2 * _ROW * len(effects)
    values = [value for effect in effects for value in (effect.value, effect.low, effect.high)]
    across = _Axis([*values, *([] if reference is None else [reference])], log, 20.0, _WIDTH - 20.0)
    parts = [*_key(names), *_ruler(across, top, floor, x_title)]
    if reference is not None:
        parts.append(f'<path class="axis d1" d="M{across.at(reference):.1f} {top}V{floor}"/>')
    for row, effect in enumerate(effects):
        kind = f"s{names.index(groups[row]) % SERIES if groups else 0}"
        y = top + 4 + 2 * _ROW * row
        parts.append(label(20, y + 14, effect.what, "start"))
        if any(map(math.isnan, (effect.value, effect.low, effect.high))):
            parts.append(label(20, y + 33, "NaN", "start"))
            continue
        low, middle, high = (across.at(value) for value in (effect.low, effect.value, effect.high))
        parts.append(f'<path class="line {kind}" d="M{low:.1f} {y + 29}H{high:.1f}"/>')
        told = html.escape(effect.told)
        parts.append(f'<circle class="dot {kind}" cx="{middle:.1f}" cy="{y + 29}" r="5"><title>{told}</title></circle>')
    return Chart(_svg(parts, floor + 46), caption, alt, wide=True)


def heatmap(
    values: Sequence[Sequence[float]],
    *,
    x_labels: Sequence[str],
    y_labels: Sequence[str],
    x_title: str,
    y_title: str,
    caption: str,
    alt: str,
    told: Callable[[float], str] = number,
) -> Chart:
    """A table of cells, the darker the larger (from 0 to the largest), with the number in each; rows from the top."""
    left, top = 36 + 7 * max(map(len, y_labels)), 8
    wide = (_WIDTH - left - 8) / len(x_labels)
    floor = top + 30 * len(y_labels)
    largest = max((value for row in values for value in row if math.isfinite(value)), default=0.0) or 1.0
    parts = []
    for row, line in enumerate(values):
        parts.append(label(left - 6, top + 30 * row + 20, y_labels[row], "end"))
        for column, value in enumerate(line):
            x, y = left + wide * column, top + 30 * row
            share = min(max(value / largest, 0.0), 1.0) if math.isfinite(value) else 0.0
            parts.append(
                f'<rect class="cell s0" x="{x:.1f}" y="{y}" width="{wide - 1:.1f}" height="29" '
                f'fill-opacity="{0.04 + 0.5 * share:.3f}"/>'
            )
            parts.append(label(x + wide / 2, y + 19, told(value), "middle", "title"))
    for column, name in enumerate(x_labels):
        parts.append(label(left + wide * (column + 0.5), floor + 16, name, "middle"))
    parts.append(label((left + _WIDTH) / 2, floor + 38, x_title, "middle", "title"))
    middle = (top + floor) / 2
    parts.append(f'<g transform="translate(17 {middle:.1f}) rotate(-90)">{label(0, 0, y_title, "middle", "title")}</g>')
    return Chart(_svg(parts, floor + 48), caption, alt, wide=True)


def ranks(ranking: Ranking, *, caption: str, alt: str) -> Chart:
    """A critical-difference figure (Demšar 2006): methods by their average rank; bars join those not told apart."""
    names = list(ranking.ranks)
    left, right, axis = 140.0, _WIDTH - 140.0, 46.0
    across = _Axis([1.0, float(len(names))], False, left, right)
    half = math.ceil(len(names) / 2)
    floor = axis + 14 + 8 * len(ranking.groups)
    parts = [f'<path class="axis" d="M{left} {axis}H{right}"/>']
    for rank in range(1, len(names) + 1):
        parts.append(f'<path class="axis" d="M{across.at(rank):.1f} {axis}v-5"/>')
        parts.append(label(across.at(rank), axis - 9, str(rank), "middle"))
    span = across.at(min(1 + ranking.critical_difference, float(len(names)))) - left
    parts.append(f'<path class="line s6" d="M{left} 12h{span:.1f}"/>')
    parts.append(label(left + span + 6, 16, f"critical difference {number(ranking.critical_difference)}", "start"))
    for place, group in enumerate(ranking.groups):
        ends = [across.at(ranking.ranks[name]) for name in (group[0], group[-1])]
        y = axis + 10 + 8 * place
        parts.append(f'<path class="line s1" stroke-width="4" d="M{ends[0] - 3:.1f} {y}H{ends[1] + 3:.1f}"/>')
    for place, name in enumerate(names):
        first = place < half
        y = floor + 18 * (place if first else len(names) - 1 - place) + 8
        x, end = across.at(ranking.ranks[name]), (left - 8 if first else right + 8)
        parts.append(f'<path class="axis" d="M{x:.1f} {axis}V{y:.1f}H{end:.1f}"/>')
        told = f"{name} {number(ranking.ranks[name])}"
        parts.append(label(end - 4 if first else end + 4, y + 4, told, "end" if first else "start"))
    return Chart(_svg(parts, int(floor + 18 * half + 14)), caption, alt, wide=True)


class _Axis:
    """Numbers to pixels, linear or logarithmic, with a little room on both sides."""

    def __init__(self, values: Sequence[float], log: bool, start: float, end: float) -> None:
        given = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0]
        low, high = min(given), max(given)
        self.log, self.start, self.end = log, start, end
        if log:
            low, high = math.log10(low), math.log10(high)
        room = 0.03 * (high - low) or 0.5
        self.low, self.high = low - room, high + room

    def at(self, value: float) -> float:
        """Where a number lies; what is beyond the axis (or no number) lies at its end."""
        if self.log:
            value = math.log10(value) if value > 0 else -math.inf
        share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        if not self.log:
            return [(value, number(value)) for value in nice(self.low, self.high, 6)]
        inside = powers(math.ceil(self.low), math.floor(self.high))
        if len(inside) > 2:
            return [(10.0**power, told) for power, told in inside]
        low, high = 10.0**self.low, 10.0**self.high
        if self.high - self.low > 1.2:  # where whole powers are too few, and even steps crowd at one end
            between = [n * 10.0**power for power in range(math.floor(self.low), math.ceil(self.high)) for n in (1, 3)]
            return [(value, number(value)) for value in between if low <= value <= high]
        return [(value, number(value)) for value in nice(low, high, 6) if value > 0]


def _grid(across: _Axis, up: _Axis, x_title: str, y_title: str) -> Iterator[str]:
    floor, top = up.start, up.end
    for value, told in up.ticks():
        yield f'<path class="grid" d="M{across.start} {up.at(value):.1f}H{across.end}"/>'
        yield label(across.start - 8, up.at(value) + 4, told, "end")
    yield from _ruler(across, top, floor, x_title, grid=False)
    middle = (top + floor) / 2
    yield f'<g transform="translate(17 {middle:.1f}) rotate(-90)">{label(0, 0, y_title, "middle", "title")}</g>'


def _ruler(across: _Axis, top: float, floor: float, title: str, *, grid: bool = True) -> Iterator[str]:
    for value, told in across.ticks():
        x = across.at(value)
        if grid:
            yield f'<path class="grid" d="M{x:.1f} {top}V{floor}"/>'
        yield f'<path class="axis" d="M{x:.1f} {floor}v4"/>'
        yield label(x, floor + 18, told, "middle")
    yield f'<path class="axis" d="M{across.start} {floor}H{across.end}"/>'
    yield label((across.start + across.end) / 2, floor + 40, title, "middle", "title")


def _key(names: Sequence[str]) -> Iterator[str]:
    """Two names a line, above the drawing: there is room for 24 letters each, on a telephone too."""
    for place, name in enumerate(names):
        x, y = 60 + 230 * (place % 2), 14 + 18 * (place // 2)
        yield f'<path class="line s{place % SERIES} d{place % 4}" d="M{x} {y - 4}h24"/>'
        yield label(x + 30, y, name, "start")


def _svg(parts: Iterable[str], height: float) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" aria-hidden="true">{"".join(parts)}</svg>'


def alone(chart: Chart) -> str:
    """A figure as an SVG file of its own: with the page's colours, and a ground that they read on."""
    from ...reporters.page import stylesheet

    rules = [line for line in stylesheet().splitlines() if _STYLED.match(line)]
    root = re.search(r":root \{.*?\n\}", stylesheet(), re.DOTALL)
    style = "\n".join([root[0] if root else "", *rules])
    tall = chart.svg.split('"')[1].split()[3]
    start, rest = chart.svg.split(">", 1)
    start = start.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" class="chart" ').replace(
        ' aria-hidden="true"', ' role="img"'
    )
    ground = f'<rect width="{_WIDTH}" height="{tall}" fill="var(--panel)"/>'
    return f"{start}><title>{html.escape(chart.alt)}</title><style>\n{style}\n</style>{ground}{rest}\n"


#: Rules of the page's style that a chart needs.
_STYLED = re.compile(r"\.chart \.|\.[sd]\d \{")
