"""A benchmark as a figure: one panel a table, in which each candidate's time stands beside ours."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .plan import size_text
from .records import Benchmark
from .table import Table, header, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "draw", "save"]

#: File extensions that can be written.
FORMATS = ("html", "png", "svg")

# Okabe & Ito's palette, told apart with any colour vision; each size has a marker of its own, too.
_COLOURS = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK = "#222222"
_GRID = "#dddddd"
_COLUMNS = 2


def draw(benchmark: Benchmark) -> Figure:
    """The figure: time over ours, so what lies right of the line at 1 is slower than rectifier."""
    from matplotlib.figure import Figure

    panels = list(tables(benchmark))
    columns = min(_COLUMNS, len(panels))
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    # Inches: a row a candidate, and room for a title and an axis.
    heights = [0.24 * max(len(panel.rows) for panel in line) + 0.9 for line in lines]
    figure = Figure(figsize=(6.4 * columns, sum(heights) + 0.9), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    sizes = sorted({size for panel in panels for size in panel.sizes})
    for line, places in zip(lines, axes, strict=True):
        for place in places[len(line) :]:
            place.set_axis_off()
        for panel, place in zip(line, places, strict=False):
            _panel(place, panel, sizes)
    figure.suptitle(
        f"Time over rectifier's, into the same kind of memory: right of 1 is slower\n{header(benchmark)}",
        fontsize=8.5,
        color=_INK,
        wrap=True,
    )
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(sizes), frameon=False, title="values")
    return figure


def _panel(axes: Axes, table: Table, sizes: list[int]) -> None:
    names = [name for name, _ in table.rows]
    for index, size in enumerate(sizes):
        timed = [
            (timing.ratio, row)
            for row, (_, timings) in enumerate(table.rows)
            for timing in timings
            if timing is not None and timing.values == size
        ]
        axes.plot(
            [ratio for ratio, _ in timed],
            [row + 0.12 * (index - (len(sizes) - 1) / 2) for _, row in timed],
            _MARKERS[index % len(_MARKERS)],
            color=_COLOURS[index % len(_COLOURS)],
            markersize=5.5,
            label=size_text(size),
        )
    axes.axvline(1, color=_INK, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(table.title, loc="left", fontsize=10, color=_INK, fontweight="bold")
    axes.tick_params(labelsize=8.5, colors=_INK, length=0)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def save(path: str | Path, benchmark: Benchmark) -> None:
    """Write the figure; the extension, one of :data:`FORMATS`, is its format. A page holds the drawing itself."""
    target = Path(path)
    suffix = target.suffix[1:].lower()
    buffer = io.BytesIO()
    draw(benchmark).savefig(buffer, format="svg" if suffix == "html" else suffix)
    if suffix != "html":
        target.write_bytes(buffer.getvalue())
        return
    drawing = buffer.getvalue().decode("utf-8")
    drawing = drawing[drawing.index("<svg") :].replace(
        "<svg ", '<svg role="img" aria-label="Times of every candidate" style="max-width:100%;height:auto" ', 1
    )
    title = escape("rectifier bench")
    target.write_text(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f'<body style="margin:24px;background:#fff">\n{drawing}\n</body></html>\n',
        encoding="utf-8",
    )
