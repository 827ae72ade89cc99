"""The command ``rectifier``: one verb per file, each a thin call of the library.

Data goes to standard output, prose and progress to standard error, and every verb ends with one of the statuses of
:mod:`.status`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from .status import BROKEN_PIPE, FINDINGS, INTERRUPTED, USAGE

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the process with its exit status."""
    # A stream that the shell has closed (>&-) is None.
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show ƒ or ○ gets a question mark, not an error.
            stream.reconfigure(errors="replace")
    try:
        from .app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(
            f"rectifier: the command line needs {error.name}, which is not installed. "
            'Run: pip install "rectifier[checkup]"',
            file=sys.stderr,
        )
        sys.exit(USAGE)
    try:
        status = _run(app)
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


def _run(app: Callable[..., object]) -> str | int | None:
    """The command's exit status; what it printed is written out, where a failure of that can still be told."""
    from .frame import UNWRITTEN, note, unwritten

    status: str | int | None = 0
    try:
        app(prog_name="rectifier")
    except SystemExit as leaving:
        # Click, too, makes a broken pipe a 1, which is a verdict here.
        status = BROKEN_PIPE if isinstance(leaving.__context__, BrokenPipeError) else leaving.code
    except OSError as error:  # of a help text
        if error.errno not in UNWRITTEN:
            raise
        note(f"Error: {unwritten(error)}")
        status = USAGE
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            status = BROKEN_PIPE
            _discard(stream)
        except OSError as error:
            _discard(stream)
            if status in (0, FINDINGS) and stream is sys.stdout:  # else it was told
                status = USAGE
                with contextlib.suppress(OSError):
                    note(f"Error: {unwritten(error)}")
    return status


def _discard(stream: TextIO) -> None:
    """What a stream could not get rid of goes nowhere, so that the interpreter's end is quiet."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
