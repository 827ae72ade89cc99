"""Records: queries, JSON there and back, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import Finding, Receipt, Record


@pytest.fixture
def record() -> Record:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with rectifier.watch(model, optimizer, every=1, name="run", seed=3) as watching:
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(model(torch.randn(8, 3)), torch.zeros(8, 1)).backward()
            optimizer.step()
    return watching.record


def test_json_there_and_back(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(record.to_json(), encoding="utf-8")
    again = Record.read(path)
    assert again.to_json() == record.to_json()
    assert (again.name, again.seed, again.source, again.versions) == ("run", 3, "watch", record.versions)
    site, other = again.last.sites[0], record.last.sites[0]
    assert site.parameters == other.parameters
    for name in ("fired", "nan", "sum_h", "min_z", "gradient_abs", "bias", "weight_norm", "moved", "scale", "shift"):
        assert getattr(site, name).dtype == getattr(other, name).dtype
        np.testing.assert_array_equal(getattr(site, name), getattr(other, name))
    assert again.last.sites[1].parameters["negative_slope"] == record.last.sites[1].parameters["negative_slope"]
    assert record.snapshots[0].sites[0].moved is None
    assert set(record.versions) == {"rectifier", "python", "numpy", "torch"}


def test_older_records_without_the_later_fields_can_be_read(record: Record) -> None:
    document = json.loads(record.to_json())
    for snapshot in document["snapshots"]:
        for site in snapshot["sites"]:
            for name in ("upstream", "bias", "weight_norm", "moved", "scale", "shift"):
                del site[name]
        for layer in snapshot["layers"]:
            for name in ("first", "input_mean", "input_rms", "values"):
                del layer[name]
    assert Record.from_json(json.dumps(document)).last.sites[0].bias is None


def test_queries(record: Record) -> None:
    finding = Finding("silent", "2", (0, 1), 4, "", "", "")
    told = record.with_findings((finding, Finding("rare", "2", (1, 2), 4, "", "", "")))
    assert told.of("silent") == (finding,)
    assert told.share("silent") == 2 / 8
    assert told.share("silent", "rare") == 3 / 8
    assert math.isnan(Record("Net", "check", ()).share("silent"))


def test_errors(record: Record) -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        _ = Record("Net", "check", ()).last
    assert str(caught.value) == (
        "record: `last` needs a record with a snapshot; got one without. Observe at least one batch."
    )
    for text in ("", "[]", '{"schema": "other"}', record.to_json().replace("snapshots", "snap")):
        with pytest.raises(rectifier.RectifierValueError) as caught:
            Record.from_json(text)
        assert str(caught.value).startswith("record: the text must be a record of schema 'rectifier-record/1'; ")
        assert str(caught.value).endswith(". Pass a file written with --json.")


def test_a_record_of_another_version_says_so(record: Record) -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        Record.from_json(record.to_json().replace("rectifier-record/1", "rectifier-record/2", 1))
    assert str(caught.value) == (
        "record: the schema must be 'rectifier-record/1'; got 'rectifier-record/2'. Read it with the version of "
        "rectifier that wrote it, or make the record anew."
    )


def test_a_record_without_what_every_record_has_is_none(record: Record) -> None:
    document = json.loads(record.to_json())
    document["snapshots"][0]["sites"][0]["fired"] = None
    with pytest.raises(rectifier.RectifierValueError, match="NoneType"):
        Record.from_json(json.dumps(document))


def test_a_receipt_as_a_dictionary_is_all_of_it_but_the_undo() -> None:
    receipt = Receipt("recycle", "act", (1, 4), "drawn anew", math.nan, 9, 9, lambda: None, ("other: no layer",))
    assert json.loads(json.dumps(receipt.to_dict(), allow_nan=False)) == {
        "act": "recycle",
        "site": "act",
        "units": [1, 4],
        "change": "drawn anew",
        "output_change": "nan",
        "parameters_before": 9,
        "parameters_after": 9,
        "skipped": ["other: no layer"],
        "sites": {},
        "evidence": "",
        "proved": None,
        "flops": None,
        "seconds": None,
    }
