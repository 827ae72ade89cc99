"""Reports: a record in the terminal, as a page, as JSON, Parquet and JUnit's XML, each made from a record alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import IO

from ..checkup.records import Record
from ..errors import RectifierTypeError, RectifierValueError

__all__ = ["report"]


def report(
    record: Record | str | Path,
    *,
    html: str | Path | None = None,
    json: str | Path | None = None,
    parquet: str | Path | None = None,
    junit: str | Path | None = None,
    force: bool = False,
    file: IO[str] | None = None,
) -> None:
    """Print a record in plain words, and write its page and other forms where asked.

    Arguments
        record: what ``check`` or ``watch`` returned, or the path of a record (JSON or Parquet).
        html: file for the self-contained page.
        json: file for the record as JSON.
        parquet: file for the record as a Parquet table (:meth:`.Record.to_parquet`).
        junit: file for the faults as JUnit's XML; one that is ill is a failure.
        force: True to replace files that exist.
        file: where to print; standard output by default.

    Raises RectifierTypeError where ``record`` is neither, and RectifierValueError where a file exists (without
    ``force``), cannot be written, or is not a record. Files are checked first: an error leaves nothing behind.

    >>> from rectifier.checkup.records import Record
    >>> report(Record(model="MLP", source="check", snapshots=()))
    Nothing was observed, so nothing can be said about any unit.
    """
    from .._files import check_writable, write
    from .html import render
    from .junit import render as render_junit
    from .terminal import console, print_record

    given = {"html": html, "json": json, "parquet": parquet, "junit": junit}
    named = {name: path for name, path in given.items() if path is not None}
    for (one, path), (other, second) in itertools.combinations(named.items(), 2):
        if Path(path).resolve() == Path(second).resolve():
            raise RectifierValueError(
                f"report: `{one}` and `{other}` must be two files; got {str(path)!r} for both. Give one another name."
            )
    for name, path in named.items():
        if isinstance(record, (str, Path)) and Path(path).resolve() == Path(record).resolve():
            raise RectifierValueError(
                f"report: `{name}` must not be the record that is read; got {str(path)!r}. Give it another name."
            )
        check_writable(path, force)
    found = _read(record)
    makers = {"html": render, "json": Record.to_json, "junit": render_junit}
    # All texts exist before any file does.
    ready = [(named[name], make(found)) for name, make in makers.items() if name in named]
    print_record(found, console(file))
    if parquet is not None:
        found.to_parquet(parquet, force=force)
    for path, text in ready:
        write(path, text, force=force)


def _read(record: Record | str | Path) -> Record:
    if isinstance(record, Record):
        return record
    if not isinstance(record, (str, Path)):
        raise RectifierTypeError(
            f"report: `record` must be a Record or the path of one; got {type(record).__name__}. "
            "Pass what check or watch returned, or a file written with --json or --parquet."
        )
    path = Path(record)
    if not path.is_file():
        raise RectifierValueError(
            f"report: `record` must be a file that exists; got {str(path)!r}. "
            "Pass a file written with --json or --parquet."
        )
    try:
        return Record.read(path)
    except UnicodeDecodeError as error:
        raise RectifierValueError(
            f"report: `record` must be a record as JSON or Parquet; got {str(path)!r}, which is neither. "
            "Pass a file written with --json or --parquet."
        ) from error
