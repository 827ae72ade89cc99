"""Records as JSON documents, there and back.

A document is the dataclasses of :mod:`.records` as plain dictionaries: NaN and infinities are the strings "nan", "inf"
and "-inf", as JSON has no numbers for them. A field is read by its type, so that one which is added there needs no
line here; one that an older record lacks takes its default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import RectifierValueError
from .records import Finding, LayerVitals, Receipt, Record, SiteVitals, Snapshot

__all__ = [
    "ARRAYS",
    "NotARecord",
    "REQUIRED",
    "SCHEMA",
    "from_json",
    "plain",
    "plain_receipt",
    "record_of",
    "refuse_other_schema",
    "to_json",
]

SCHEMA = "rectifier-record/1"

_DTYPES = {"Ints": np.int64, "Floats": np.float64}
_KINDS = {field.name: str(field.type) for field in fields(SiteVitals)}
#: Fields of SiteVitals that hold one value a unit → their dtype.
ARRAYS: Mapping[str, Any] = {
    name: _DTYPES[kind.removesuffix(" | None")]
    for name, kind in _KINDS.items()
    if kind.removesuffix(" | None") in _DTYPES
}
#: Those of them that every record has.
REQUIRED = frozenset(name for name in ARRAYS if _KINDS[name] in _DTYPES)

# Not in a document: the certificate is a file of its own, and an undo is code.
_LEFT_OUT = frozenset({"certificate", "undo"})


class NotARecord(RectifierValueError):
    """A text or a file that holds no record that can be read; ``reason`` says why in a few words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def to_json(record: Record) -> str:
    """See :meth:`.Record.to_json`."""
    return json.dumps({"schema": SCHEMA, **plain(record)}, indent=1, allow_nan=False)


def from_json(text: str) -> Record:
    """See :meth:`.Record.from_json`."""
    try:
        document = json.loads(text)
        refuse_other_schema(document.get("schema"))
        return record_of({key: value for key, value in document.items() if key != "schema"})
    except NotARecord:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = (
            f"it is not JSON ({error})" if isinstance(error, json.JSONDecodeError) else "it is no record of a check-up"
        )
        raise NotARecord(
            f"record: the text must be a record of schema {SCHEMA!r}; reading it failed with {error!r}. "
            "Pass a file written with --json.",
            why,
        ) from error


def refuse_other_schema(schema: object) -> None:
    """Raise RectifierValueError for a record of another version, KeyError for what is no record at all."""
    if schema == SCHEMA:
        return
    if isinstance(schema, str) and schema.startswith("rectifier-record/"):
        raise NotARecord(
            f"record: the schema must be {SCHEMA!r}; got {schema!r}. Read it with the version of rectifier that wrote "
            "it, or make the record anew.",
            f"it is a record of another version ({schema!r})",
        )
    raise KeyError("schema")


def plain_receipt(receipt: Receipt) -> dict[str, Any]:
    """See :meth:`.Receipt.to_dict`."""
    document: dict[str, Any] = plain(receipt)
    return document


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it; dataclasses of records as dictionaries."""
    if isinstance(value, (SiteVitals, LayerVitals, Snapshot, Finding, Record, Receipt)):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name not in _LEFT_OUT}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def record_of(document: Mapping[str, Any]) -> Record:
    """The record of a document without its schema; raises KeyError, TypeError or ValueError where it is none."""
    return Record(
        **{
            **document,
            "snapshots": tuple(_snapshot(item) for item in document["snapshots"]),
            "findings": tuple(_finding(item) for item in document["findings"]),
            "not_observed": tuple(document["not_observed"]),
        }
    )


def _numbers(kind: type, document: Mapping[str, Any]) -> dict[str, float | None]:
    """The fields that are one float each: "nan" and "inf" are strings in a document, and 1.0 may have become 1."""
    names = [field.name for field in fields(kind) if str(field.type) in ("float", "float | None")]
    return {name: None if document[name] is None else float(document[name]) for name in names if name in document}


def _snapshot(document: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        **{
            **document,
            **_numbers(Snapshot, document),
            "sites": tuple(_site(item) for item in document["sites"]),
            "layers": tuple(LayerVitals(**{**item, **_numbers(LayerVitals, item)}) for item in document["layers"]),
            "looked": tuple(document.get("looked", ())),
        }
    )


def _site(document: Mapping[str, Any]) -> SiteVitals:
    return SiteVitals(
        **{
            **document,
            **_numbers(SiteVitals, document),
            "parameters": {key: float(value) for key, value in document["parameters"].items()},
            **{
                name: _array(document.get(name), dtype)
                for name, dtype in ARRAYS.items()
                if document.get(name) is not None or name in REQUIRED
            },
        }
    )


def _array(values: Any, dtype: Any) -> Any:
    if isinstance(values, np.ndarray):  # out of a table
        return values
    return np.array([float(item) for item in values] if dtype is np.float64 else list(values), dtype=dtype)


def _finding(document: Mapping[str, Any]) -> Finding:
    return Finding(
        **{
            **document,
            "units": tuple(document["units"]),
            "measures": {key: float(value) for key, value in document["measures"].items()},
            "since": {int(key): int(value) for key, value in document["since"].items()},
        }
    )
