"""A record made public: printed, and written to the files asked for."""

from __future__ import annotations

import sys

from ..checkup.records import Record
from .frame import Outputs, note
from .limits import Limits

__all__ = ["publish"]


def publish(record: Record, outputs: Outputs, limits: Limits) -> None:
    """Print the report, then write the files; the limits are what a pipeline's report is about.

    The report goes to standard output; where ``--json -`` gives that to the record, it goes to standard error.
    """
    from ..reporters import html, junit, terminal

    terminal.print_record(record, terminal.console(stderr=outputs.json_to_stdout))
    sys.stdout.flush()
    if outputs.json_to_stdout:
        print(record.to_json())
    if outputs.html is not None:
        write(outputs, outputs.html, html.render(record))
    if outputs.json is not None:
        write(outputs, outputs.json, record.to_json() + "\n")
    if outputs.parquet is not None:
        record.to_parquet(outputs.parquet, force=outputs.force)
        note(f"Wrote {outputs.parquet}")
    if outputs.junit is not None:
        write(outputs, outputs.junit, junit.render(record, limits.cases(record)))
    if outputs.certificate is not None:
        if record.certificate is None:
            note("No certificate: no unit was proved dead by a bound.")
        else:
            write(outputs, outputs.certificate, record.certificate.document + "\n")


def write(outputs: Outputs, path: str, text: str) -> None:
    """Write one of the files asked for and say so."""
    from .. import _files

    _files.write(path, text, force=outputs.force)
    note(f"Wrote {path}")
