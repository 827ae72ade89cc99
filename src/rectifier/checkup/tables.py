"""Records as Parquet files: one tidy table that every reader of tables can open, and the whole record in it.

The table has one row a (snapshot, site, unit), in that order. What belongs to a site, a snapshot or the whole record
stands in the file's key-value metadata: under ``rectifier`` the document of :mod:`.documents` without its snapshots,
under ``rectifier.snapshots`` those without their arrays (JSON, deflated, base64: there is one entry a site and
snapshot). So one file is the record, and :meth:`.Record.read` makes the same one of it, to the bit.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .documents import ARRAYS, SCHEMA, NotARecord, plain, record_of, refuse_other_schema
from .records import Record, SiteVitals

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAGIC", "read", "write"]

#: The first (and last) bytes of every Parquet file.
MAGIC = b"PAR1"

_KEY, _SNAPSHOTS = "rectifier", "rectifier.snapshots"
#: Rows that are held in memory at once, at least one snapshot's.
_ROWS = 1_000_000


def write(record: Record, path: Path) -> None:
    """Write the record to a file, which is replaced where it exists; see :meth:`.Record.to_parquet`."""
    _, pq = _pyarrow()
    bare, snapshots = _documents(record)
    schema = _schema()
    integers = [field.name for field in schema if field.type in ("int32", "int64")]
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=["site"],
        # The bytes of a number by their place in it: most values were float32 once, so half of the bytes are 0.
        use_byte_stream_split=[field.name for field in schema if field.type == "double"],
        column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        # Else Arrow's own copy of the schema is written too; the types are plain.
        store_schema=False,
        # A number that the disk has changed would be read like any other.
        write_page_checksum=True,
    ) as writer:
        for rows in _batches(record):
            table = _table(rows, schema)
            writer.write_table(table, row_group_size=table.num_rows or None)
        writer.add_key_value_metadata({_KEY: bare, _SNAPSHOTS: snapshots})


def read(path: Path) -> Record:
    """The record in a Parquet file.

    Raises RectifierValueError where it is damaged, holds no record, or one that was changed; OSError where it cannot be
    read.
    """
    pa, pq = _pyarrow()
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            texts = file.metadata.metadata or {}
            if _KEY.encode() not in texts:
                raise NotARecord(
                    f"record: the Parquet file must hold a record; got {str(path)!r}, which is another table. "
                    "Pass a file written with --parquet.",
                    "it is another table",
                )
            document = json.loads(texts[_KEY.encode()])
            refuse_other_schema(document.pop("schema"))
            snapshots = zlib.decompress(base64.b64decode(texts[_SNAPSHOTS.encode()]))
            document["snapshots"] = json.loads(snapshots)
            _fill(document["snapshots"], file)
            return record_of(document)
    except NotARecord:
        raise
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's; those of a damaged page have none
            raise
        raise NotARecord(
            f"record: the Parquet file must be whole and hold a record of schema {SCHEMA!r}; reading {str(path)!r} "
            f"failed with {error!r}. Pass a file written with --parquet.",
            f"it is Parquet, but not a whole record ({' '.join(str(error).split()).rstrip('.')})",
        ) from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'record: a Parquet file needs pyarrow, which is not installed. Run: pip install "rectifier[checkup]"',
            name="pyarrow",
        ) from error
    return pa, pq


def _schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {
        "snapshot": pa.int32(),
        "step": pa.int64(),
        "site": pa.string(),
        "unit": pa.int32(),
        "examples": pa.int64(),
        **{name: pa.float64() if dtype is np.float64 else pa.int64() for name, dtype in ARRAYS.items()},
    }
    return pa.schema(kinds.items())


def _documents(record: Record) -> tuple[str, str]:
    """The record without its snapshots, and these without their arrays: which there are, and for how many units."""
    bare = {"schema": SCHEMA, **plain(replace(record, snapshots=()))}
    snapshots = [
        {
            **plain(replace(shot, sites=())),
            "sites": [
                {
                    **{name: plain(value) for name, value in vars(site).items() if name not in ARRAYS},
                    "units": site.units,
                    "arrays": [name for name in ARRAYS if getattr(site, name) is not None],
                }
                for site in shot.sites
            ],
        }
        for shot in record.snapshots
    ]
    packed = zlib.compress(json.dumps(snapshots, allow_nan=False).encode())
    return json.dumps(bare, allow_nan=False), base64.b64encode(packed).decode("ascii")


_Row = tuple[int, int, SiteVitals]


def _batches(record: Record) -> Iterator[list[_Row]]:
    """(number of the snapshot, its step, site) in the order of the rows, some snapshots at a time."""
    rows: list[_Row] = []
    for number, shot in enumerate(record.snapshots):
        rows += [(number, shot.step, site) for site in shot.sites]
        if sum(site.units for _, _, site in rows) >= _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _table(rows: Iterable[_Row], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    rows = tuple(rows)
    sizes = [site.units for _, _, site in rows]

    def each(values: Iterable[int], dtype: Any) -> Any:
        return np.repeat(np.array(tuple(values), dtype=dtype), sizes)

    columns: dict[str, Any] = {
        "snapshot": each((number for number, _, _ in rows), np.int32),
        "step": each((step for _, step, _ in rows), np.int64),
        "site": pa.array([site.site for _, _, site in rows], pa.string()).take(
            pa.array(each(range(len(rows)), np.int64))
        ),
        "unit": np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
        "examples": each((site.examples for _, _, site in rows), np.int64),
    }
    for name in ARRAYS:
        columns[name] = pa.chunked_array(
            [_column(getattr(site, name), site.units, schema.field(name).type) for _, _, site in rows]
        )
    return pa.table(columns, schema=schema)


def _column(values: Any, units: int, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    # A null is what was not measured; a NaN is a value.
    return pa.nulls(units, kind) if values is None else pa.array(values, kind, from_pandas=False)


def _fill(snapshots: list[dict[str, Any]], file: Any) -> None:
    """Give the sites of bare documents their arrays back."""
    groups = iter(range(file.num_row_groups))
    table, start = None, 0
    for number, site in ((number, site) for number, shot in enumerate(snapshots) for site in shot["sites"]):
        units, present = site.pop("units"), site.pop("arrays")
        if units and (table is None or start == table.num_rows):
            # A row group holds whole snapshots.
            table, start = file.read_row_group(next(groups, -1), ["snapshot", "unit", *ARRAYS]), 0
        values = {name: _taken(table, name, start, units) for name in ("snapshot", "unit", *present)}
        if not np.array_equal(values.pop("unit"), np.arange(units)) or np.any(values.pop("snapshot") != number):
            raise ValueError("its rows do not stand as they were written")
        site.update(values)
        start += units


def _taken(table: pa.Table | None, name: str, start: int, units: int) -> Any:
    if table is None:
        return np.zeros(0, dtype=ARRAYS.get(name, np.int64))
    column = table.column(name).slice(start, units)
    if column.null_count:
        raise ValueError(f"{name} lacks values")
    return column.to_numpy()
