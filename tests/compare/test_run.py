"""Processes that crash, libraries that are broken or absent: each is one line, and the rest is measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rectifier.compare import Comparison, compare, make_plan, plan
from rectifier.compare.table import markdown, sheets
from rectifier.errors import RectifierValueError


def test_what_crashes_is_told_and_the_rest_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text(
        "import os, sys\nprint('no such instruction', file=sys.stderr)\nsys.stderr.flush()\nos.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    found = compare(make_plan(["relu"], frameworks=["numpy", "tensorflow"], samples=0))
    theirs = ["TensorFlow", "TensorFlow function", "TensorFlow XLA"]
    ours = ["rectifier.tensorflow", "rectifier.tensorflow XLA"]
    assert found.failed == dict.fromkeys([*ours, *theirs], "its process ended with SIGABRT: no such instruction")
    assert {"rectifier", "NumPy idiom", "NumPy, copied often"} <= {one.candidate for one in found.measured}


def test_a_library_that_cannot_be_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libcore.so.1: not found')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    chosen = make_plan(["relu"], frameworks=["onnxruntime"], samples=0)
    found = compare(chosen)
    assert {one.candidate for one in found.measured} >= {"rectifier"}
    (runtime,) = (one for one in found.measured if one.candidate == "ONNX Runtime")
    assert runtime.problems == {"value": "ImportError: libcore.so.1: not found"}


def absent(*modules: str) -> Any:
    there = importlib.util.find_spec
    return lambda name: None if name in modules else there(name)


def test_what_is_not_installed_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.importlib.util, "find_spec", absent("torch", "onnx"))
    chosen = make_plan()
    assert chosen.absent == (
        'torch: torch is not installed; run: pip install "rectifier[torch]"',
        'torch-compiled: torch is not installed; run: pip install "rectifier[torch]"',
        'onnxruntime: onnx is not installed; run: pip install "rectifier[frameworks]"',
    )
    labels = {candidate.label for candidate in chosen.candidates}
    assert not labels & {"PyTorch", "rectifier.torch", "Keras on PyTorch", "ONNX Runtime"}
    assert {"rectifier", "Keras on JAX"} <= labels
    with pytest.raises(RectifierValueError) as caught:
        make_plan(frameworks=["jax", "torch"])
    assert str(caught.value) == (
        "compare: `--framework` must be installed; got 'torch', without torch. Run: pip install \"rectifier[torch]\""
    )


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(make_plan(["relu", "elu", "softplus"], frameworks=["numpy", "scipy"], samples=2000))


def test_json_comes_back(found: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(found.to_json(), encoding="utf-8")
    again = Comparison.read(path)
    assert again.to_json() == found.to_json()
    assert again.of("elu") == found.of("elu") != ()
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(RectifierValueError) as caught:
        Comparison.read(path)
    assert str(caught.value) == (
        f"compare: `path` must be a file written with compare --json; got {str(path)!r}. "
        "Make one with: rectifier compare --json FILE"
    )


def test_tables_mark_what_differs_and_fold_what_agrees(found: Comparison) -> None:
    relu, elu, softplus = sheets(found)
    marked = {label: {c.text for c in cells if c.differs} for label, cells in relu.rows}
    assert marked["rectifier"] == set()
    assert marked["NumPy idiom"] == {"0"}
    assert marked["NumPy, copied often"] == {"NaN"}
    assert relu.notes[0].startswith("In all: f′(0) = 0, f(NaN) = NaN")
    assert "Not there: SciPy." in relu.notes and "SciPy" in dict(softplus.rows)
    copied = dict(elu.rows)["NumPy, copied often"]
    (error,) = (cell for cell in copied if "100 %" in cell.text)
    assert error.differs and " at −" in error.text
    text = markdown(elu)
    assert text.startswith("## `elu`\n\n| | ") and f"**{error.text}**" in text
