"""A record that the check-up itself made, through the reports: the units planted dead are the units reported."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import rectifier
from rectifier.checkup.records import Record
from rectifier.reporters import html

torch = pytest.importorskip("torch")


def test_planted_units_are_named(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        model[0].bias[[2, 3, 4, 11]] = -100.0
    inputs = torch.randn((256, 8), generator=generator)
    record = rectifier.check(model, inputs.split(64))
    file = io.StringIO()
    rectifier.report(record, html=tmp_path / "page.html", json=tmp_path / "record.json", file=file)
    assert "units 2–4, 11 (4 of 16)" in file.getvalue()
    assert file.getvalue().startswith("4 of 16 units are ")
    assert {fact.label: fact.value for fact in html.facts(record)}["units at 1 site"] == "16"
    assert html.site_rows(Record.read(tmp_path / "record.json")) == html.site_rows(record)
    assert "2–4, 11 (4 of 16)" in (tmp_path / "page.html").read_text(encoding="utf-8")
