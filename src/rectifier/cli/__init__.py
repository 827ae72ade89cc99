"""The command ``rectifier``: one verb per file, each a thin call of the library.

Data goes to standard output, prose and progress to standard error, and every verb ends with one of the statuses of
:mod:`.status`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

from .status import BROKEN_PIPE, INTERRUPTED, USAGE

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the process with its exit status."""
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
        try:
            app(prog_name="rectifier")
        finally:
            # Written out here, where a closed pipe can still be caught, and not at the interpreter's end.
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
