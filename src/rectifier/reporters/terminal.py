"""A record in the terminal, through Rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from ..checkup.records import Finding, Record
from ..checkup.weights.names import printable
from . import saved
from .html import SITE_COLUMNS, site_rows
from .words import TITLES, first_silence, ordered, spot, summary, told_severity, units

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console", "print_record", "summary"]

# SITE_COLUMNS in few letters: the table must fit 80 columns. The line below it says what they mean.
_COLUMNS = ("Site", "Rectifier", "Units", "Examples", "Never", "Rare", "Always", "Median", "Gradient")
_LEGEND = (
    "Never, always: units that fired at no, at every example. Median: of the firing rates. Gradient: RMS of ∂loss/∂h."
)

# A terminal is read from the bottom up: more findings than this hide the summary.
MAX_FINDINGS = 30


def console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """A Rich console that leaves a broken pipe to its caller; Rich's own ends the process with status 1."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - called while the BrokenPipeError is handled

    return Quiet(file=file, stderr=stderr, highlight=False)


def print_record(record: Record, console: Console) -> None:
    """Print the summary, a table of the sites, the findings, and what was not observed.

    Every name goes through Rich as plain text, so brackets in it are printed, not read as markup, and what would steer
    the terminal is shown as an escape.
    """
    from rich.text import Text

    console.print(Text(printable(summary(record)), style="bold"))
    if record.source == "weights":
        _print_saved(record, console)
    elif record.snapshots and record.last.sites:
        console.print()
        console.print(_sites(record))
        console.print(Text(_LEGEND, style="dim"))
    found = ordered(record.findings)
    for finding in found[:MAX_FINDINGS]:
        console.print()
        console.print(_finding(finding))
    if len(found) > MAX_FINDINGS:
        console.print(Text(f"\nand {len(found) - MAX_FINDINGS} more findings: the page and the JSON record have all."))
    if record.not_observed:
        console.print(Text("\nNot observed (never taken as zero)", style="bold"))
        for line in record.not_observed:
            console.print(Text(printable(f"  {line}")))


def _print_saved(record: Record, console: Console) -> None:
    """The sites that a finding names; without any, none."""
    from rich.text import Text

    rows = saved.site_rows(record, found=True)
    if rows:
        console.print()
        console.print(_table(saved.SITE_COLUMNS, rows[:MAX_FINDINGS], bold=saved.SITE_COLUMNS.index("Closed")))
        left = len(record.last.sites) - len(rows[:MAX_FINDINGS])
        if left:
            console.print(Text(f"and {left} site{'' if left == 1 else 's'} more", style="dim"))


def _sites(record: Record) -> Table:
    return _table(_COLUMNS, site_rows(record), bold=SITE_COLUMNS.index("Never fired"))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, bold: int) -> Table:
    """A table of plain text; numbers other than 0 in the column ``bold`` stand out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for place, column in enumerate(columns):
        if place < 2:
            table.add_column(column, overflow="fold", min_width=9)
        else:
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [Text(printable(cell)) for cell in row]
        if row[bold] not in ("0", "–"):
            cells[bold].stylize("bold red")
        table.add_row(*cells)
    return table


def _finding(finding: Finding) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=12, no_wrap=True)
    grid.add_column(overflow="fold")
    style = "bold red" if finding.ill else "bold yellow"
    told = units(finding.units, finding.total, more="all of them with --json or on the page")
    which = f", {'unit' if len(finding.units) == 1 else 'units'} {told}" if finding.units else ""
    title = Text(TITLES[finding.kind], style=style)
    # The first row spans both columns by being a grid of its own.
    outer = Table.grid()
    outer.add_column(overflow="fold")
    outer.add_row(Text.assemble(title, printable(f" at {spot(finding.site, finding.kind)}{which}")))
    parts = [
        ("evidence", finding.evidence),
        ("proof", finding.proof),
        ("since", first_silence(finding.since)),
    ]
    if finding.fault or finding.severity == "warning":
        parts.append(("severity", told_severity(finding)))
    parts += [("cause", finding.cause), ("what helps", finding.remedy)]
    for name, text in parts:
        if text:
            grid.add_row(Text(f"  {name}", style="dim"), Text(printable(text)))
    outer.add_row(grid)
    return outer
