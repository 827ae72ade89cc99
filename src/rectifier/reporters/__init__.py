"""Reports: a record in the terminal, as a page, as JSON. Everything here is made from a record alone."""

from __future__ import annotations

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
    force: bool = False,
    file: IO[str] | None = None,
) -> None:
    """Print a record in plain words, and write its page and its JSON where asked.

    Arguments
        record: what ``check`` or ``watch`` returned, or the path of a JSON record.
        html: file for the self-contained page.
        json: file for the record as JSON.
        force: True to replace files that exist.
        file: where to print; standard output by default.

    Raises RectifierTypeError where ``record`` is neither, and RectifierValueError where a file exists (without
    ``force``), cannot be written, or is not a record. Files are checked first: an error leaves nothing behind.

    >>> from rectifier.checkup.records import Record
    >>> report(Record(model="MLP", source="check", snapshots=()))
    Nothing was observed, so nothing can be said about any unit.
    """
    from .files import check_writable, write
    from .html import render
    from .terminal import console, print_record

    if html is not None and json is not None and Path(html).resolve() == Path(json).resolve():
        raise RectifierValueError(
            f"report: `html` and `json` must be two files; got {str(html)!r} for both. Give one another name."
        )
    for path in (html, json):
        if path is not None:
            check_writable(path, force)
    found = _read(record)
    texts = [(path, make) for path, make in ((html, render), (json, Record.to_json)) if path is not None]
    # Both texts exist before either file does.
    ready = [(path, make(found)) for path, make in texts]
    print_record(found, console(file))
    for path, text in ready:
        write(path, text, force=force)


def _read(record: Record | str | Path) -> Record:
    if isinstance(record, Record):
        return record
    if not isinstance(record, (str, Path)):
        raise RectifierTypeError(
            f"report: `record` must be a Record or the path of one; got {type(record).__name__}. "
            "Pass what check or watch returned, or a file written with --json."
        )
    path = Path(record)
    if not path.is_file():
        raise RectifierValueError(
            f"report: `record` must be a file that exists; got {str(path)!r}. Pass a file written with --json."
        )
    try:
        return Record.read(path)
    except UnicodeDecodeError as error:
        raise RectifierValueError(
            f"report: `record` must be a JSON record in UTF-8; got {str(path)!r}, which is not text. "
            "Pass a file written with --json."
        ) from error
