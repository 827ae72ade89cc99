"""The page in headless Chromium: it draws, without errors, offline, in light and dark, wide and on a phone."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rectifier.checkup.records import Record
from rectifier.reporters import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the page is not seen in a browser")

# The page runs untouched in a frame as wide as asked; the frame's owner may read and click in it.
OWNER = """<!DOCTYPE html><meta charset="utf-8">
<iframe id="frame" style="width:%WIDTH%px;height:900px;border:0"></iframe>
<script type="application/json" id="page">%PAGE%</script><pre id="result"></pre><script>
const frame = document.getElementById("frame");
const tick = () => new Promise((done) => setTimeout(done, 50));
const look = () => {
  const page = frame.contentDocument;
  const text = page.querySelector(".xtitle");
  return {
    theme: page.documentElement.dataset.theme,
    ground: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    ink: text ? frame.contentWindow.getComputedStyle(text).fill : "",
    figures: page.querySelectorAll(".plot").length,
    drawn: Array.from(page.querySelectorAll(".plot")).filter((plot) => plot.querySelector("svg.main-svg")).length,
    width: page.documentElement.scrollWidth,
    room: page.documentElement.clientWidth,
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:") && !name.startsWith("blob:")),
    over: Array.from(page.querySelectorAll(".table")).map((table) => {
      const place = table.querySelector(".scroll");
      return [place.scrollWidth > place.clientWidth, !table.querySelector(".more").hidden];
    }),
    dialogs: frame.contentWindow.dialogs,
  };
};
frame.addEventListener("load", async () => {
  const page = frame.contentDocument;
  const count = String(page.querySelectorAll(".plot").length);
  while (page.documentElement.dataset.figures !== count) await tick();
  const first = look();
  page.getElementById("theme").click();
  for (let turn = 0; turn < 20; turn++) await tick();
  document.getElementById("result").textContent = JSON.stringify([first, look()]);
}, { once: true });
frame.srcdoc = JSON.parse(document.getElementById("page").textContent);
</script>"""


class Result(HTMLParser):
    text = ""
    inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = ("id", "result") in attrs

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.text += data


def browse(folder: Path, text: str, *, width: int, dark: bool = False) -> tuple[list[dict[str, Any]], list[str]]:
    """What the page looks like before and after the button, and what it wrote to the console."""
    owner = folder / "owner.html"
    embedded = json.dumps(text).replace("<", "\\u003c")
    owner.write_text(OWNER.replace("%WIDTH%", str(width)).replace("%PAGE%", embedded), encoding="utf-8")
    assert CHROMIUM is not None
    ran = subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            "--virtual-time-budget=30000",
            "--window-size=1500,1000",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            "--dump-dom",
            owner.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result = Result()
    result.feed(ran.stdout)
    console = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert result.text, console
    return json.loads(result.text), console


def test_a_table_wider_than_a_phone_says_so(watched: Record, tmp_path: Path) -> None:
    (first, _), _ = browse(tmp_path, html.render(watched), width=390)
    assert all(over == told for over, told in first["over"])
    assert any(told for _, told in first["over"])
    (first, _), _ = browse(tmp_path, html.render(watched), width=1280)
    assert first["over"] == [[False, False]] * len(first["over"])


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_draws_in_both_looks(watched: Record, tmp_path: Path, width: int, dark: bool) -> None:
    (first, second), console = browse(tmp_path, html.render(watched), width=width, dark=dark)
    assert console == []
    assert (first["theme"], second["theme"]) == (("dark", "light") if dark else ("light", "dark"))
    for seen in (first, second):
        assert seen["figures"] == seen["drawn"] == 9
        assert seen["loaded"] == []
        assert seen["width"] <= seen["room"] <= width
    assert first["ground"] != second["ground"]
    assert first["ink"] != second["ink"], "the figures did not follow the button"


def test_hostile_names_do_not_run(hostile: Record, tmp_path: Path) -> None:
    (first, _), console = browse(tmp_path, html.render(hostile), width=390)
    assert console == []
    assert first["figures"] == first["drawn"] > 0
    assert first["loaded"] == []
    assert first["width"] <= first["room"]


def test_a_script_that_slipped_in_is_refused(healthy: Record, tmp_path: Path) -> None:
    """The policy is a second wall: take the first one down and see it hold (and see that the console is read)."""
    text = html.render(healthy).replace("<footer>", "<footer><script>document.title = 'run'</script>", 1)
    text = text.replace("</main>", "</main><script>document.documentElement.dataset.theme = 'run'</script>", 1)
    (first, _), console = browse(tmp_path, text, width=800)
    assert first["theme"] == "light"
    assert any("Content Security Policy" in line for line in console)


def test_a_record_without_a_snapshot_is_a_page(stopped: Record, tmp_path: Path) -> None:
    (first, _), console = browse(tmp_path, html.render(stopped), width=390)
    assert console == []
    assert first["figures"] == 0
