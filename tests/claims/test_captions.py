"""Captions say how to read a figure, and what is claimed of it; what came out is told by numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rectifier.claims
from rectifier.claims import claims
from rectifier.claims.lab.engines import Engine
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.sweep import sweep, tell
from rectifier.reporters.page import Chart

FILES = sorted(Path(rectifier.claims.__file__).parent.glob("*.py"))
#: Words by which a caption would say what came out …
FINDING = re.compile(
    r"\b(no result|nothing (until|gets)|stays|fall(s)?|doubles|cannot|vanish(es)?|silences?|learns|moves|tends|"
    r"do no better|made good|stops|grow as|one line|with ReLU every|lose the same)\b"
)
#: … but in a sentence of this kind, which says what would be seen, or how it looks.
READING = re.compile(r"\b(claim|claimed|if|would|line that|line loses|one that)\b", re.IGNORECASE)


def captions(path: Path) -> Iterator[str]:
    """The captions of a file, with a # for each value in them."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call):
            given = [keyword.value for keyword in call.keywords if keyword.arg == "caption"]
            # Captions that are handed on.
            given += call.args[1:] if isinstance(call.func, ast.Name) and call.func.id in ("paths", "chart") else []
            yield from ("".join(_pieces(each)) for each in given)


def _pieces(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield str(part.value) if isinstance(part, ast.Constant) else "#"
    elif isinstance(node, ast.BinOp):
        yield from (*_pieces(node.left), *_pieces(node.right))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_says_how_to_read_and_not_what_came_out(path: Path) -> None:
    told = [sentence for caption in captions(path) for sentence in re.split(r"(?<=[.;:])\s", caption)]
    assert [sentence for sentence in told if FINDING.search(sentence) and not READING.search(sentence)] == []


def drawn(name: str, folder: Path) -> Chart:
    claim = claims()[name]
    plan = claim.plan(quick=True, seeds=3)
    sweep({name: (claim, plan)}, Records(folder), Engine(1))
    found = tell(claim, plan, Records(folder)).figure
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "label", "false"),
    [
        ("continuous-with-a-kink", "relu", "sigmoid"),
        ("softplus-tends-to-relu", "relu", "sigmoid"),
        ("threshold-gradient", "threshold", "sigmoid"),
    ],
)
def test_of_a_planted_contrary(name: str, label: str, false: str, tmp_path: Path, put: Callable[..., None]) -> None:
    """The same caption but for its numbers; the other text tells of other ones."""
    true = drawn(name, tmp_path / "true")
    put(label, function=false)
    planted = drawn(name, tmp_path / "false")
    one, other = (re.sub(r"−?\d[\d.]*", "#", chart.caption) for chart in (true, planted))
    assert one == other
    assert true.alt != planted.alt
