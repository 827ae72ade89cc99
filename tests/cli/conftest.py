"""The command in this process, and targets written to a folder of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rectifier.checkup.records import Finding, Record, SiteVitals, Snapshot
from rectifier.cli.app import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; modules imported from it and changes of the path are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture
def rectifier(folder: Path) -> Callable[..., Any]:
    """Run the command in this process; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(app, list(arguments), prog_name="rectifier")


@pytest.fixture
def process(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a process of its own, in the folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rectifier", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Write a Python file into the folder."""

    def file(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return file


@pytest.fixture
def record() -> Record:
    """Ten units over 100 examples: one dead, one silent, two rare, one dormant, and a gradient that vanishes."""
    fired = np.array([0, 0, 1, 1, 50, 50, 50, 50, 50, 50])
    zeros = np.zeros(10)
    site = SiteVitals(
        site="act",
        rectifier="relu",
        parameters={},
        layer="fc",
        examples=100,
        fired=fired,
        nan=np.zeros(10, dtype=np.int64),
        sum_h=fired * 1.0,
        sum_abs_h=fired * 1.0,
        min_z=zeros - 1,
        max_z=fired - 0.5,
        rms_h=0.5,
    )
    named = {"dead": (0,), "silent": (1,), "rare": (2, 3), "dormant": (4,), "vanishing_gradient": ()}
    findings = tuple(
        Finding(kind=kind, site="act", units=units, total=10, evidence="seen", cause="known", remedy="this")  # type: ignore[arg-type]
        for kind, units in named.items()
    )
    return Record("MLP", "check", (Snapshot(0, (site,), ()),), findings)
