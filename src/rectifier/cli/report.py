"""``rectifier report``: the reports again, from a record file alone."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path
from typing import Annotated

import typer

from ..checkup.records import Record
from ..errors import RectifierValueError
from .frame import UNREADABLE, Debug, Force, Html, Outputs, guarded, note, why_unreadable
from .limits import FailOn, Limits, MaxDormant, MaxRare, MaxSilent
from .results import publish
from .status import USAGE

__all__ = ["report"]


@guarded
def report(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A file written with check --json.")],
    html: Html = None,
    force: Force = False,
    max_silent: MaxSilent = None,
    max_rare: MaxRare = None,
    max_dormant: MaxDormant = None,
    fail_on: FailOn = None,
    debug: Debug = False,
) -> None:
    """Print a record's report, and write its page.

    Neither the model nor PyTorch is needed: RECORD holds all that was seen.

    Example: rectifier report run.json --html run.html --max-silent 5%
    """
    limits = Limits.read("report", silent=max_silent, rare=max_rare, dormant=max_dormant, fail_on=fail_on)
    read = _read(record)
    outputs = Outputs("report", html=html, json=None, force=force)
    publish(read, outputs)
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
    except RectifierValueError as error:
        cause = error.__cause__
        reason = f"it is not JSON ({cause})" if isinstance(cause, JSONDecodeError) else "it is no record of a check-up"
    raise RectifierValueError(
        f"report: `RECORD` must be a file written with check --json; got {path!r}: {reason}. "
        "Make one with: rectifier check TARGET --json FILE"
    )
