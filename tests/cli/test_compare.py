"""``rectifier compare``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier.compare import Comparison

Run = Callable[..., Any]
FEW = ["--framework", "numpy", "--samples", "1000"]


def test_the_table_and_the_record(rectifier: Run, folder: Path) -> None:
    result = rectifier("compare", "relu", *FEW, "--json", "a.json")
    assert result.exit_code == 0
    rows = [line.split("  ")[0] for line in result.stdout.splitlines() if line.strip()]
    assert rows[:3] == ["relu", "rectifier", "NumPy idiom"]
    (copied,) = (line for line in result.stdout.splitlines() if line.startswith("NumPy, copied often"))
    assert "NaN *" in copied
    assert result.stderr.splitlines()[-1] == "Wrote a.json"
    assert max(map(len, result.stdout.splitlines())) <= 80
    found = Comparison.read(folder / "a.json")
    assert found.functions == ("relu",)
    assert {"numpy", "python"} <= set(found.versions)
    refused = rectifier("compare", "relu", *FEW, "--json", "a.json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "compare: `--json`" in refused.stderr and "--force" in refused.stderr


def test_json_to_standard_output(rectifier: Run) -> None:
    result = rectifier("compare", "abs", "--framework", "numpy", "--samples", "0", "--json", "-")
    assert result.exit_code == 0
    assert all(not one.errors for one in Comparison.from_json(result.stdout).measured)
    assert "NumPy idiom" in result.stderr


FUNCTIONS = "relu, leaky_relu, prelu, abs, relu6, squared_relu, elu, celu, selu, softplus"
FRAMEWORKS = "rectifier, numpy, scipy, torch, torch-compiled, tensorflow, keras, jax, onnxruntime"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["gelu"],
            f"compare: `NAME` must be of {FUNCTIONS}; got 'gelu'. "
            "Did you mean 'elu' or 'selu'? Leave it out for the usual.",
        ),
        (
            ["sigmoid"],
            f"compare: `NAME` must be of {FUNCTIONS}; got 'sigmoid'. Leave it out for the usual.",
        ),
        (
            ["--framework", "pytorch"],
            f"compare: `--framework` must be of {FRAMEWORKS}; got 'pytorch'. "
            "Did you mean 'torch'? Leave it out for the usual.",
        ),
        (["--framework", ","], "compare: `--framework` must name one at least; got ','. Leave it out."),
        (
            ["--dtype", "float8"],
            "compare: `--dtype` must be of float32, float64, float16, bfloat16; got 'float8'. "
            "Did you mean 'float64' or 'float32'? Leave it out for the usual.",
        ),
        (["--json", ""], "compare: `--json` must name a file; got ''. Name one, or leave --json out."),
        (
            ["--force"],
            "compare: `--force` must come with an output file; got none to overwrite. "
            "Add --html FILE or --json FILE, or leave --force out.",
        ),
    ],
)
def test_refusals(rectifier: Run, arguments: list[str], message: str) -> None:
    result = rectifier("compare", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {message}\n")
