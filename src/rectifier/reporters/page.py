"""One self-contained HTML page: text, tables, cards, charts and maps of units that open offline.

The page knows nothing of records: :mod:`.html` and the demonstration hand it :class:`Section` objects. Everything it
needs is inside it, and its content security policy forbids every request and every script but the page's own, so a
layer's name can neither break it nor run. Charts are small drawings; Plotly's script, which is about 5 MB, comes along
only where there is a Plotly figure.

>>> from rectifier.reporters import page
>>> text = page.render("Check-up of MLP", "No unit is silent.", [page.Section("Sites", ("One site, 64 units.",))])
>>> text.startswith("<!DOCTYPE html>")
True
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from markupsafe import Markup

__all__ = [
    "Card",
    "Cell",
    "Chart",
    "Fact",
    "Figure",
    "Folded",
    "Mark",
    "Section",
    "Table",
    "Tone",
    "UnitMap",
    "plain",
    "render",
    "stylesheet",
]

Tone = Literal["bad", "warn", "good", "plain"]

_TEMPLATES = Path(__file__).parent / "templates"
_HEIGHT = 360
_PROSE = 36

# A column is set flush right only when every cell of it is a number, a dash for "none", or empty.
_NUMBER = re.compile(r"[-−+±~<>≤≥]?\s?[\d][\d\s.,]*(e[-+−]?\d+)?\s?(%|×|ms|µs|s)?(\s?±\s?[\d.,]+\s?%?)?|–|")


class Folded(str):
    """A text that the page shows short and, where the reader opens it, whole; for a card's part or a table's cell.

    >>> Folded("1, 2, …", "1, 2, 5, 9").whole
    '1, 2, 5, 9'
    """

    whole: str

    def __new__(cls, short: str, whole: str) -> Folded:
        folded = super().__new__(cls, short)
        folded.whole = whole
        return folded


class Cell(str):
    """A table's cell that leads to a section of the page, or has a tone.

    >>> Cell("ReLU dies.", section=3).section
    3
    """

    section: int
    """Its place on the page, from 1; 0 where the cell leads nowhere."""
    tone: Tone

    def __new__(cls, text: str, *, section: int = 0, tone: Tone = "plain") -> Cell:
        cell = super().__new__(cls, text)
        cell.section, cell.tone = section, tone
        return cell


@dataclass(frozen=True)
class Mark:
    """What makes a card or a row one of the page's numbered findings: its link, and what it is filtered by."""

    number: int
    """1, 2, …: the finding's place on the page and in its links (``#finding-3``)."""
    site: str
    severity: str
    units: int = 0
    """How many units it names, where a map shows their site; else 0."""


@dataclass(frozen=True)
class Table:
    """A table of plain text; every row has as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    marks: tuple[Mark, ...] = ()
    """One a row, where the rows are findings."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A Plotly figure with what it says.

    Leave colours to the page (the traces' colours come from its palette, in light and in dark) or take mid-tones
    that read on both; leave the title to the caption. ``plot.layout.height`` is kept, in pixels, 360 by default.
    Text inside a plot is Plotly's own pseudo-HTML: pass names through :func:`plain` first.
    """

    plot: go.Figure
    caption: str
    """Printed below the figure: how to read it, and what it shows."""
    alt: str
    """What a person who cannot see the figure should hear instead."""
    wide: bool = True
    """False: figures in a row share the width where there is room (small multiples)."""


@dataclass(frozen=True)
class Chart:
    """A drawing of :mod:`.svg` with what it says."""

    svg: str
    """Markup, in which every text is escaped."""
    caption: str
    alt: str
    wide: bool = False


@dataclass(frozen=True)
class UnitMap:
    """The place of one site's map, which the page's script draws (:mod:`.maps`)."""

    site: int
    """Its place in the script's list of sites."""
    name: str
    """Of the site, as it reads."""
    told: str
    """What it shows, in words."""
    alt: str
    drawn: int
    """How many of the ``total`` units are drawn."""
    total: int
    steps: tuple[tuple[float, str], ...] = ()
    """Places (in per cent of the width) and names of some columns; empty for one look."""


@dataclass(frozen=True)
class Card:
    """One conclusion: a headline and its labelled parts, such as ``("Cause", "too large a step")``."""

    title: str
    parts: tuple[tuple[str, str], ...]
    tone: Tone = "plain"
    label: str = ""
    """A word or two in the corner, such as ``"fault"``: the tone is never told by colour alone."""
    mark: Mark | None = None


@dataclass(frozen=True)
class Fact:
    """One number of the strip under the summary."""

    value: str
    label: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Section:
    """A part of the page; shown in this order: paragraphs, cards, strip, figures, maps, tables, notes."""

    title: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[Figure | Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    cards: tuple[Card, ...] = ()
    notes: tuple[str, ...] = ()
    """Lines of a bulleted list."""
    strip: tuple[UnitMap, ...] = ()
    """One row a site."""
    maps: tuple[UnitMap, ...] = ()


def plain(text: str) -> str:
    """``text`` with markup characters escaped, for text inside a Plotly figure (names, ticks, hover).

    >>> plain("<b>layer</b>")
    '&lt;b&gt;layer&lt;/b&gt;'
    """
    return html.escape(text, quote=False)


def render(
    title: str,
    summary: str,
    sections: Sequence[Section],
    *,
    facts: Sequence[Fact] = (),
    footer: str = "",
    units: Mapping[str, Any] | None = None,
) -> str:
    """The whole page as one HTML document.

    Arguments
        title: what the page is about, one line.
        summary: the answer in a sentence or two, printed first and large; further lines (after a newline) smaller.
        sections: the parts, in order.
        facts: a strip of numbers under the summary.
        footer: the last line, such as versions.
        units: what the script draws the maps from (:attr:`.maps.UnitMaps.document`), where there are any.

    Returns the text of the file; all of it is escaped, nothing in it is loaded from elsewhere.
    Raises RectifierValueError where a table's row and its columns differ in length.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    for section in sections:
        for table in section.tables:
            _check_rows(table)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_bind,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plotly = any(isinstance(figure, Figure) for section in sections for figure in section.figures)
    marks = [card.mark for section in sections for card in section.cards if card.mark]
    marks += [mark for section in sections for table in section.tables for mark in table.marks]
    scripts = [
        *([_library()] if plotly else []),
        _read("page.js"),
        *([_read("findings.js")] if marks else []),
        *([_read("units.js")] if units else []),
    ]
    return environment.get_template("page.html").render(
        title=title,
        summary=summary,
        sections=sections,
        facts=facts,
        footer=footer,
        style=Markup(_read("page.css") + (_read("units.css") if marks or units else "")),
        scripts=[Markup(script) for script in scripts],
        # Only these texts may run: a script that slipped through the escaping would still be refused.
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        severities=[each for each in ("ill", "warning", "note", "fault") if any(m.severity == each for m in marks)],
        places=list(dict.fromkeys(mark.site for mark in marks)),
        number_of_findings=len(marks),
        marked=lambda section: any(card.mark for card in section.cards) or any(t.marks for t in section.tables),
        units=_embed(units) if units else "",
        is_chart=lambda figure: isinstance(figure, Chart),
        markup=Markup,
        figure_json=_figure_json,
        height=_height,
        column_classes=lambda table: [_column_class(table, place) for place in range(len(table.columns))],
        themes=_themes_json() if plotly else "",
    )


def _bind(value: object) -> object:
    """Keep a number and its per cent sign on one line."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value


def _check_rows(table: Table) -> None:
    from ..errors import RectifierValueError

    for row in table.rows:
        if len(row) != len(table.columns):
            raise RectifierValueError(
                f"render: `sections` must hold tables whose rows have one cell a column ({len(table.columns)}); "
                f"got a row of {len(row)}: {row!r}. Add the missing cells."
            )


def stylesheet() -> str:
    """The page's style, for a chart that is to stand alone."""
    return _read("page.css")


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _library() -> str:
    """Plotly's script, with the line ends that an HTML parser would make of it (else its digest would differ)."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _height(figure: Figure) -> int:
    return int(figure.plot.layout.height or _HEIGHT)


def _column_class(table: Table, column: int) -> str:
    """How a column is set: numbers flush right; prose wide enough to be read, also where the table must scroll."""
    cells = [row[column] for row in table.rows]
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return "number"
    return "prose" if any(len(cell) > _PROSE for cell in cells) else ""


def _embed(value: Any) -> Markup:
    """JSON of ``value``, safe inside a ``<script type="application/json">``."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(value, separators=(",", ":"))


def _embed_plotly(value: Any) -> Markup:
    from jinja2.utils import htmlsafe_json_dumps
    from plotly.io.json import to_json_plotly

    return htmlsafe_json_dumps(value, dumps=to_json_plotly)


def _figure_json(figure: Figure) -> Markup:
    document = figure.plot.to_plotly_json()
    layout = {key: value for key, value in document["layout"].items() if key not in ("template", "height", "width")}
    return _embed_plotly({"data": document["data"], "layout": layout, "frames": document.get("frames", [])})


def _themes_json() -> Markup:
    from ._themes import THEMES

    return _embed_plotly(THEMES)
