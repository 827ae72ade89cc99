"""The page of claims: every text is there, every figure draws, in light and in dark, offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from rectifier.claims import claims
from rectifier.claims.lab import figures
from rectifier.claims.lab.claim import Verdict
from rectifier.claims.lab.engines import Engine
from rectifier.claims.lab.figures import Curve
from rectifier.claims.lab.page import command, document, page
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.statistics import Effect, mean, ranking
from rectifier.claims.lab.sweep import Told, sweep, tell

from ..reporters.chromium import CHROMIUM, Browser, chromium

NAMES = ("continuous-with-a-kink", "absolute-value", "softplus-tends-to-relu")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    found = Records(tmp_path_factory.mktemp("results"))
    sweep({name: (claims()[name], claims()[name].plan(quick=True)) for name in NAMES}, found, Engine(1))
    return found


@pytest.fixture(scope="module")
def told(records: Records) -> list[Told]:
    """One that holds, one that does not, one with too few seeds."""
    one, other, third = (tell(claims()[name], claims()[name].plan(quick=True), records) for name in NAMES)
    false = replace(other, verdict=Verdict("does not hold", "A <b>planted</b> contrary.", other.verdict.effects))
    few = tell(third.claim, third.claim.plan(quick=True, seeds=2, set_of_seeds=1), records)
    return [one, false, few]


def test_what_it_says(told: list[Told], records: Records) -> None:
    text = page(told, records, ["2 runs are of another version."])
    for words in (
        "Of 3 claims, 1 holds, 1 does not hold, 1 has not enough runs for a verdict.",
        "A &lt;b&gt;planted&lt;/b&gt; contrary.",
        "No seed has all the runs; a verdict needs 3.",
        f'<a href="#section-3">{claims()["absolute-value"].statement}</a>',
        '<span class="bad">does not hold (quick)</span>',
        "Quick: shorter training and fewer seeds.",
        '<span class="label">function (quick)</span>',
        "rectifier claims run continuous-with-a-kink --quick<",
        "rectifier claims run softplus-tends-to-relu --quick --seeds 2 --set-of-seeds 1",
        "2 runs are of another version.",
        f"python {records.machines[next(iter(records.machines))]['python']}",
    ):
        assert words in text, words
    full = page([replace(told[0], plan=replace(told[0].plan, quick=False))], records)
    assert '<span class="good">holds</span>' in full and "uick" not in full
    assert text.count('role="img"') == 2  # nothing is drawn of nothing
    assert "http://" not in text and "https://" not in text.replace("https://www.w3.org", "")


def test_as_json(told: list[Told]) -> None:
    found = document(told[0])
    assert found["verdict"] == "holds" and found["seeds"] == [0, 1, 2] and found["command"] == command(told[0])
    assert found["effects"][0]["value"] == 1.0
    # Numbers that JSON lacks are texts, as in the records.
    strict = json.loads(json.dumps(found), parse_constant=pytest.fail)
    assert (strict["effects"][-1]["value"], strict["effects"][-1]["seeds"]) == ("Infinity", 3)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 4.0, {"1", "2", "3", "4"}),
        (0.02, 1.5, {"0.03", "0.1", "0.3", "1"}),
        (0.5, 300.0, {"10⁰", "10¹", "10²"}),
    ],
)
def test_a_logarithmic_axis_has_ticks_enough(low: float, high: float, ticks: set[str]) -> None:
    chart = figures.intervals([Effect("a", low, low, high, "", 3)], x_title="", caption="", alt="", log=True)
    texts = {text for each in ElementTree.fromstring(chart.svg).iter() for text in [each.text] if each.tag == "text"}
    assert ticks <= texts, texts


def test_figures_are_sound_and_escape() -> None:
    effects = [
        Effect("<a> & b", 1.0, -np.inf, 2.0, "m", 5),
        mean([1e-9, 1e9], "c"),
        Effect("gone", *[np.nan] * 3, "", 3),
    ]
    drawn = [
        figures.intervals(effects, x_title="<x>", caption="", alt="", reference=0.0, groups=["g", "h", "g"]),
        figures.intervals(effects, x_title="x", caption="", alt="", log=True),
        figures.curves(
            [
                Curve("<c>", [0.0, 1.0, 2.0], [1.0, np.nan, 0.0], [0.5, 0.5, 0.0], [2.0, np.inf, 1.0]),
                Curve("d", [], []),
            ],
            x_title="x",
            y_title="y",
            caption="",
            alt="",
            log_x=True,
            log_y=True,
        ),
        figures.heatmap(
            [[0.0, np.nan], [1.0, np.inf]], x_labels="ab", y_labels="cd", x_title="<x>", y_title="y", caption="", alt=""
        ),
        figures.ranks(
            ranking({name: np.arange(4.0) % (place + 2) for place, name in enumerate("<abc")}), caption="", alt=""
        ),
    ]
    for chart in drawn:
        root = ElementTree.fromstring(chart.svg)
        wide, tall = map(float, root.attrib["viewBox"].split()[2:])
        numbers = re.findall(r"[ML,HV ](-?[\d.]+|nan|inf)", " ".join(path.attrib.get("d", "") for path in root.iter()))
        assert [n for n in numbers if not 0 <= float(n) <= max(wide, tall)] == []
        assert "nan" not in chart.svg.replace("NaN", "")


def test_a_figure_that_stands_alone(told: list[Told]) -> None:
    text = figures.alone(told[0].claim.figure(told[0].results))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "light-dark(" in text and ".line" in text and "--s0" in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the page is not seen in a browser")
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1280])
def test_in_light_and_dark(
    browser: Browser, told: list[Told], records: Records, tmp_path: Path, dark: bool, width: int
) -> None:
    path = tmp_path / "claims.html"
    path.write_text(page(told, records), encoding="utf-8")
    opened = browser.open(path, dark=dark, width=width)
    assert opened.run("document.documentElement.scrollWidth <= innerWidth")
    assert opened.run("document.querySelectorAll('.chart > svg').length") == 2
    # Lines are drawn, in a colour of the look, and within their box.
    seen = opened.run(
        """Array.from(document.querySelectorAll('.chart'), (chart) => {
             const box = chart.getBoundingClientRect();
             const outside = Array.from(chart.querySelectorAll('text'))
               .filter((text) => {
                 const t = text.getBoundingClientRect();
                 return t.left < box.left - 1 || t.right > box.right + 1;
               })
               .map((text) => text.textContent);
             return [getComputedStyle(chart.querySelector('.line')).stroke, box.height > 100, outside];
           })"""
    )
    blue = "rgb(88, 174, 235)" if dark else "rgb(0, 114, 178)"
    assert seen == [[blue, True, []]] * 2
    look = "getComputedStyle(document.querySelector('td > .bad')).color"
    assert opened.run(look) == ("rgb(255, 154, 92)" if dark else "rgb(179, 74, 0)")
    opened.click("td a[href='#section-3']")
    opened.until("location.hash === '#section-3'")
    assert opened.said == [] and opened.requested == []
