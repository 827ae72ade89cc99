"""Charts: every point lies in its drawing at its place, whatever the numbers, and no text is markup."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from rectifier.reporters.svg import Bar, Line, bars, lines


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{svg}</div>")


def points(svg: str) -> list[tuple[float, float]]:
    return [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in drawn(svg).iter("circle")]


def ticks(svg: str) -> list[str]:
    return [text.text or "" for text in drawn(svg).iter("text") if text.attrib["class"] == "tick"]


def test_places_and_ticks_are_those_of_the_numbers() -> None:
    svg = lines([Line("a", [(0, 0.0), (50, 5.0), (100, 10.0)])], x_title="x", y_title="y")
    (x0, y0), (x1, y1), (x2, y2) = points(svg)
    assert (x1 - x0, y1 - y0) == pytest.approx((x2 - x1, y2 - y1), abs=0.1)
    assert x2 > x0 and y2 < y0
    assert ticks(svg) == ["0", "5", "10", "0", "20", "40", "60", "80", "100"]


def test_a_log_axis_has_powers_of_ten() -> None:
    svg = lines([Line("a", [(0, 1e-7), (1, 1e-3)])], x_title="x", y_title="y", log=True, labels=["in", "out"])
    assert ticks(svg) == ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "in", "out"]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [0.5],
        [1.0, 1.0],
        [5e-324, 1.7e308],
        [1e-320, 1e-310],
        [0.1, math.nan, math.inf, 3.0],
        [1e300, 1e308],
        [-2.0, 3.0],
    ],
)
def test_every_number_that_can_be_drawn_lies_within(values: list[float], log: bool) -> None:
    svg = lines([Line("a", list(enumerate(values)))], x_title="x", y_title="y", log=log)
    kept = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    found = points(svg)
    assert len(found) == len(kept)
    assert all(0 <= x <= 520 and 0 <= y <= 300 for x, y in found)
    assert 2 <= len(ticks(svg)) <= 20


def test_a_chart_of_nothing_is_empty() -> None:
    assert points(lines([Line("a", [(0, math.nan)])], x_title="x", y_title="y")) == []


def test_bars_stand_on_the_axis_and_are_as_high_as_their_numbers() -> None:
    svg = bars([Bar(0, 1, 2, "two"), Bar(1, 1, 4, "four", "never", "4")], ticks=[(0, "a")], x_title="x", y_title="y")
    one, two = drawn(svg).iter("rect")
    assert float(two.attrib["height"]) == pytest.approx(2 * float(one.attrib["height"]), abs=0.2)
    ends = [float(bar.attrib["y"]) + float(bar.attrib["height"]) for bar in (one, two)]
    assert ends[0] == pytest.approx(ends[1], abs=0.2)
    assert bars([Bar(0, 1, 0, "none")], ticks=[], x_title="", y_title="")


def test_texts_are_no_markup() -> None:
    evil = "</title></svg><script>alert(1)</script>\"'&amp;"
    svg = lines([Line(evil, [(0, 1.0)])], x_title=evil, y_title=evil, labels=[evil])
    svg += bars([Bar(0, 1, 1, evil, "s0", evil)], ticks=[(0, evil)], x_title=evil, y_title=evil)
    assert "<script" not in svg
    shown = [element.text for element in drawn(svg).iter() if element.text]
    assert shown.count(evil) == 9 and any(text == f"{evil}, {evil}: 1" for text in shown)
    assert {element.tag for element in drawn(svg).iter()} == {
        *("div", "svg", "path", "text", "g", "circle", "title", "ul", "li", "bdi", "rect"),
    }  # fmt: skip


def test_long_names_below_are_slanted_and_thinned() -> None:
    names = [f"transformer.block.{n}"[-18:] for n in range(40)]
    svg = lines([Line("a", [(n, 1.0) for n in range(40)])], x_title="x", y_title="y", log=True, labels=names)
    assert [name for name in ticks(svg) if name in names] == names[::3]
    assert re.search(r"rotate\(-35\)", svg)
