"""Every notebook runs, prints what it shows, and is kept clean: no counters, no paths, nothing but text and figures."""

from __future__ import annotations

import copy
import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
WRITER: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "write_notebooks.py"))
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"[-−+]?\d[\d.,]*(e[-−+]?\d+)?|\b(nan|inf)\b")
#: What tells of the machine that it was run on, or of one run only.
TRACES = re.compile(r"/(home|root|tmp|work|usr|opt|Users)/|0x[0-9a-f]{6,}|Traceback|Warning")
IMAGE = "image/png"


def shown(cell: NotebookNode) -> list[str]:
    """What a cell shows: its texts, and a word for each figure. Of what was measured the numbers are left out."""
    told = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            told.append(f"{output.name}: {output.text}")
        elif output.output_type == "error":
            told.append(f"error: {output.ename}")
        else:
            told.append(IMAGE if IMAGE in output.data else "".join(output.data.values()))
    if "measured" in cell.metadata.get("tags", []):
        return [" ".join(NUMBER.sub("#", text).split()) for text in told]
    return told


def run_again(kept: NotebookNode, folder: Path) -> None:
    """Fails where the notebook raises, warns, or shows anything else than what is kept in it."""
    made = WRITER["execute"](copy.deepcopy(kept), folder)
    for before, after in zip(kept.cells, made.cells, strict=True):
        now = shown(after)
        assert not any(text.startswith("stderr") for text in now), now
        assert now == shown(before), "python docs/write_notebooks.py makes it anew"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_shows_what_it_makes(path: Path, tmp_path: Path) -> None:
    kept = nbformat.read(path, as_version=4)
    # A copy of the folder's place in the documentation: a notebook reads the results beside it, and writes nothing.
    folder = tmp_path / path.parent.name
    folder.mkdir()
    (tmp_path / "claims").symlink_to(ROOT / "docs" / "claims")
    run_again(kept, folder)
    assert not list(folder.iterdir())
    assert sum(shown(cell).count(IMAGE) for cell in kept.cells) >= 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_clean(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    kept = nbformat.reads(text, as_version=4)
    nbformat.validate(kept)
    assert nbformat.writes(WRITER["clean"](copy.deepcopy(kept))) + "\n" == text, "python docs/write_notebooks.py"
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert outputs and not any(output.output_type == "error" for output in outputs)
    for cell in kept.cells:
        assert not TRACES.search(cell.source + "".join(shown(cell))), cell.source
        # One idea a cell.
        assert len(cell.source.splitlines()) <= 40, cell.source
    assert kept.cells[0].cell_type == "markdown" and any("**Vary" in cell.source for cell in kept.cells)
    assert len(text) < 400_000


def test_links_lead_somewhere() -> None:
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            for target in re.findall(r"\]\(([^)#:]+)\)", cell.source if cell.cell_type == "markdown" else ""):
                assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_all_five_are_linked() -> None:
    assert len(NOTEBOOKS) == 5
    for page in ("README.md", "docs/notebooks.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert all(f"notebooks/{path.name})" in text for path in NOTEBOOKS), page


def notebook(source: str, printed: str, tags: tuple[str, ...] = ()) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": [*tags]})
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)]
    return nbformat.v4.new_notebook(cells=[cell])


def test_the_checks_can_fail(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="anew"):
        run_again(notebook("print('2 of 3')", "2 of 4\n"), tmp_path)
    # Where it is measured, a number may be another, and a word may not.
    assert shown(notebook("", "2 of 3\n", ("measured",)).cells[0]) == shown(
        notebook("", "1.5e−3  of 4\n", ("measured",)).cells[0]
    )
    assert shown(notebook("", "2 of 3\n", ("measured",)).cells[0]) != shown(
        notebook("", "2 in 3\n", ("measured",)).cells[0]
    )
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_again(notebook("1 / 0", ""), tmp_path)
