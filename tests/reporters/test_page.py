"""The page as an HTML parser reads it; :mod:`test_browser` looks at it in a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from rectifier.checkup.records import Record
from rectifier.errors import RectifierValueError
from rectifier.reporters import html, page

VOID = {"meta", "br", "hr", "img", "input", "link"}
EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Collects tags, their attributes and their text, and that every tag is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append((self.tags[-1][1], data))
        else:
            self.texts.append(data)


def figure() -> page.Figure:
    return page.Figure(go.Figure(go.Scatter(y=[1, 2, 3])), EVIL, f'"{EVIL}')


def hostile_page() -> str:
    section = page.Section(
        EVIL,
        (EVIL,),
        (figure(), figure()),
        (page.Table((EVIL, "b"), ((EVIL, EVIL),), f'" onload="{EVIL}'),),
        (page.Card(EVIL, ((EVIL, EVIL),), "bad", EVIL),),
        (EVIL,),
    )
    return page.render(EVIL, f"{EVIL}\n{EVIL}", [section] * 3, facts=(page.Fact(EVIL, EVIL),), footer=EVIL)


def test_markup_in_any_text_is_printed_and_nothing_of_it_runs() -> None:
    reader = Reader(hostile_page())
    running = [text for attributes, text in reader.scripts if attributes.get("type") != "application/json"]
    assert len(running) == 2
    assert not any(text.startswith("alert") for text in running)
    assert not any(key.startswith("on") for _, attributes in reader.tags for key in attributes)
    # Page: title, h1, 2 of the summary, 2 of the fact, the footer, 3 links to sections. Section: heading, paragraph,
    # 4 of the card, 2 captions, 2 texts for want of a script, 4 of the table, a note.
    assert sum(text.count(EVIL) for text in reader.texts) == 10 + 3 * 15


def test_a_record_with_hostile_names_stays_one_page(hostile: Record) -> None:
    reader = Reader(html.render(hostile))
    # The others are those of points in charts.
    assert sum(tag == "title" for tag, _ in reader.tags) == 1 + sum(tag in ("circle", "rect") for tag, _ in reader.tags)
    assert not [tag for tag, _ in reader.tags if tag in ("img", "iframe", "bold")]
    assert not [attributes for tag, attributes in reader.tags if tag == "a" and not attributes["href"].startswith("#")]
    plots = [json.loads(text) for attributes, text in reader.scripts if attributes.get("class") == "figure"]
    assert plots == []
    (drawn,) = (json.loads(text) for attributes, text in reader.scripts if attributes.get("id") == "units")
    assert {site["name"] for site in drawn["sites"]} >= {f"{EVIL}[bold]</figcaption>"}


def test_nothing_is_loaded_from_anywhere(watched: Record) -> None:
    text = html.render(watched)
    reader = Reader(text)
    loading = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
    loaded = [attributes[key] for _, attributes in reader.tags for key in loading if attributes.get(key)]
    assert all(target is not None and target.startswith("#") for target in loaded)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] for t, a in reader.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_plotly_is_inlined_once_or_not_at_all() -> None:
    with_figures, without = hostile_page(), page.render("t", "s", [page.Section("a")])
    assert len(re.findall(r"\* plotly\.js v", with_figures)) == 1
    assert len(without) < 30_000
    assert len(with_figures) < 8_000_000


def test_a_page_of_a_record_is_small(watched: Record) -> None:
    text = html.render(watched)
    assert len(text.encode()) < 100_000
    assert "plotly.js v" not in text


def test_every_figure_says_what_it_shows(watched: Record) -> None:
    reader = Reader(html.render(watched))
    charts = [attributes for _, attributes in reader.tags if attributes.get("class") == "chart"]
    assert len(charts) == 5  # histogram, silent over time, loss, two scales
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in charts)
    maps = [attributes for _, attributes in reader.tags if (attributes.get("class") or "").startswith("cells")]
    assert len(maps) == 6  # three rows, three maps
    assert all(attributes["aria-label"] and attributes["tabindex"] in ("0", "-1") for attributes in maps)
    assert [tag for tag, _ in reader.tags].count("figcaption") == 8


def test_a_finding_leads_to_units_only_where_they_are(watched: Record) -> None:
    found = html.sections(watched)[0]
    alone = Reader(page.render("t", "s", [found]))  # as the demonstration shows it
    assert not [attributes for tag, attributes in alone.tags if attributes.get("class") == "units"]
    whole = Reader(html.render(watched))
    links = [attributes["href"] for tag, attributes in whole.tags if attributes.get("class") == "units"]
    assert links == ["#units-1", "#units-2", "#units-3", "#units-5", "#units-6"]


def test_the_summary_comes_first_after_the_title(watched: Record) -> None:
    reader = Reader(html.render(watched))
    shown = [
        tag for tag, attributes in reader.tags if attributes.get("class") == "summary" or tag in ("h1", "h2", "main")
    ]
    assert shown[:3] == ["h1", "p", "main"]


def test_columns_of_numbers_and_of_prose_are_set_apart() -> None:
    table = page.Table(
        ("a", "b", "c"), (("x", "1,437", "3 of 4"), ("y", "−0.5 %", "a sentence that wants room to be read in"))
    )
    reader = Reader(page.render("t", "s", [page.Section("a", tables=(table,))]))
    assert [attributes.get("class") for tag, attributes in reader.tags if tag == "td"] == ["number", "prose"] * 2


def test_a_figure_is_not_changed_by_being_shown() -> None:
    shown = figure()
    before = shown.plot.to_json()
    page.render("t", "s", [page.Section("a", figures=(shown,))])
    assert shown.plot.to_json() == before


def test_a_row_of_the_wrong_length() -> None:
    table = page.Table(("a", "b"), (("x",),))
    with pytest.raises(RectifierValueError) as caught:
        page.render("t", "s", [page.Section("a", tables=(table,))])
    assert caught.value.args == (
        "render: `sections` must hold tables whose rows have one cell a column (2); got a row of 1: ('x',). "
        "Add the missing cells.",
    )
