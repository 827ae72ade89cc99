"""``rectifier demo``: the whole story on real digits."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .frame import Debug, Force, Json, Outputs, guarded
from .results import write

__all__ = ["demo"]

PAGE = "rectifier-demo.html"
#: Acts as the demonstration names them → what the progress bar says of them.
_ACTS = {
    "depth": "Act 1 of 4: depth",
    "death": "Act 2 of 4: death",
    "cure": "Act 3 of 4: cure",
    "cut": "Act 4 of 4: cut",
}


@guarded
def demo(
    html: Annotated[str, typer.Option(metavar="FILE", help="The page to write (one file, opens offline).")] = PAGE,
    json: Json = None,
    force: Force = False,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**32 - 1000, help="Seed of the data's split, weights and batches.")
    ] = 0,
    debug: Debug = False,
) -> None:
    """Show what rectified units are about, on real digits.

    A network is trained on scikit-learn's handwritten digits, in four acts: gradients through twenty layers, units that
    fall silent and why, what helps, and what can be cut. It takes about a minute and ends with a page.

    Example: rectifier demo --html story.html
    """
    outputs = Outputs("demo", html=html, json=json, force=force)
    from ..demo import run
    from ..demo.page import render

    with _bar() as progress:
        result = run(seed=seed, progress=progress)
    print(_folded(result.summary()), file=sys.stderr if outputs.json_to_stdout else sys.stdout)
    if outputs.json_to_stdout:
        print(result.to_json())
    sys.stdout.flush()
    if outputs.json is not None:
        write(outputs, outputs.json, result.to_json() + "\n")
    write(outputs, html, render(result))


def _folded(text: str) -> str:
    """Paragraphs folded between words, to the terminal's width and no wider than is easy to read."""
    width = max(40, min(shutil.get_terminal_size().columns, 100))
    folded = (textwrap.fill(paragraph, width, break_on_hyphens=False) for paragraph in text.split("\n\n"))
    return "\n\n".join(folded)


@contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on standard error, as the callback that moves it."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from ..reporters import terminal

    columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal.console(stderr=True)) as bars:
        task = bars.add_task("Preparing", total=1.0)
        yield lambda act, share: bars.update(task, description=_ACTS[act], completed=share)
