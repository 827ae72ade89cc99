"""The page of saved weights, and in headless Chromium that of a file whose names are an attack."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

import rectifier
from rectifier.checkup.records import Record
from rectifier.reporters import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

NAMES = (
    "<script>document.title='owned'</script>",
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    '"><svg onload="document.title=\'owned\'">',
    "'-document.write(1)-'",
    "{{ 7 * 7 }}",
    "\u202e\x1b[31m\ud800",
    "y" * 1_000_000,
)


@pytest.fixture
def attack(tmp_path: Path) -> Record:
    header = {
        f"{name}.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [16 * i, 16 * i + 16]}
        for i, name in enumerate(NAMES)
    }
    raw = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * 16 * len(NAMES))
    return rectifier.check_weights(path)


def test_the_page_tells_what_is_closed_and_shows_no_firing_rates(attack: Record) -> None:
    text = html.render(attack)
    assert "What is stored" in text and "Closed" in text
    assert "Which units fire" not in text and "firing rate" not in text
    assert "from its saved weights; nothing was run" in text
    assert len(text) < 500_000


def test_names_stand_in_the_page_as_text(attack: Record) -> None:
    text = html.render(attack)
    body = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", text, flags=re.DOTALL)
    assert "<script>document" not in body and "<img src=x" not in body and "<svg onload" not in body
    assert "&lt;img src=x" in body and "{{ 7 * 7 }}" in body
    text.encode("utf-8")  # a half of a pair could not be


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the page is not seen in a browser")
def test_names_run_nothing_in_a_browser(attack: Record, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(html.render(attack), encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None and title[1].startswith("Saved weights of")
    for name in NAMES[:6]:
        assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in done.stdout
