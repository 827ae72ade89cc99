"""The page in headless Chromium, from a file and offline: it draws, and leads from a finding to its units and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from rectifier.checkup.records import Record
from rectifier.reporters import html, page

from .chromium import CHROMIUM, Browser, Page, chromium

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the page is not seen in a browser")

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def look(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a record (or the text of one); afterwards nothing may have gone wrong in any of them."""
    pages: list[Page] = []

    def open_page(record: Record | str, *, faults: bool = False, **how: Any) -> Page:
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(record if isinstance(record, str) else html.render(record), encoding="utf-8")
        opened = browser.open(path, **how)
        if not faults:
            pages.append(opened)
        return opened

    yield open_page
    for opened in pages:
        assert opened.said == [] and opened.requested == []


def lit(opened: Page) -> dict[str, str]:
    """Map or row → how many of its units are highlighted; empty text where nothing is selected."""
    pairs = opened.run(
        """Array.from(document.querySelectorAll(".cells"), (cells) =>
             [(cells.classList.contains("tall") ? "map" : "row") + cells.dataset.site, cells.dataset.lit])"""
    )
    return dict(pairs)


def within(selector: str) -> str:
    """Whether an element lies in the window, in JavaScript."""
    return f"""(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();
        return box.height > 0 && box.bottom > 0 && box.top < innerHeight; }})()"""


def seen(opened: Page, selector: str) -> bool:
    found: bool = opened.run(within(selector))
    return found


def test_one_click_from_a_finding_to_its_units_and_back(look: Open, watched: Record) -> None:
    opened = look(watched)
    assert set(lit(opened).values()) == {""}
    opened.click("#finding-2 a.units")
    opened.until("location.hash === '#units-2'")
    opened.until("document.activeElement.classList.contains('tall')")
    assert lit(opened) == {"row0": "8", "map0": "8", "row1": "0", "map1": "0", "row2": "0", "map2": "0"}
    opened.until(within(".map[data-site='0'] canvas"))
    # Runs of neighbours, as unit 3, 7 to 12 and 40.
    assert opened.run("document.querySelectorAll('.map[data-site=\"0\"] .lit').length") == 3
    assert opened.run("document.querySelector('#selection p').textContent") == (
        "Finding 2: Silent at layers.1, 8 units"
    )
    opened.click("#selection .links a")
    opened.until("location.hash === '#finding-2'")
    opened.until(within("#finding-2"))
    assert opened.run("document.querySelector('#finding-2').matches(':target')")
    assert lit(opened)["map0"] == "8"
    opened.press("Escape")
    assert set(lit(opened).values()) == {""}
    assert opened.run("document.querySelector('#selection').hidden")


def test_the_same_link_leads_there_again(look: Open, watched: Record) -> None:
    opened = look(watched)
    opened.click("#finding-1 a.units")
    opened.until("document.activeElement.classList.contains('tall')")
    opened.run("scrollTo(0, 0)")
    opened.click("#finding-1 a.units")
    opened.until(within(".map[data-site='0'] canvas"))  # scrolling takes its time


def test_a_click_on_a_unit_leads_to_its_findings(look: Open, watched: Record) -> None:
    opened = look(watched)
    opened.click(".row[data-site='1'] canvas", across=30.5 / 64)
    assert opened.run("document.querySelector('#selection p').textContent") == (
        "layers.3, unit 30: fired at 0 of 1,437 examples"
    )
    assert lit(opened)["row1"] == lit(opened)["map1"] == "23"
    opened.click("#selection .links a")
    opened.until("document.querySelector('#selection p').textContent.startsWith('Finding 3')")
    assert opened.run("location.hash") == "#finding-3"
    opened.click(".row[data-site='2'] canvas", across=0.5 / 32)
    text = opened.run("document.querySelector('#selection p').textContent")
    assert text.endswith(" of 1,437 examples. No finding names it.")
    assert opened.run("document.querySelectorAll('#selection a').length") == 0


def test_all_of_it_by_keys(look: Open, watched: Record) -> None:
    opened = look(watched)
    reading = "document.getElementById('spoken').textContent"
    opened.run("document.querySelector('.row .cells').focus()")
    opened.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert opened.run(reading) == ("layers.1, unit 3: fired at 0 of 1,437 examples; silent since step 40; proved dead")
    opened.press("Enter")
    assert opened.run("document.activeElement.hash") == "#finding-1"
    opened.press("Tab")
    assert opened.run("document.activeElement.hash") == "#finding-2"
    opened.press("Enter")
    opened.until("document.querySelector('#selection p').textContent.startsWith('Finding 2')")
    opened.run("document.querySelector('#finding-3 a.units').focus()")
    opened.press("Enter")
    opened.until("document.activeElement.classList.contains('tall')")
    opened.press("ArrowDown")  # from the first of its units, at the last look
    assert opened.run(reading) == "layers.3, unit 21, step 200: never fired in this look"
    opened.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert opened.run(reading).startswith("layers.3, unit 21, step 0: fired at about ")
    opened.run("document.querySelector('.row .cells').focus()")
    opened.press("ArrowDown")
    assert opened.run("document.activeElement.dataset.site") == "1"
    assert opened.run(reading).startswith("layers.3, unit 0: fired at 1,437 of 1,437 examples")


def test_a_deep_link_opens_at_its_finding(look: Open, watched: Record) -> None:
    opened = look(watched, anchor="#finding-3")
    assert lit(opened)["map1"] == "23"
    opened.until(within("#finding-3"))
    opened = look(watched, anchor="#units-3")
    opened.until("document.activeElement.classList.contains('tall')")
    opened.until(within(".map[data-site='1'] canvas"))
    # A finding about a scale has no units to show, and one that is not there is no error.
    assert set(lit(look(watched, anchor="#finding-4")).values()) == {""}
    assert set(lit(look(watched, anchor="#finding-99")).values()) == {""}


def shown(opened: Page) -> list[str]:
    ids: list[str] = opened.run(
        "Array.from(document.querySelectorAll('[data-severity]:not([hidden])'), (one) => one.id)"
    )
    return ids


def test_findings_are_filtered_by_severity_and_by_site(look: Open, watched: Record) -> None:
    grades = ("ill", "warning", "warning", "ill", "note", "note")
    found = tuple(html.ordered(watched.findings))
    opened = look(watched.with_findings(tuple(map(lambda f, g: replace(f, severity=g), found, grades))))
    assert len(shown(opened)) == 6
    opened.click(".filters input[value='warning']")
    assert shown(opened) == ["finding-1", "finding-4", "finding-5", "finding-6"]
    assert opened.run("document.querySelector('.filters output').textContent") == "4 of 6 findings shown"
    opened.run(
        """(() => { const site = document.querySelector(".filters select"); site.value = "=layers.1";
             site.dispatchEvent(new Event("change", { bubbles: true })); })()"""
    )
    assert shown(opened) == ["finding-1"]
    assert not seen(opened, ".row[data-site='1']") and opened.run(
        "document.querySelector('.map[data-site=\"2\"]').hidden"
    )
    # A link to what is filtered out takes the filters back.
    opened.run("location.hash = '#finding-3'")
    opened.until("!document.querySelector('#finding-3').hidden")
    assert len(shown(opened)) == 6 and seen(opened, "#finding-3")


def test_the_order_of_death(look: Open, watched: Record) -> None:
    opened = look(watched)
    ticks = opened.run("document.querySelector('.map[data-site=\"0\"] .death').getAttribute('d')")
    assert ticks == "M1 3v1M2 7v1M3 8v1M4 9v1M1 10v1M2 11v1M3 12v1M4 40v1"
    opened.run(
        """(() => { const order = document.querySelector(".order select"); order.value = "death";
             order.dispatchEvent(new Event("change", { bubbles: true })); })()"""
    )
    opened.run("document.querySelector('.map[data-site=\"0\"] .cells').focus()")
    opened.press("ArrowDown", "ArrowDown")
    told = opened.run("document.getElementById('spoken').textContent")
    assert told == "layers.1, unit 7, step 200: never fired in this look; silent since step 80"


def test_the_cells_have_the_colours_of_what_they_say(look: Open, watched: Record) -> None:
    opened = look(watched)
    pixels = opened.run(
        """(() => { const canvas = document.querySelector(".map .cells canvas");
             const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
             const at = (row, look) => 4 * (row * canvas.width + look);
             return [at(3, 5), at(3, 0), at(0, 0)].map((place) => Array.from(data.slice(place, place + 4))); })()"""
    )
    assert pixels[0] == [213, 94, 0, 255]
    assert all(pixel != [213, 94, 0, 255] and pixel[3] == 255 for pixel in pixels[1:])


def test_a_table_wider_than_a_phone_says_so(look: Open, watched: Record) -> None:
    over = """Array.from(document.querySelectorAll(".table"), (table) => {
        const place = table.querySelector(".scroll");
        return [place.scrollWidth > place.clientWidth, !table.querySelector(".more").hidden]; })"""
    told = look(watched, width=390).run(over)
    assert all(wide == said for wide, said in told) and any(wide for wide, _ in told)
    assert look(watched).run(over) == [[False, False]] * len(told)


LOOKS = """({
  theme: document.documentElement.dataset.theme,
  ground: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.querySelector(".chart .title")).fill,
  width: document.documentElement.scrollWidth,
  room: document.documentElement.clientWidth,
  drawn: Array.from(document.querySelectorAll(".cells canvas:first-of-type"), (canvas) => canvas.clientHeight > 0),
})"""


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_draws_in_both_looks(look: Open, watched: Record, width: int, dark: bool) -> None:
    opened = look(watched, width=width, dark=dark)
    first = opened.run(LOOKS)
    opened.click("#theme")
    second = opened.run(LOOKS)
    assert (first["theme"], second["theme"]) == (("dark", "light") if dark else ("light", "dark"))
    for each in (first, second):
        assert each["drawn"] == [True] * 6
        assert each["width"] <= each["room"] <= width
    assert first["ground"] != second["ground"]
    assert first["ink"] != second["ink"], "the figures did not follow the button"


def test_print_is_light_and_leaves_out_what_paper_cannot_do(look: Open, watched: Record) -> None:
    light = look(watched).run(LOOKS)
    opened = look(watched, dark=True)
    opened.looks(dark=True, media="print")
    printed = opened.run(LOOKS)
    assert (printed["ground"], printed["ink"]) == (light["ground"], light["ink"])
    for selector in (".filters", "a.units", "#theme", "nav", ".key .order"):
        assert opened.run(f"document.querySelector({selector!r}).getClientRects().length") == 0


@pytest.mark.parametrize(
    "evil",
    [
        "</script><img src=x onerror=\"alert('1')\">",
        "a\"b'c`d&amp;\n<!--\\",
        "\u202eשלום\u2066 <b>",
        "\u2028${alert(1)}{{ 7 * 7 }}%s",
    ],
    ids=["markup", "quotes", "right-to-left", "templates"],
)
def test_names_are_shown_and_do_not_run(look: Open, watched: Record, evil: str) -> None:
    def renamed(shot: Any) -> Any:
        first, *rest = shot.sites
        return replace(shot, sites=(replace(first, site=evil), *rest))

    findings = tuple(replace(finding, site=evil, evidence=evil, cause=evil) for finding in watched.findings)
    shots = tuple(map(renamed, watched.snapshots))
    record = replace(watched, snapshots=shots, findings=findings, model=evil, name=evil, not_observed=(evil,))
    opened = look(record, width=390)
    assert opened.run("document.querySelector('.row .name').textContent") == evil
    assert opened.run("document.querySelectorAll('img, b').length") == 0
    assert opened.run("document.documentElement.scrollWidth <= innerWidth")
    opened.click("#finding-2 a.units")
    opened.until("document.activeElement.classList.contains('tall')")
    opened.press("ArrowRight")
    assert opened.run("document.getElementById('spoken').textContent").startswith(evil + ", unit 3, step 200: ")
    assert lit(opened)["map0"] == "8"


def test_a_script_that_slipped_in_is_refused(look: Open, healthy: Record) -> None:
    """The policy is a second wall: take the first one down and see it hold (and see that the console is read)."""
    text = html.render(healthy).replace("<footer>", "<footer><script>document.title = 'run'</script>", 1)
    text = text.replace("</main>", "</main><script>document.documentElement.dataset.theme = 'run'</script>", 1)
    opened = look(text, faults=True)
    assert opened.run("[document.title, document.documentElement.dataset.theme]") == ["Check-up of MLP", "light"]
    assert any("Content Security Policy" in line for line in opened.said)


def test_a_record_without_a_snapshot_is_a_page(look: Open, stopped: Record) -> None:
    assert look(stopped, width=390).run("document.querySelectorAll('.chart, .cells').length") == 0


def test_a_figure_of_plotlys_is_drawn_and_follows_the_look(look: Open) -> None:
    figure = page.Figure(go.Figure(go.Scatter(y=[1, 2, 3])).update_xaxes(title_text="x"), "caption", "alt")
    opened = look(page.render("t", "s", [page.Section("a", figures=(figure,))]))
    opened.until("document.documentElement.dataset.figures === '1'")
    ink = "getComputedStyle(document.querySelector('.xtitle')).fill"
    before = opened.run(ink)
    opened.click("#theme")
    opened.until(f"{ink} !== {before!r}")
