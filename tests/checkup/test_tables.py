"""Records as Parquet: the same record back to the bit, a table for pandas, Polars and DuckDB, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rectifier import RectifierValueError
from rectifier.checkup import Finding, LayerVitals, Record, Snapshot
from rectifier.checkup.documents import ARRAYS

from .records_of import layer, site

NONE = replace(site([], site="none"), fired=np.zeros(0, dtype=np.int64))


@pytest.fixture
def record() -> Record:
    """Two looks; NaN, infinities and the largest and smallest numbers; arrays that are absent here and there."""
    odd = site([0, 7, 1000], site='a "b"\n<c>', nan=np.array([0, 1, 0]), sum_h=np.array([math.nan, 1 / 3, math.inf]))
    odd = replace(odd, min_z=np.array([-math.inf, -0.0, 5e-324]), max_z=np.array([1.7976931348623157e308, 0.0, 1.0]))
    odd = replace(
        odd, gradient_abs=np.array([math.nan, 0.0, 1e-300]), lived=np.array([0, 2**53 + 1, 9]), rms_h=math.nan
    )
    other = site([5], site="other", parameters={"negative_slope": 0.01}, dropout="dropout", normalised=True, inputs=4)
    early = Snapshot(1, (other, NONE), (layer(gradient_rms=math.inf, format="float16"),), 0.1, (1,))
    late = Snapshot(11, (odd, other, NONE), (layer(), LayerVitals("x", 1, 1, math.nan, None, None)), None, (2, 11))
    finding = Finding(
        "silent", "other", (0,), 1, "e", "c", "r", {"examples": math.inf}, None, {0: 11}, "step", "ill", "because"
    )
    return Record("Net", "watch", (early, late), (finding,), ("a line",), None, 7, {"numpy": "2"}, "box", "ünïcode")


def test_there_and_back_to_the_bit(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.parquet"
    assert record.to_parquet(path) == path
    again = Record.read(path)
    assert again.to_json() == record.to_json()
    for shot, other in zip(again.snapshots, record.snapshots, strict=True):
        for one, two in zip(shot.sites, other.sites, strict=True):
            for name in ARRAYS:
                got, wanted = getattr(one, name), getattr(two, name)
                assert (got is None) == (wanted is None), name
                if wanted is not None:
                    assert (got.dtype, got.tobytes()) == (wanted.dtype, wanted.tobytes()), name
    assert replace(again, snapshots=()) == replace(record, snapshots=())
    assert type(again.last.sites[1].parameters["negative_slope"]) is float


@pytest.mark.parametrize(
    "shots",
    [(), (Snapshot(0, (), ()),), (Snapshot(0, (NONE,), ()),)],
    ids=["none", "bare", "empty"],
)
def test_a_record_without_units(shots: tuple[Snapshot, ...], tmp_path: Path) -> None:
    record = Record("Net", "check", shots, stopped="ValueError: no")
    again = Record.read(record.to_parquet(tmp_path / "a"))
    assert again.to_json() == record.to_json()


def test_many_row_groups(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rectifier.checkup.tables._ROWS", 1)
    path = record.to_parquet(tmp_path / "a")
    assert pq.ParquetFile(path).num_row_groups == 2
    assert Record.read(path).to_json() == record.to_json()


def by_polars(path: Path) -> list[dict[str, Any]]:
    return polars.read_parquet(path).to_dicts()


def by_duckdb(path: Path) -> list[dict[str, Any]]:
    with duckdb.connect() as base:
        cursor = base.execute("select * from read_parquet(?) order by snapshot, site desc, unit", [str(path)])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def by_pandas(path: Path) -> list[dict[str, Any]]:
    # Without a type that knows nulls, pandas makes them NaN.
    return pandas.read_parquet(path, dtype_backend="pyarrow").astype(object).to_dict("records")


@pytest.mark.parametrize("reader", [by_pandas, by_polars, by_duckdb])
def test_the_table_is_tidy_for_every_reader(
    record: Record, tmp_path: Path, reader: Callable[[Path], list[dict[str, Any]]]
) -> None:
    rows = reader(record.to_parquet(tmp_path / "record.parquet"))
    if reader is by_duckdb:
        rows = [rows[0], *rows[2:], rows[1]]  # by name: "other" before 'a "b"'
    keys = ["snapshot", "step", "site", "unit", "examples", "fired"]
    assert list(rows[0]) == [*keys[:-1], *ARRAYS]
    odd = 'a "b"\n<c>'
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (0, 1, "other", 0, 1000, 5),
        (1, 11, odd, 0, 1000, 0),
        (1, 11, odd, 1, 1000, 7),
        (1, 11, odd, 2, 1000, 1000),
        (1, 11, "other", 0, 1000, 5),
    ]
    assert rows[3]["sum_h"] == math.inf and rows[1]["min_z"] == -math.inf
    assert math.isnan(rows[1]["sum_h"]) and math.isnan(rows[1]["gradient_abs"])
    assert rows[2]["lived"] == 2**53 + 1
    for row in (rows[0], rows[4]):
        assert row["gradient_abs"] is None or row["gradient_abs"] is pandas.NA


def test_the_findings_can_be_read_without_rectifier(record: Record, tmp_path: Path) -> None:
    path = record.to_parquet(tmp_path / "record.parquet")
    with duckdb.connect() as base:
        ((text,),) = base.execute(
            "select decode(value) from parquet_kv_metadata(?) where decode(key) = 'rectifier'", [str(path)]
        ).fetchall()
    assert json.loads(text)["findings"] == json.loads(record.to_json())["findings"]


def test_an_existing_file_is_kept_without_force(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("mine")
    with pytest.raises(RectifierValueError) as caught:
        record.to_parquet(path)
    assert str(caught.value) == (
        f"write: `path` must not exist yet; got {str(path)!r}, which does. "
        "Pass force=True (--force) to replace it, or another name."
    )
    assert path.read_text() == "mine"
    assert Record.read(record.to_parquet(path, force=True)).name == "ünïcode"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def refusal(path: Path) -> str:
    with pytest.raises(RectifierValueError) as caught:
        Record.read(path)
    return str(caught.value)


def test_another_table_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    assert refusal(path) == (
        f"record: the Parquet file must hold a record; got {str(path)!r}, which is another table. "
        "Pass a file written with --parquet."
    )


def test_a_truncated_file(record: Record, tmp_path: Path) -> None:
    whole = record.to_parquet(tmp_path / "whole").read_bytes()
    path = tmp_path / "part"
    for size in (4, 11, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        text = refusal(path)
        start = (
            "record: the Parquet file must be whole and hold a record of schema 'rectifier-record/1'; "
            f"reading {str(path)!r} failed with ArrowInvalid("
        )
        assert text.startswith(start) and text.endswith("). Pass a file written with --parquet."), size


def test_a_page_that_the_disk_has_changed(record: Record, tmp_path: Path) -> None:
    path = record.to_parquet(tmp_path / "a")
    whole = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(list(pq.read_schema(path).names).index("max_z"))
    whole[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(whole)
    assert "CRC checksum verification failed" in refusal(path)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table], **texts: str) -> Path:
    """The file with its table changed and texts of its metadata replaced."""
    with pq.ParquetFile(path) as file:
        table = change(file.read())
        kept = {key.decode(): value.decode() for key, value in file.metadata.metadata.items()}
    with pq.ParquetWriter(path, table.schema.remove_metadata(), store_schema=False) as writer:
        writer.write_table(table.replace_schema_metadata())
        writer.add_key_value_metadata({**kept, **{key.replace("_", "."): text for key, text in texts.items()}})
    return path


def test_another_version_of_the_schema(record: Record, tmp_path: Path) -> None:
    path = record.to_parquet(tmp_path / "a")
    assert refusal(rewritten(path, lambda table: table, rectifier='{"schema": "rectifier-record/2"}')) == (
        "record: the schema must be 'rectifier-record/1'; got 'rectifier-record/2'. Read it with the version of "
        "rectifier that wrote it, or make the record anew."
    )


@pytest.mark.parametrize(
    ("change", "texts", "why"),
    [
        (lambda table: table.slice(1), {}, "ValueError('its rows do not stand as they were written')"),
        (lambda table: table.slice(0, 2), {}, "ValueError('its rows do not stand as they were written')"),
        (lambda table: table.drop_columns(["fired"]), {}, "KeyError('Field \"fired\" does not exist in schema')"),
        (lambda table: table, {"rectifier": "{"}, "JSONDecodeError("),
        (lambda table: table, {"rectifier": "{}"}, "KeyError('schema')"),
        (lambda table: table, {"rectifier_snapshots": "eA=="}, "error('Error -5"),
    ],
)  # fmt: skip
def test_a_record_that_was_changed(
    record: Record, tmp_path: Path, change: Any, texts: dict[str, str], why: str
) -> None:
    path = record.to_parquet(tmp_path / "a")
    text = refusal(rewritten(path, change, **texts))
    assert f"reading {str(path)!r} failed with {why}" in text


def test_without_pyarrow_its_extra_is_named(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record.to_parquet(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    acts: list[Callable[[], object]] = [lambda: Record.read(path), lambda: record.to_parquet(tmp_path / "b")]
    for act in acts:
        with pytest.raises(ModuleNotFoundError) as caught:
            act()
        assert str(caught.value) == (
            'record: a Parquet file needs pyarrow, which is not installed. Run: pip install "rectifier[checkup]"'
        )
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
