"""``rectifier report``: the reports again, from a record file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..checkup.documents import NotARecord
from ..checkup.records import Record
from ..errors import RectifierValueError
from .frame import UNREADABLE, Debug, Force, Html, Json, Junit, Outputs, Parquet, guarded, note, why_unreadable
from .limits import FailOn, Limits, MaxDormant, MaxRare, MaxSilent
from .results import publish
from .status import USAGE

__all__ = ["report"]


@guarded
def report(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A file written with --json or --parquet.")],
    html: Html = None,
    json: Json = None,
    parquet: Parquet = None,
    junit: Junit = None,
    force: Force = False,
    max_silent: MaxSilent = None,
    max_rare: MaxRare = None,
    max_dormant: MaxDormant = None,
    fail_on: FailOn = None,
    debug: Debug = False,
) -> None:
    """Print a record's report, write its page, and turn it into other forms.

    Neither the model nor PyTorch is needed: RECORD holds all that was seen. Its content tells whether it is JSON or
    Parquet; it is never written over.

    Example: rectifier report run.parquet --html run.html --junit run.xml --max-silent 5%
    """
    limits = Limits.read("report", silent=max_silent, rare=max_rare, dormant=max_dormant, fail_on=fail_on)
    reads = {record: "the record that is read"}
    outputs = Outputs("report", html=html, json=json, parquet=parquet, junit=junit, force=force, reads=reads)
    read = _read(record)
    publish(read, outputs, limits)
    if read.stopped is not None:
        stopped = read.stopped.rstrip(".")
        note(f"Error: report: the check-up was stopped: {stopped}. The record holds what was seen until then.")
        raise typer.Exit(USAGE)
    raise typer.Exit(limits.status(read))


def _read(path: str) -> Record:
    try:
        return Record.read(Path(path))
    except UNREADABLE as error:
        reason = why_unreadable(error)
    except NotARecord as error:
        reason = error.reason
    raise RectifierValueError(
        f"report: `RECORD` must be a file written with check --json or --parquet; got {path!r}: {reason}. "
        "Make one with: rectifier check TARGET --json FILE"
    )
