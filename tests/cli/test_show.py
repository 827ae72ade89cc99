"""``rectifier show``: text, figures, JSON, and every refusal word by word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier import family

Run = Callable[..., Any]
NAMES = ", ".join(family)


def test_the_text_goes_to_standard_output(rectifier: Run) -> None:
    result = rectifier("show", "leaky_relu", "--set", "negative_slope=0.3")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Leaky ReLU (negative_slope = 0.3)\n────")
    assert "⠋" in result.stdout
    assert "f′ at 0        s = 0.3\n" in result.stdout


@pytest.mark.parametrize("name", ["leaky_relu", "LeakyReLU", "leaky-relu", "Leaky ReLU", "LEAKYRELU"])
def test_a_function_is_known_by_each_of_its_names(rectifier: Run, name: str) -> None:
    assert rectifier("show", name).stdout.startswith("Leaky ReLU\n")


def test_all_shows_every_function_once(rectifier: Run) -> None:
    result = rectifier("show", "all", "relu", "--json")
    assert list(json.loads(result.stdout)) == list(family)


def test_json_is_the_row(rectifier: Run) -> None:
    result = rectifier("show", "relu6", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    row = json.loads(result.stdout)["relu6"]
    assert row["formula"] == family["relu6"].formula
    assert row["kinks"] == [{"at": "0", "derivative": "0"}, {"at": "ceiling", "derivative": "0"}]
    assert row["parameters"] == [
        {
            "name": "ceiling",
            "default": 6.0,
            "domain": "must be finite and greater than 0",
            "meaning": "upper bound c",
            "of": "value",
        }
    ]
    measured = {"conventions", "presets"}
    assert set(row) == set(family["relu6"].__dataclass_fields__) - {"notes"} | measured
    assert row["presets"] == {name: {"ceiling": 6.0} for name in ("torch", "tensorflow", "keras", "jax")}


@pytest.mark.parametrize(
    ("extension", "start"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-"), ("PNG", b"\x89PNG\r\n")]
)
def test_a_figure_is_written(rectifier: Run, folder: Path, extension: str, start: bytes) -> None:
    result = rectifier("show", "relu", "elu", "-o", f"two.{extension}")
    assert (result.exit_code, result.stderr) == (0, f"Wrote two.{extension}\n")
    assert (folder / f"two.{extension}").read_bytes().startswith(start)
    assert "┌" not in result.stdout
    assert "f(z) = max(0, z)" in result.stdout


def test_an_existing_figure_is_kept_without_force(rectifier: Run, folder: Path) -> None:
    (folder / "a.svg").write_text("mine")
    result = rectifier("show", "relu", "-o", "a.svg")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: show: `--output` must not exist yet; got 'a.svg', which does. "
        "Pass --force to replace it, or another name.\n"
    )
    assert (folder / "a.svg").read_text() == "mine"
    assert rectifier("show", "relu", "-o", "a.svg", "--force").exit_code == 0
    assert (folder / "a.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rleu"], "`NAME` must be a function of the family; got 'rleu'. Did you mean 'relu'?"),
        (["relu", "xyzzy"], f"`NAME` must be a function of the family; got 'xyzzy'. Known: {NAMES}."),
        (["relu", "-o", "a.gif"], "`--output` must end in one of .png, .svg, .pdf; got 'a.gif'. Change the ending."),
        (["relu", "-o", "png"], "`--output` must end in one of .png, .svg, .pdf; got 'png'. Change the ending."),
        (
            ["relu", "-o", "no/a.png"],
            "`--output` must lie in a folder that exists; got 'no/a.png'. Create 'no' first.",
        ),
        (
            ["relu", "--force"],
            "`--force` must come with an output file; got none to overwrite. Add -o FILE, or leave --force out.",
        ),
        (
            ["elu", "--json", "--set", "alpha=2"],
            "`--set` must come with a graph; got --json alone, which prints the family's row. Leave --set out.",
        ),
        (
            ["relu", "elu", "--set", "beta=2"],
            "`--set` must name a parameter of a function shown (relu, elu); got 'beta'. They have: at_zero, alpha.",
        ),
        (
            ["abs", "--set", "beta=2"],
            "`--set` must name a parameter of a function shown (abs); got 'beta'. They have none.",
        ),
        (
            ["elu", "--set", "alpha=1", "--set", "alpha=2"],
            "`--set` must give each parameter once; got 'alpha' twice. Keep one.",
        ),
        (
            ["elu", "--set", "alpha=-1"],
            "`alpha` of elu must be finite and greater than 0; got -1. Pass a number such as 1.0.",
        ),
        (
            ["leaky_relu", "--set", "negative_slope=nan"],
            "`negative_slope` of leaky_relu must be finite; got nan. Pass a number such as 0.01.",
        ),
        *(
            (
                ["elu", "--set", text],
                f"`--set` must be NAME=VALUE with a number; got '{text}'. Write it as --set negative_slope=0.3.",
            )
            for text in ("alpha", "alpha=", "alpha=two", "=", "")
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(rectifier: Run, folder: Path, arguments: list[str], text: str) -> None:
    result = rectifier("show", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: show: {text}\n")
    assert list(folder.iterdir()) == []
