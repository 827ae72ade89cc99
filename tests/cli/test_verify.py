"""``rectifier verify``: its table, its record, its statuses, its refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rectifier.verify import Proof, subjects

Run = Callable[..., Any]


def test_the_table_goes_to_standard_output_and_a_kept_promise_is_0(rectifier: Run) -> None:
    result = rectifier("verify", "relu", "--dtype", "float16", "--isa", "baseline", "--jobs", "1")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "function",
        "kind",
        "dtype",
        "computed",
        "by",
        "inputs",
        "misrounded",
        "max.",
        "error",
        "at",
    ]
    assert lines[1].split() == ["relu", "value", "float16", "baseline", "65,536", "(all)", "0", "0"]
    assert "4 cases, 262,144 inputs, every promise kept" in result.stderr


def test_the_record(rectifier: Run, folder: Path) -> None:
    result = rectifier("verify", "elu", "--dtype", "float32", "--sample", "2000", "--jobs", "1", "--json", "proof.json")
    assert result.exit_code == 0
    assert result.stderr.endswith("Wrote proof.json\n")
    proof = Proof.read(folder / "proof.json")
    assert {(r.function, r.dtype, r.visited) for r in proof.results} == {("elu", "float32", 2000)}
    assert {r.kind for r in proof.results} == {"value", "derivative", "inverse"}
    again = rectifier("verify", "elu", "--json", "proof.json")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    printed = rectifier("verify", "relu", "--dtype", "float16", "--jobs", "1", "--json", "-")
    assert json.loads(printed.stdout)["results"][0]["function"] == "relu"
    assert "every promise kept" in printed.stderr


def test_a_broken_promise_is_1_and_named(rectifier: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = subjects.kernel

    def wrong(*arguments: Any) -> Any:
        function = right(*arguments)
        return lambda x: np.where(x == -1, np.nextafter(function(x), x.dtype.type(0)), function(x))

    monkeypatch.setattr(subjects, "kernel", wrong)
    result = rectifier("verify", "elu", "--dtype", "float16", "--kind", "value", "--jobs", "1")
    assert result.exit_code == 1
    line = result.stdout.splitlines()[1]
    assert line.rstrip().endswith("-0x1.0000000000000p+0  PROMISE BROKEN")
    assert line.split()[6] == "1"
    assert "promises broken" in result.stderr


def test_peers_that_are_not_installed_are_listed(rectifier: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        subjects.peers, "MODULES", {"jax": ("no_such_module",), "onnxruntime": ("numpy", "no_such_writer")}
    )
    result = rectifier("verify", "relu", "--dtype", "float16", "--peers", "--jobs", "1")
    assert result.exit_code == 0
    assert "Not judged: jax: no_such_module is not installed.\n" in result.stdout
    assert "Not judged: onnxruntime: no_such_writer is not installed.\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["gelu"],
            "verify: `NAME` must be a function of the family; got 'gelu'. Did you mean 'elu'? Known: relu, leaky_relu, "
            "prelu, abs, relu6, squared_relu, elu, celu, selu, softplus, sigmoid, tanh, threshold.",
        ),
        (
            ["--dtype", "int8"],
            "verify: `--dtype` must be of float32, float16, bfloat16, float64; got 'int8'. Pass float32.",
        ),
        (["--dtype", ","], "verify: `--dtype` must name one at least; got ','. Leave it out."),
        (
            ["--exhaustive", "--sample", "5"],
            "verify: `--sample` must come without --exhaustive, which visits every input; got both. Leave one out.",
        ),
        (
            ["--gradients", "--isa", "baseline"],
            "verify: `--isa` must come without --gradients, which are of the one in use; got both. Leave one out.",
        ),
        (
            ["--gradients", "--kind", "value"],
            "verify: `--kind` must come without --gradients, which are derivatives; got both. Leave one out.",
        ),
        (
            ["threshold", "--kind", "inverse"],
            "verify: nothing to judge: threshold has no inverse. Name another function, or leave --kind out.",
        ),
    ],
)
def test_refusals(rectifier: Run, arguments: list[str], message: str) -> None:
    result = rectifier("verify", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {message}\n")


def test_an_unknown_instruction_set_names_those_there_are(rectifier: Run) -> None:
    result = rectifier("verify", "--isa", "mmx")
    assert result.exit_code == 2
    assert "verify: `--isa` must be all or one of " in result.stderr
    assert "baseline on this machine; got 'mmx'. Leave it out." in result.stderr
