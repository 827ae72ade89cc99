"""``rectifier demo`` as a command: its files, its streams, its refusals. Its contents are tested in tests/demo."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import rectifier.demo

Run = Callable[..., Any]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real demonstration, with one seed and two epochs of training."""
    run = functools.partial(rectifier.demo.run, _seeds=2, _steps=42, _processes=1)
    monkeypatch.setattr(rectifier.demo, "run", run)


@pytest.mark.usefixtures("short")
def test_the_summary_the_page_and_the_record(rectifier: Run, folder: Path) -> None:
    result = rectifier("demo", "--json", "demo.json", "--seed", "1")
    assert result.exit_code == 0
    titles = [part.partition(".")[0] for part in result.stdout.strip().split("\n\n")]
    assert titles[-4:] == ["Depth", "Death", "Cure", "Cut"]
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "Act 4 of 4: cut" in result.stderr
    assert "100%" in result.stderr
    assert result.stderr.endswith("Wrote demo.json\nWrote rectifier-demo.html\n")
    assert (folder / "rectifier-demo.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads((folder / "demo.json").read_text(encoding="utf-8"))["seed"] == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            [],
            "`--html` must not exist yet; got 'rectifier-demo.html', which does. "
            "Pass --force to replace it, or another name.",
        ),
        (["--html", "no/a.html"], "`--html` must lie in a folder that exists; got 'no/a.html'. Create 'no' first."),
        (["--html", "-"], "`--html` must name a file; got '-'. Name one, as in --html demo.html."),
    ],
)
def test_files_are_refused_before_the_run(rectifier: Run, folder: Path, options: list[str], text: str) -> None:
    (folder / "rectifier-demo.html").write_text("mine")
    result = rectifier("demo", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: demo: {text}\n")
    assert (folder / "rectifier-demo.html").read_text() == "mine"


def test_a_seed_that_is_none_is_usage(rectifier: Run) -> None:
    result = rectifier("demo", "--seed", "-1")
    assert result.exit_code == 2
    assert "Error: Invalid value for '--seed'" in result.stderr
