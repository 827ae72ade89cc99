"""f and f′ as a figure: two panels side by side, kinks marked, as PNG, SVG or PDF."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .curves import Curve, Drawn, span, trace, view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "draw", "save", "svg"]

#: File extensions that can be written.
FORMATS = ("png", "svg", "pdf")

# Okabe & Ito's palette without its yellow (unreadable on white): told apart with any colour vision and, with the line
# styles that change after each round, on a black-and-white print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES: tuple[str, ...] = ("-", "--")
_INK = "#222222"
_FAINT = "#8a8a8a"
#: Far outside every view; beyond it matplotlib's own arithmetic would overflow.
_DRAWABLE = 1e9


def draw(names: Sequence[str], settings: Mapping[str, float]) -> Figure:
    """The figure of one or several functions: f on the left, f′ on the right.

    A filled dot is the value taken at a kink, a hollow one a limit that is not taken.
    """
    from matplotlib.figure import Figure

    lowest, highest = span(names, settings)
    drawn = [trace(name, settings, lowest=lowest, highest=highest, points=1200) for name in names]
    figure = Figure(figsize=(10, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, function in enumerate(drawn):
        colour = _COLOURS[index % len(_COLOURS)]
        style = _STYLES[index // len(_COLOURS) % len(_STYLES)]
        # Later curves are drawn thinner, so that one that covers another leaves a rim of it.
        width = 2.6 if len(drawn) == 1 else max(1.4, 3.4 - 0.5 * index)
        _plot(left, function.value, colour=colour, style=style, width=width, label=function.label)
        _plot(right, function.derivative, colour=colour, style=style, width=width, label=function.label)
    _frame(left, [function.value for function in drawn], "f(z)", lowest, highest)
    _frame(right, [function.derivative for function in drawn], "f′(z)", lowest, highest)
    _title(figure, left, right, drawn)
    return figure


def save(path: str | Path, names: Sequence[str], settings: Mapping[str, float]) -> None:
    """Write the figure; the format is the extension, one of :data:`FORMATS`."""
    Path(path).write_bytes(_rendered(draw(names, settings), Path(path).suffix[1:].lower()))


def svg(names: Sequence[str], settings: Mapping[str, float]) -> str:
    """The figure as an SVG element, without the XML declaration, to stand inside a page."""
    text = _rendered(draw(names, settings), "svg").decode("utf-8")
    return text[text.index("<svg") :]


def _rendered(figure: Figure, extension: str) -> bytes:
    import matplotlib

    # No date and a fixed salt: the same function gives the same bytes.
    metadata: dict[str, None] = {} if extension == "png" else {"CreationDate" if extension == "pdf" else "Date": None}
    target = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "rectifier"}):
        figure.savefig(target, format=extension, metadata=metadata)
    return target.getvalue()


def _plot(axes: Axes, curve: Curve, *, colour: str, style: str, width: float, label: str) -> None:
    for index, (x, y) in enumerate(curve.pieces):
        named = label if index == 0 else None
        axes.plot(
            x,
            y.clip(-_DRAWABLE, _DRAWABLE),
            color=colour,
            linestyle=style,
            linewidth=width,
            solid_capstyle="butt",
            label=named,
        )
    # As wide as the line asks for: dots of several functions at one place become rings around each other.
    size = 2.6 + 2 * width
    for place, height in curve.hollow:
        axes.plot(
            place, height, "o", color=colour, markerfacecolor="white", markersize=size, markeredgewidth=1.7, zorder=5
        )
    for place, height in curve.filled:
        axes.plot(place, height, "o", color=colour, markersize=size, markeredgewidth=0, zorder=6)


def _frame(axes: Axes, curves: Sequence[Curve], title: str, lowest: float, highest: float) -> None:
    axes.set_xlim(lowest, highest)
    axes.set_ylim(*view(curves, derivative=title != "f(z)"))
    axes.set_title(title, loc="left", fontsize=13, color=_INK)
    axes.set_xlabel("z", fontsize=12, color=_INK)
    axes.axhline(0, color=_FAINT, linewidth=0.9, zorder=1)
    axes.axvline(0, color=_FAINT, linewidth=0.9, zorder=1)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors="#555555", labelsize=10, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _title(figure: Figure, left: Axes, right: Axes, drawn: Sequence[Drawn]) -> None:
    if len(drawn) == 1:
        figure.suptitle(drawn[0].label, fontsize=17, color=_INK, x=0.01, ha="left", weight="bold")
        for axes, equation in zip((left, right), drawn[0].equations, strict=True):
            axes.set_title(textwrap.fill(equation, 50), loc="left", fontsize=12.5, color=_INK)
    else:
        handles, labels = left.get_legend_handles_labels()
        columns = len(drawn) if sum(map(len, labels)) < 60 else -(-len(drawn) // 2) if len(drawn) <= 6 else 4
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=12)
    if any(curve.hollow for function in drawn for curve in (function.value, function.derivative)):
        key = "At a kink:  ●  the value returned   ○  a one-sided limit"
        figure.supxlabel(key, fontsize=10, color="#555555", x=0.99, ha="right")
