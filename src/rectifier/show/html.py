"""One function as the card of a notebook: self-contained HTML, the graph as SVG inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from .._family import family
from ..errors import RectifierValueError
from .curves import Drawn, trace
from .text import convention, gain_text, parameter_text

__all__ = ["card"]

# Its own ground and ink, so that the graph reads the same in a notebook's dark theme.
_STYLE = (
    "background:#fff;color:#222;border:1px solid #ddd;border-radius:6px;padding:12px 16px;max-width:820px;"
    "font:14px/1.45 system-ui,sans-serif"
)
_LABEL = "text-align:left;vertical-align:top;white-space:nowrap;padding:2px 14px 2px 0;font-weight:600"
_TEXT = "text-align:left;vertical-align:top;padding:2px 0"


def card(name: str) -> str:
    """What the family says about a function, with its graph where matplotlib is installed.

    name: a key of ``rectifier.family``. Returns one HTML element that needs nothing else.
    Raises RectifierValueError for an unknown name.

    >>> card("relu").startswith("<div")
    True
    """
    if name not in family:
        raise RectifierValueError(
            f"card: `name` must be one of {', '.join(family)}; got {name!r}. See rectifier.family."
        )
    drawn = trace(name, {}, lowest=-4.0, highest=4.0, points=20)
    rows = "".join(
        f'<tr style="background:none"><th style="{_LABEL}">{escape(label)}</th><td style="{_TEXT}">{text}</td></tr>'
        for label, text in _rows(drawn)
    )
    graph = _graph(name)
    heading = graph or f'<div style="font-size:18px;font-weight:700">{escape(drawn.label)}</div>' + "".join(
        f"<div>{escape(equation)}</div>" for equation in drawn.equations
    )
    return (
        f'<div style="{_STYLE}">{heading}'
        f'<table style="border-collapse:collapse;margin-top:8px;color:#222">{rows}</table></div>'
    )


def _graph(name: str) -> str:
    try:
        from .figure import svg

        drawn = svg([name], {})
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return ""
    described = f"Graphs of {family[name].title} and of its derivative"
    return drawn.replace(
        "<svg ", f'<svg role="img" aria-label="{escape(described)}" style="max-width:100%;height:auto" ', 1
    )


def _rows(drawn: Drawn) -> Iterator[tuple[str, str]]:
    """Label and text (as HTML) of each line of the table."""
    row = drawn.row
    yield "Range", escape(row.range)
    for kink in row.kinks:
        yield f"f′ at {kink.at}", escape(convention(drawn, kink))
    if row.parameters:
        yield "Parameters", _lines(parameter_text(p, drawn.parameters[p.name]) for p in row.parameters)
    yield "Gain", escape(gain_text(drawn))
    if row.conventions:
        yield "Elsewhere", _lines(f"{framework}: {text}" for framework, text in row.conventions.items())
    yield "Strengths", _lines(row.strengths)
    yield "Faults", _lines(row.faults)
    yield "Source", escape(row.citation)


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(escape(text) for text in texts)
