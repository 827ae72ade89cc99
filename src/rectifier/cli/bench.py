"""``rectifier bench``: the proof of the speed, on the user's own machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import RectifierValueError
from .frame import Debug, Json, guarded, listed, note, refuse_unwritable

if TYPE_CHECKING:
    from rich.console import Console

    from ..bench import Benchmark
    from ..bench.table import Table

__all__ = ["bench"]


@guarded
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Functions; all without.")] = None,
    size: Annotated[str | None, typer.Option(metavar="N,…", help="Values a call; 1K,128K,4M,64M without.")] = None,
    threads: Annotated[str | None, typer.Option(metavar="N,…", help="Numbers of threads; 1,2 without.")] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of float32,bfloat16 (timed without), float16,float64.")
    ] = None,
    kind: Annotated[str | None, typer.Option(metavar="NAMES", help="Of value (timed without), backward.")] = None,
    peer: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of numpy,scipy,torch,jax,tensorflow,onnxruntime; all without.")
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="S", min=0, max=3600, help="For each column of a table; five rounds are made in any case."
        ),
    ] = 1.0,
    full: Annotated[
        bool, typer.Option("--full", help="Time what is not named in full: every dtype, both kinds, more sizes.")
    ] = False,
    json: Json = None,
    chart: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the times beside ours: .html, .png or .svg.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite output files that exist.")] = False,
    debug: Debug = False,
) -> None:
    """Time functions side by side with every installed framework, and with a copy of the same bytes.

    One process for each number of threads; in it all candidates take turns, so that a change of the machine's speed
    meets all of them. Medians are printed with half the distance of the quartiles; a ratio above 1 says that rectifier
    is faster. Candidates that write into memory of their own are held against our own call that does the same.

    Example: rectifier bench elu softplus --dtype float32 --size 4M
    """
    from ..bench import bench as measure
    from ..bench import make_plan

    _refuse_files(json, chart, force=force)
    plan = make_plan(
        names or (),
        dtypes=listed("bench", "--dtype", dtype),
        sizes=listed("bench", "--size", size),
        threads=listed("bench", "--threads", threads),
        kinds=listed("bench", "--kind", kind),
        peers=listed("bench", "--peer", peer),
        full=full,
        seconds=seconds,
    )
    note(f"About {_duration(plan.estimate)}: {plan.cells} columns.")
    found = _with_bar(lambda progress: measure(plan, progress))
    _print(found, to_stderr=json == "-")
    sys.stdout.flush()
    if json == "-":
        print(found.to_json())
    elif json is not None:
        from .. import _files

        _files.write(json, found.to_json() + "\n", force=force)
        note(f"Wrote {json}")
    if chart is not None:
        from ..bench import chart as charts

        charts.save(chart, found)
        note(f"Wrote {chart}")


def _refuse_files(json: str | None, chart: str | None, *, force: bool) -> None:
    from ..bench.chart import FORMATS

    named = {"--json": None if json == "-" else json, "--chart": chart}
    given = {option: path for option, path in named.items() if path is not None}
    if force and not given:
        raise RectifierValueError(
            "bench: `--force` must come with an output file; got none to overwrite. "
            "Add --json FILE or --chart FILE, or leave --force out."
        )
    for option, path in given.items():
        if path == "":
            raise RectifierValueError(f"bench: `{option}` must name a file; got ''. Name one, or leave {option} out.")
    if chart is not None and Path(chart).suffix[1:].lower() not in FORMATS:
        raise RectifierValueError(
            f"bench: `--chart` must end in .{', .'.join(FORMATS)}; got {chart!r}. Write it as --chart speed.html."
        )
    for option, path in given.items():
        refuse_unwritable("bench", option, path, force=force)
    if chart is not None:
        import matplotlib.figure  # noqa: F401  absent, it is told of before the run


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _with_bar(run: Callable[[Callable[[str, int, int], None]], Benchmark]) -> Benchmark:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from ..reporters import terminal

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    # The bar is redrawn by a thread, which must not wake while something is timed on the last free core.
    with Progress(*columns, console=terminal.console(stderr=True), transient=True, refresh_per_second=1) as bar:
        task = bar.add_task("", total=None)
        return run(lambda label, done, total: bar.update(task, description=label, completed=done, total=total))


def _print(found: Benchmark, *, to_stderr: bool) -> None:
    from ..bench.table import absences, header, tables
    from ..reporters import terminal

    console = terminal.console(stderr=to_stderr)
    console.width = 180
    console.print(header(found))
    console.print("ns a value, ± half the distance of the quartiles, × a ratio to ours: above 1 rectifier is faster")
    for table in tables(found):
        _print_table(console, table)
    for line in absences(found):
        console.print(f"Not timed: {line}.")
    note(f"{len(found.timings)} timings; {_duration(found.seconds)}")


def _print_table(console: Console, table: Table) -> None:
    from rich.table import Table as Grid

    from ..bench.plan import size_text
    from ..bench.table import ratio_text, spread_text, time_text

    grid = Grid(box=None, pad_edge=False, header_style="")
    grid.add_column(table.title, no_wrap=True)
    for size in table.sizes:
        grid.add_column(size_text(size), justify="right", no_wrap=True)
        grid.add_column("±", justify="right", no_wrap=True)
        grid.add_column("×", justify="right", no_wrap=True)
    for name, timings in table.rows:
        cells = []
        for timing in timings:
            cells += (
                ["–", "", ""]
                if timing is None
                else [time_text(timing.ns), spread_text(timing)[1:], ratio_text(timing.ratio)]
            )
        grid.add_row(name, *cells)
    console.print()
    console.print(grid, crop=False, overflow="ignore")
