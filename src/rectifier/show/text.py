"""One function in a terminal: the graphs of f and f′, then all that its row says."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping

import numpy as np

from .._family import Kink, Parameter, Row
from .._functions import FUNCTIONS
from .._gain import gain
from ..errors import RectifierValueError
from .curves import Curve, Drawn, span, trace, view

__all__ = ["card", "convention", "gain_text", "parameter_text"]

_HEIGHT = 15
#: Below this width the two graphs stand one above the other.
_SIDE_BY_SIDE = 72
#: Widest text and graphs: longer lines are hard to read.
_WIDEST = 110
#: A narrower terminal folds the lines itself: a graph below this shows nothing.
_NARROWEST = 60
_LABEL = 15


def card(name: str, settings: Mapping[str, float], *, width: int = 80, graphs: bool = True) -> str:
    """Graphs, formula, derivative, parameters, conventions, strengths, faults and source, as plain text.

    settings: values of parameters; those the function does not have are left aside. width: columns of the terminal.
    graphs: False leaves them out.
    """
    width = max(_NARROWEST, min(width, _WIDEST))
    lowest, highest = span([name], settings)
    drawn = trace(name, settings, lowest=lowest, highest=highest)
    drawing = f"{_graphs(drawn, width)}\n\n" if graphs else ""
    said = "\n".join(_said(drawn, width))
    return f"{drawn.label}\n{'─' * width}\n{drawing}{said}\n"


def _graphs(drawn: Drawn, width: int) -> str:
    beside = width >= _SIDE_BY_SIDE
    each = (width - 2) // 2 if beside else width
    value = _graph(drawn.value, "f(z)", each, view([drawn.value], derivative=False))
    derivative = _graph(drawn.derivative, "f′(z)", each, view([drawn.derivative], derivative=True))
    graphs = (
        "\n".join(f"{left}  {right}".rstrip() for left, right in zip(value, derivative, strict=True))
        if beside
        else "\n".join(line.rstrip() for line in [*value, "", *derivative])
    )
    if drawn.value.hollow or drawn.derivative.hollow:
        graphs += "\nAt a kink:  ● the value returned   ○ a one-sided limit"
    return graphs


def _graph(curve: Curve, title: str, width: int, heights: tuple[float, float]) -> list[str]:
    import plotext

    bottom, top = heights
    figure = plotext.figure
    figure.clear()
    figure.theme("clear")
    figure.plot_size(width, _HEIGHT)
    figure.title(title)
    for x, y in curve.pieces:
        shown = (y >= bottom) & (y <= top)
        figure.draw(figure.signal(x[shown].tolist(), y[shown].tolist(), marker="braille").lines())
    for points, dot in ((curve.hollow, "○"), (curve.filled, "●")):
        for place, height in points:
            figure.draw(figure.signal([place], [height], marker=dot))
    figure.ruler("y").lim(bottom, top)
    figure.ruler("y").ticks(*_ticks(bottom, top))
    first, last = float(curve.pieces[0][0][0]), float(curve.pieces[-1][0][-1])
    figure.ruler("x").lim(first, last)
    figure.ruler("x").ticks(*_ticks(first, last))
    lines: list[str] = figure.build().string(colorless=True).splitlines()
    return [line.ljust(width) for line in lines if line.strip()]


def _ticks(lowest: float, highest: float) -> tuple[list[float], list[str]]:
    """Round numbers, at most five: 0, ±1, ±2 … or 1, 2, 2.5 or 5 times a power of ten."""
    least = (highest - lowest) / 4.5
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= least)
    places = np.arange(math.ceil(lowest / step), math.floor(highest / step) + 1) * step
    return places.tolist(), [f"{place:g}".replace("-", "−") for place in places]


def _said(drawn: Drawn, width: int) -> Iterator[str]:
    row = drawn.row
    for equation in drawn.equations:
        yield from _wrapped("", equation, width, 8)
    yield ""
    yield from _entry("Range", row.range, width)
    for kink in row.kinks:
        yield from _entry(f"f′ at {kink.at}", convention(drawn, kink), width)
    if not row.kinks:
        yield from _entry("Kinks", "none", width)
    for index, parameter in enumerate(row.parameters):
        text = parameter_text(parameter, drawn.parameters[parameter.name])
        yield from _entry("" if index else "Parameters", text, width)
    if not row.parameters:
        yield from _entry("Parameters", "none", width)
    yield from _entry("Inverse", "yes" if row.inverse else "none", width)
    yield from _entry("Gain", gain_text(drawn), width)
    if row.layer is not None:
        yield from _entry("Layer", f"rectifier.torch.{row.layer}", width)
    yield from _lists(row, width)
    yield ""
    yield from _entry("Source", row.citation, width)


def _lists(row: Row, width: int) -> Iterator[str]:
    if row.conventions:
        yield "\nElsewhere"
        for framework, text in row.conventions.items():
            yield from _entry(f"  {framework}", text, width, indent=2 + _LABEL)
    for heading, sign, texts in (("Strengths", "+", row.strengths), ("Faults", "−", row.faults)):
        yield f"\n{heading}"
        for text in texts:
            yield from _wrapped(f"  {sign} ", text, width, 4)


def _entry(label: str, text: str, width: int, *, indent: int = _LABEL) -> list[str]:
    return _wrapped(label.ljust(indent), text, width, indent)


def _wrapped(start: str, text: str, width: int, indent: int) -> list[str]:
    # Words stay whole: a formula or an identifier broken at a hyphen could not be copied.
    return textwrap.wrap(
        start + text, width, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
    )


def convention(drawn: Drawn, kink: Kink) -> str:
    """What is returned at a kink, with its value at the parameters drawn: "s = 0.01"."""
    symbol, bracket, rest = kink.derivative.partition(" (")
    symbol = symbol.partition(" = ")[0]
    if symbol.lstrip("−").isdigit():
        return kink.derivative
    place = drawn.parameters.get(kink.at, 0.0)
    here = float(FUNCTIONS[drawn.row.name].derivative(np.array(place), **drawn.parameters))
    return f"{symbol} = {here:.4g}{bracket}{rest}"


def parameter_text(parameter: Parameter, value: float) -> str:
    """A parameter in a line: its default, its value here where it differs, its meaning and domain."""
    default = "no default" if parameter.default is None else f"default {parameter.default:g}"
    at = "" if parameter.default == value else f", here {value:g}"
    return f"{parameter.name} ({default}{at}): {parameter.meaning}; {parameter.domain.rule}"


def gain_text(drawn: Drawn) -> str:
    """The gain at the parameters drawn, and what it is for."""
    of_value = {p.name: drawn.parameters[p.name] for p in drawn.row.parameters if p.of == "value"}
    try:
        value = gain(drawn.row.name, **of_value)
    except RectifierValueError:  # an extreme parameter, which the gain refuses and the graphs do not
        return "beyond what float64 can hold at these parameters"
    return f"{value:.4g} (keeps the scale of activations at initialisation)"
