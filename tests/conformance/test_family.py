"""Row, kernel and exports agree for every function; a function in one place only is an error."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import rectifier
import rectifier.torch as rt
from rectifier import _native
from rectifier._functions import FUNCTIONS

ROOT = Path(__file__).parents[2]
#: A learned slope is an array to the kernel, so PReLU's kernel is Leaky ReLU's.
KERNELS = {name: "leaky_relu" if name == "prelu" else name for name in rectifier.family}


def test_one_kernel_header_a_function() -> None:
    headers = {path.stem for path in (ROOT / "native" / "kernels").glob("*.hpp")}
    assert headers == set(KERNELS.values())


@pytest.mark.parametrize("name", rectifier.family)
def test_row_matches_kernel_and_exports(name: str) -> None:
    row = rectifier.family[name]
    assert getattr(rectifier, name) is FUNCTIONS[name]
    assert name in rectifier.__all__
    values = [p for p in row.parameters if p.of == "value"]
    kernel = KERNELS[name]
    assert getattr(_native, kernel).nin == 1 + len(values)
    assert getattr(_native, f"{kernel}_derivative").nin == 1 + len(row.parameters)
    assert hasattr(_native, f"{kernel}_inverse") == (row.inverse or name == "prelu")
    integer_loops = {"b->b", "bb->b"} & set(getattr(_native, kernel).types)
    assert bool(integer_loops) == row.integers


@pytest.mark.parametrize("name", rectifier.family)
def test_row_matches_pytorch(name: str) -> None:
    row = rectifier.family[name]
    if row.layer is not None:
        assert hasattr(rt, row.layer)
        letters = re.sub(r"[^a-z0-9]", "", row.layer.lower())
        assert letters == name.replace("_", "")


def _listed(room: str) -> set[str]:
    """What a room exports. Read, not imported: Keras keeps the backend that it is imported with."""
    tree = ast.parse((ROOT / "src" / "rectifier" / room / "__init__.py").read_text(encoding="utf-8"))
    (listed,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    return set(listed)


@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow", "keras"])
def test_every_framework_exports_every_row(framework: str) -> None:
    rows = [row for row in rectifier.family.values() if not row.comparison]
    expected = {row.name for row in rows}
    if framework in ("torch", "keras"):
        expected |= {row.layer for row in rows}
    names = {*rectifier.family, *(row.layer for row in rows)}
    assert _listed(framework) & names == expected


@pytest.mark.parametrize("name", rectifier.family)
def test_row_describes_the_function_that_is_there(name: str) -> None:
    row = rectifier.family[name]
    required = {"negative_slope": 0.25} if name == "prelu" else {}
    far_below = FUNCTIONS[name](np.array([-500.0, -400.0]), **required)
    if row.negative_part == "none":
        assert (far_below == 0).all()
    elif row.negative_part == "linear":
        assert far_below[0] / far_below[1] == pytest.approx(500 / 400)
    else:
        assert abs(far_below[0] - far_below[1]) < 1e-12
    for kink in row.kinks:
        z = 6.0 if kink.at == "ceiling" else float(kink.at)
        step = 1e-6
        below, above = FUNCTIONS[name](np.array([z - step, z, z + step]), **required)[[0, 2]]
        here = FUNCTIONS[name](z, **required)
        left, right = (here - below) / step, (above - here) / step
        smooth_default = name == "elu"  # its kink vanishes at the default α = 1
        assert (abs(left - right) > 0.1) != smooth_default


@pytest.mark.parametrize("name", rectifier.family)
def test_row_is_complete(name: str) -> None:
    row = rectifier.family[name]
    assert row.strengths and row.faults and row.formula and row.derivative and row.range
    assert re.search(r"(19|20)\d\d", row.citation)
    assert row.comparison == (row.layer is None)
    if not row.comparison and name != "squared_relu":
        assert {"PyTorch"} <= set(row.conventions)
