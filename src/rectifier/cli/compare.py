"""``rectifier compare``: what every installed framework does with the family, measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from .frame import Debug, Force, Json, Outputs, guarded, listed, note
from .results import write

if TYPE_CHECKING:
    from rich.console import Console

    from ..compare import Comparison
    from ..compare.table import Sheet

__all__ = ["compare"]


@guarded
def compare(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Functions; all ten without.")] = None,
    framework: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Of rectifier,numpy,scipy,torch,torch-compiled,tensorflow,keras,jax,onnxruntime; all without.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Where errors are measured: of float32 (without),float64,float16,bfloat16."),
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=0, help="Inputs of each error; 0 measures no errors.")
    ] = 100_000,
    json: Json = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Measure what every installed framework does, and print the table of conventions.

    Defaults, derivatives at kinks, NaN, infinities, the sign of zero and subnormals (by position in an array, where
    that matters), the largest errors, dtypes; rectifier's own beside them. Each framework runs in a process of its own:
    one that is missing or crashes is told, and ends nothing.

    Example: rectifier compare elu celu selu --framework torch,jax
    """
    from ..compare import compare as measure
    from ..compare import make_plan

    outputs = Outputs("compare", html=None, json=json, force=force)
    plan = make_plan(
        names or (),
        frameworks=listed("compare", "--framework", framework),
        dtypes=listed("compare", "--dtype", dtype),
        samples=samples,
    )
    found = _with_bar(lambda progress: measure(plan, progress))
    _print(found, to_stderr=outputs.json_to_stdout)
    if outputs.json_to_stdout:
        print(found.to_json())
    if outputs.json is not None:
        write(outputs, outputs.json, found.to_json() + "\n")


def _with_bar(run: Callable[[Callable[[str, int, int], None]], Comparison]) -> Comparison:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from ..reporters import terminal

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=terminal.console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        return run(lambda label, done, total: bar.update(task, description=label, completed=done, total=total))


def _print(found: Comparison, *, to_stderr: bool) -> None:
    from ..compare.table import LEGEND, header, sheets
    from ..reporters import terminal

    console = terminal.console(stderr=to_stderr)
    # Narrower, cells fold into towers; wider, nobody reads across.
    console.width = min(max(console.width, 80), 120)
    for sheet in sheets(found):
        _print_sheet(console, sheet)
    console.print(f"\n{LEGEND}")
    sys.stdout.flush()
    note(header(found))
    for reason in found.absent:
        note(f"Not measured: {reason}")
    for label, why in found.failed.items():
        note(f"Not measured: {label}: {why}")
    note(f"{len(found.measured)} functions of {len({one.candidate for one in found.measured})}; {found.seconds:.0f} s")


def _print_sheet(console: Console, sheet: Sheet) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="")
    # Its narrowest is its own longest word, so that the others leave it what it needs.
    longest = max((len(label) for label, _ in sheet.rows), default=0)
    grid.add_column(sheet.function, min_width=min(longest, 22), max_width=28)
    for title in sheet.columns:
        grid.add_column(title)
    for label, cells in sheet.rows:
        # The star is what a log or a pipe shows of the colour.
        grid.add_row(label, *(Text(f"{c.text} *", "bold") if c.differs else Text(c.text) for c in cells))
    console.print()
    console.print(grid)
    for text in sheet.notes:
        console.print(Text(f"  {text}"))
